// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "memory_usage.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>

namespace trivet::vmm {
namespace {

bool is_guest(std::uint64_t address, const memory::GuestMemory& guest) {
  return std::any_of(guest.regions().begin(), guest.regions().end(), [&](const auto& region) {
    if (region->host() == nullptr) return false;  // mapped in windows, as it is used
    const auto start = std::bit_cast<std::uint64_t>(region->host());
    return address >= start && address - start < region->range().size;
  });
}

}  // namespace

std::uint64_t resident_kib(std::string_view smaps, const memory::GuestMemory& guest) {
  std::uint64_t sum = 0;
  bool counts = false;
  while (!smaps.empty()) {
    const auto end = std::min(smaps.find('\n'), smaps.size());
    auto line = smaps.substr(0, end);
    smaps.remove_prefix(std::min(end + 1, smaps.size()));
    std::uint64_t address = 0;
    const auto [next, error] = std::from_chars(line.data(), line.data() + line.size(), address, 16);
    if (error == std::errc() && next != line.data() + line.size() && *next == '-') {
      counts = !is_guest(address, guest);
    } else if (counts && line.starts_with("Rss:")) {
      line.remove_prefix(std::min(line.find_first_of("0123456789"), line.size()));
      std::uint64_t kib = 0;
      std::from_chars(line.data(), line.data() + line.size(), kib);
      sum += kib;
    }
  }
  return sum;
}

Result<std::uint64_t> resident_kib(const memory::GuestMemory& guest) {
  const UniqueFd fd(::open("/proc/self/smaps", O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Error::from_errno(errno, "read /proc/self/smaps");
  std::string text;
  char part[4096];
  while (true) {
    const auto got = ::read(fd.value(), part, sizeof part);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno(errno, "read /proc/self/smaps");
    if (got == 0) return resident_kib(text, guest);
    text.append(part, static_cast<std::size_t>(got));
  }
}

}  // namespace trivet::vmm
