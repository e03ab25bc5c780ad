// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <trivet/memory/discard.hpp>
#include <trivet/memory/permission.hpp>
#include <trivet/memory/region.hpp>

namespace trivet::memory {
namespace {

constexpr const char* operation = "give guest memory back";

Error refuse(Errc code, Blame blame, const GuestRange& range, std::string_view why) noexcept {
  std::array<char, 128> text{};
  const auto end =
      fmt::format_to_n(text.data(), text.size(), "{:#x} bytes at {:#x}: {}", range.size, range.start.value, why);
  return {code, operation, {text.data(), std::min(end.size, text.size())}, blame};
}

/// The first region that `range` touches is writable memory, and so on to its end.
Result<void> check(const GuestMemory& memory, const GuestRange& range) noexcept {
  if (!range.valid()) return refuse(Errc::out_of_range, Blame::guest, range, "empty, or it wraps");
  for (std::uint64_t done = 0; done < range.size;) {
    const GuestAddress at{range.start.value + done};
    const Region* region = memory.find(at);
    if (region == nullptr) return refuse(Errc::out_of_range, Blame::guest, range, "not memory");
    if (region->access() != Access::read_write) return refuse(Errc::permission, Blame::guest, range, "read-only");
    done += std::min(range.size - done, region->range().size - (at.value - region->range().start.value));
  }
  return {};
}

/// `size` bytes at `offset` of a region, whole host pages.
Result<void> release(const Region& region, std::uint64_t offset, std::uint64_t size) noexcept {
  const GuestRange range{{region.range().start.value + offset}, size};
  if (region.kind() != RegionKind::host || region.mapping() == nullptr) {
    return refuse(Errc::unsupported, Blame::host, range, "not memory that this process owns");
  }
  if (region.shared_fd() < 0) {
    if (::madvise(region.host() + offset, size, MADV_DONTNEED) == 0) return {};
    return Error::from_errno(errno, operation, "madvise");
  }
  const auto at = static_cast<off_t>(region.shared_offset() + offset);
  if (::fallocate(region.shared_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, static_cast<off_t>(size)) == 0) {
    return {};
  }
  return Error::from_errno(errno, operation, "fallocate");
}

}  // namespace

Result<std::uint64_t> discard(const GuestMemory& memory, const GuestRange& range) noexcept {
  static const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  TRIVET_TRY(check(memory, range));
  std::uint64_t given = 0;
  for (std::uint64_t done = 0; done < range.size;) {
    const std::uint64_t at = range.start.value + done;
    const Region& region = *memory.find({at});
    // Regions begin at page boundaries of the host too, so that an offset is aligned where the address is.
    const std::uint64_t first = at - region.range().start.value;
    const std::uint64_t bytes = std::min(range.size - done, region.range().size - first);
    const std::uint64_t begin = (first + page - 1) / page * page;
    const std::uint64_t end = (first + bytes) / page * page;
    if (begin < end) {
      TRIVET_TRY(release(region, begin, end - begin));
      given += end - begin;
    }
    done += bytes;
  }
  return given;
}

}  // namespace trivet::memory
