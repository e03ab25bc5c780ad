// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cerrno>
#include <fmt/format.h>
#include <limits>
#include <span>
#include <sys/uio.h>

#include <trivet/memory/transfer.hpp>

namespace trivet::memory {
namespace {

constexpr std::size_t most_runs = 16;

/// What one system call moves: runs that follow each other in the guest.
struct Batch {
  std::array<Slice, most_runs> runs;
  std::array<iovec, most_runs> vectors{};
  std::size_t count = 0;
};

Result<void> gather(const GuestMemory& memory, GuestAddress at, std::uint64_t bytes, Permission permission,
                    Batch& batch) {
  while (bytes != 0 && batch.count < most_runs) {
    auto run = memory.run(at, bytes, permission);
    // What is mapped on demand may be all that can be mapped at once: that much goes first.
    if (!run) return batch.count != 0 ? Result<void>() : run.error();
    batch.vectors[batch.count] = {run->host(), run->size()};
    at.value += run->size();
    bytes -= run->size();
    batch.runs[batch.count++] = *std::move(run);
  }
  return {};
}

void mark(const Batch& batch, std::uint64_t bytes) noexcept {
  for (const Slice& run : std::span(batch.runs).first(batch.count)) {
    const std::uint64_t part = std::min(bytes, run.size());
    run.mark_written(0, part);
    bytes -= part;
  }
}

/// `call` is readv or writev, with the place in the file where there is one.
template <class Call>
Result<std::uint64_t> transfer(const char* operation, const GuestMemory& memory, const GuestRange& range,
                               std::optional<std::uint64_t> position, Permission permission, Call call) {
  constexpr auto most = std::uint64_t{std::numeric_limits<off_t>::max()};
  if (position && (*position > most || range.size > most - *position)) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{:#x} bytes at {:#x} end beyond what a file can have", range.size, *position));
  }
  TRIVET_TRY(memory.check(range, permission));
  std::uint64_t done = 0;
  while (done < range.size) {
    Batch batch;
    const auto gathered = gather(memory, {range.start.value + done}, range.size - done, permission, batch);
    if (!gathered) return done != 0 ? Result<std::uint64_t>(done) : gathered.error();
    const auto place = position ? static_cast<off_t>(*position + done) : off_t{-1};
    const ssize_t moved = call(batch.vectors.data(), static_cast<int>(batch.count), place);
    if (moved < 0 && errno == EINTR) continue;
    if (moved < 0 && done == 0) {
      return Error::from_errno(errno, operation, fmt::format("{:#x} bytes at {:#x}", range.size, range.start.value));
    }
    if (moved <= 0) break;
    if (permission == Permission::write) mark(batch, static_cast<std::uint64_t>(moved));
    done += static_cast<std::uint64_t>(moved);
  }
  return done;
}

}  // namespace

Result<std::uint64_t> read_from(int fd, const GuestMemory& memory, const GuestRange& range,
                                std::optional<std::uint64_t> position) {
  return transfer("read into guest memory", memory, range, position, Permission::write,
                  [&](const iovec* vectors, int count, off_t place) {
                    return place < 0 ? ::readv(fd, vectors, count) : ::preadv(fd, vectors, count, place);
                  });
}

Result<std::uint64_t> write_to(int fd, const GuestMemory& memory, const GuestRange& range,
                               std::optional<std::uint64_t> position) {
  return transfer("write guest memory out", memory, range, position, Permission::read,
                  [&](const iovec* vectors, int count, off_t place) {
                    return place < 0 ? ::writev(fd, vectors, count) : ::pwritev(fd, vectors, count, place);
                  });
}

}  // namespace trivet::memory
