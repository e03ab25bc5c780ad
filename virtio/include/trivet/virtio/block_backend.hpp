// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <sys/uio.h>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/result.hpp>

namespace trivet::virtio {

/// What a disk is; all sizes in bytes.
struct DiskInfo {
  std::uint64_t size = 0;  ///< a multiple of `logical_block`
  bool read_only = false;
  bool can_discard = false;
  bool can_secure_erase = false;       ///< nothing can bring back what is erased, no copy of it is left on the medium
  bool tells_lifetime = false;         ///< `BlockBackend::lifetime` has an answer
  std::uint32_t logical_block = 512;   ///< offsets and lengths are best multiples of it; a power of two >= 512
  std::uint32_t physical_block = 512;  ///< smaller writes cost a read; a power of two >= logical_block
};

/// How worn a disk is, by its own account (JEDEC eMMC 5.0; virtio 1.2, 5.2.6).
struct DiskLifetime {
  std::uint16_t pre_eol_info = 0;  ///< its spare blocks: 0: not defined; 1: normal; 2: 80 % are used; 3: 90 %
  std::uint16_t worn_a = 0;        ///< 0: not defined; n: up to n tenths are worn; 11: beyond its end
  std::uint16_t worn_b = 0;        ///< the same of its other kind of memory

  friend bool operator==(const DiskLifetime&, const DiskLifetime&) = default;
};

/// One thing to do on a disk. Whoever submits it keeps it, and the memory it points to, until it is completed; the
/// backend changes `offset`, `data` and the vectors as it goes on.
struct DiskOperation {
  enum class Kind : std::uint8_t { read, write, flush, discard, write_zeroes, secure_erase };

  Kind kind = Kind::read;
  bool may_unmap = false;    ///< write_zeroes: the space may be given back
  bool pinnable = true;      ///< read, write: get_user_pages works on `data`
  std::uint64_t offset = 0;  ///< in bytes
  std::uint64_t bytes = 0;   ///< discard, write_zeroes, secure_erase: how many
  std::span<iovec> data{};   ///< read, write: no vector is empty
};

/// Who hears of completions. On the executor.
class DiskClient {
 public:
  /// `os_errno` is 0 when all of it was done. May submit more.
  virtual void completed(DiskOperation& operation, int os_errno) noexcept = 0;
  /// All completions known by now were told.
  virtual void batch_completed() noexcept = 0;

 protected:
  ~DiskClient() = default;
};

/// Where a block device's bytes are: does operations, many at once, in any order.
/// Thread rule: `info` any thread; the rest on the executor given to `start`, one at a time.
class BlockBackend {
 public:
  virtual ~BlockBackend() = default;

  [[nodiscard]] virtual const DiskInfo& info() const noexcept = 0;
  /// Nothing when it cannot be told (now). Does not wait for the medium.
  [[nodiscard]] virtual std::optional<DiskLifetime> lifetime() noexcept { return std::nullopt; }

  /// Errors are the host's.
  virtual Result<void> start(boost::asio::any_io_executor executor, DiskClient& client) = 0;
  /// Nothing when it will be completed later; its errno (0: done) when that is known at once, and then `completed` is
  /// not called. Allocates nothing. An operation beyond the disk's end is the caller's bug.
  virtual std::optional<int> submit(DiskOperation& operation) noexcept = 0;
  /// Sets going what was submitted since the last call. May tell of completions before it returns.
  virtual void commit() noexcept = 0;
  /// Waits until all that was submitted is completed, also what completions submit.
  virtual void drain() noexcept = 0;
  /// After `drain`: forgets executor and client.
  virtual void stop() noexcept = 0;
};

}  // namespace trivet::virtio
