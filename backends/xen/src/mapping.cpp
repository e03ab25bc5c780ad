// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "mapping.hpp"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <numeric>
#include <sys/mman.h>
#include <utility>

namespace trivet::xen {
namespace {

constexpr auto map_operation = "map a domain's memory";

Error page_error(int os_errno, const Context& context, std::uint64_t frame, std::size_t failed) {
  std::array<char, 120> text{};
  std::snprintf(text.data(), text.size(), "domain %u: frame 0x%" PRIx64 " (%zu frames in all)", context.domain, frame,
                failed);
  if (os_errno == ENOENT || os_errno == EINVAL || os_errno == EFAULT) {
    return Error(Errc::not_found, map_operation, std::string(text.data()) + " has no memory behind it");
  }
  return Error::from_errno(os_errno, map_operation, text.data());
}

}  // namespace

Result<Mapping> Mapping::create(const Context& context, std::uint64_t first, std::uint64_t pages) {
  std::vector<xen_pfn_t> frames(pages);
  std::iota(frames.begin(), frames.end(), first);
  std::vector<int> errors(pages);
  errno = 0;
  void* const address = xenforeignmemory_map(context.foreign_memory(), context.domain, PROT_READ | PROT_WRITE, pages,
                                             frames.data(), errors.data());
  if (address == nullptr) return page_error(errno, context, first, pages);
  Mapping mapping(context.foreign_memory(), static_cast<std::byte*>(address), pages);
  const auto bad = [](int error) { return error != 0; };
  const auto found = std::find_if(errors.begin(), errors.end(), bad);
  if (found == errors.end()) return mapping;
  const auto failed = std::count_if(found, errors.end(), bad);
  return page_error(std::abs(*found), context, first + static_cast<std::uint64_t>(found - errors.begin()),
                    static_cast<std::size_t>(failed));
}

Mapping::Mapping(Mapping&& other) noexcept
    : handle_(other.handle_), data_(std::exchange(other.data_, nullptr)), pages_(other.pages_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this == &other) return *this;
  reset();
  handle_ = other.handle_;
  data_ = std::exchange(other.data_, nullptr);
  pages_ = other.pages_;
  return *this;
}

void Mapping::reset() noexcept {
  if (data_ != nullptr) (void)xenforeignmemory_unmap(handle_, data_, pages_);
  data_ = nullptr;
}

}  // namespace trivet::xen
