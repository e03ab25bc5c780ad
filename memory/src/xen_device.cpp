// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "xen_device.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>

namespace trivet::memory {

Result<UniqueFd> open_xen_device(const char* operation, const char* path) {
  UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return fd;
  const int error = errno;
  const char* advice = "";
  if (error == ENOENT || error == ENXIO || error == ENODEV) {
    advice = ": is this a Xen domain with the xen_privcmd and xen_gntdev modules?";
  } else if (error == EACCES || error == EPERM) {
    advice = ": run as root, or give this user access to it";
  }
  return Error::from_errno(error, operation, fmt::format("{}{}", path, advice));
}

Error page_error(Errc code, const char* operation, const char* what, std::uint64_t page, std::uint16_t domain,
                 const char* why) noexcept {
  std::array<char, 160> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), "{} {:#x} of domain {}: {}", what, page, domain, why);
  return Error(code, operation, {text.data(), std::min(end.size, text.size())}, Blame::guest);
}

}  // namespace trivet::memory
