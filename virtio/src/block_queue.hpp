// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <trivet/core/result.hpp>
#include <trivet/virtio/block_backend.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/queue.hpp>
#include <trivet/virtio/rate_limiter.hpp>

#include "block_request.hpp"

namespace trivet::virtio {

/// What the queues of a block device share.
struct BlockShared {
  BlockBackend& backend;
  const std::string& id;
  bool writeback_negotiable;  ///< CONFIG_WCE: ask `writeback`
  bool flush_negotiated;
  const std::atomic<bool>& writeback;  ///< the driver's choice
  RateLimiter& limit;                  ///< of all queues together
  Notifier& notifier;

  [[nodiscard]] bool writes_through() const noexcept {
    return writeback_negotiable ? !writeback.load(std::memory_order_relaxed) : !flush_negotiated;
  }
};

/// One started request queue: takes chains, keeps their requests while the disk has them, gives them back.
/// On the device's executor only.
class BlockQueue {
 public:
  BlockQueue(Queue queue, BlockShared shared);

  /// Takes what the driver has made available. See Device::process.
  Result<More> process();

  /// The disk did this request's operation, or failed to.
  void completed(BlockRequest& request, int os_errno) noexcept;
  /// Lets the driver know of what was completed, and takes up what had to wait for it.
  void batch_completed() noexcept;

  /// Nothing may be with the disk any more.
  [[nodiscard]] Queue take() noexcept { return std::move(queue_); }

 private:
  enum class Taken : std::uint8_t { yes, none, must_wait };

  Result<Taken> take_next();
  Result<Taken> take_request(const Chain& chain);
  Result<Taken> transfer(BlockParts& parts, const Chain& chain);
  Result<Taken> ranges(BlockParts& parts, const Chain& chain);
  void submit_ranges(const BlockParts& parts, const Chain& chain, DiskOperation::Kind kind, bool may_unmap,
                     std::span<const BlockByteRange> wanted);
  Result<void> tell_id(BlockParts& parts, std::uint16_t chain);
  Result<void> tell_lifetime(BlockParts& parts, std::uint16_t chain);
  /// All of `value`, or as much as the driver has room for.
  Result<void> tell(BlockParts& parts, std::uint16_t chain, ConstBytes value);

  template <class Side>
  Result<bool> gather(Side& side, std::uint64_t bytes, BlockRequest& request);
  BlockRequest& take_slot(const BlockParts& parts, const Chain& chain);
  void free_slot(BlockRequest& request) noexcept;
  void submit(BlockRequest& request) noexcept;
  /// The next operation of the request; false when it has no more.
  bool go_on(BlockRequest& request) noexcept;
  void finish(BlockRequest& request, int os_errno) noexcept;
  Result<void> answer(std::uint16_t chain, const memory::Slice& status, abi::u8 value, std::uint32_t written) noexcept;
  void publish() noexcept;
  [[nodiscard]] bool can_pin() noexcept;
  [[nodiscard]] bool inside(std::uint64_t sector, std::uint64_t sectors) const noexcept;

  Queue queue_;
  BlockShared shared_;
  std::vector<BlockRequest> requests_;                 // as many as were ever in flight at once; never moves
  std::vector<std::uint16_t> free_;                    // slots, the last used first
  std::vector<BlockByteRange> range_table_;            // block_max_ranges for each slot, at first need
  std::unique_ptr<BlockBigBuffers> big_;               // at first need
  std::uint64_t bytes_ = 0;                            // of the request just taken, as the limiter counts them
  bool waiting_ = false;                               // for big buffers
  const memory::GuestMemory* known_memory_ = nullptr;  // that can_pin_ is about
  bool can_pin_ = true;
};

}  // namespace trivet::virtio
