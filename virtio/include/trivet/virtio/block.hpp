// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <trivet/virtio/abi/block.hpp>
#include <trivet/virtio/block_backend.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/rate_limiter.hpp>

namespace trivet::virtio {

class BlockQueue;

/// How a block device looks to its driver.
struct BlockOptions {
  std::string id = "trivet";       ///< what GET_ID tells, cut at 20 bytes: Linux shows it as the serial number
  unsigned queues = 1;             ///< 1 to 256; with more than one VIRTIO_BLK_F_MQ is offered
  std::uint16_t queue_size = 256;  ///< a power of two, 4 to 1024
  /// Of all queues together. Every request is an operation; bytes are those that it reads, writes or zeroes.
  RateLimits limits{};
};

/// The block device (virtio 1.2, 5.2): IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES, and where the disk can,
/// SECURE_ERASE and GET_LIFETIME; write-back or write-through as the driver chooses; any descriptor layout.
///
/// A request that breaks the format (no header, no status byte, a broken chain, memory that is none) is a driver fault;
/// one that asks for what the disk cannot do (beyond the end, not in sectors, writing a read-only disk) gets its error
/// status. Requests complete in any order. None allocates. In-flight requests keep guest memory alive through their
/// queue.
class Block final : public Device, private DiskClient {
 public:
  /// `invalid_argument` or `out_of_range` names the option out of bounds (caller).
  static Result<std::unique_ptr<Block>> create(std::unique_ptr<BlockBackend> backend, BlockOptions options = {});
  ~Block() override;

  [[nodiscard]] std::uint32_t id() const noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "block"; }
  [[nodiscard]] std::uint64_t features() const noexcept override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return queue_sizes_; }
  void read_config(std::uint32_t offset, Bytes out) const noexcept override;
  void write_config(std::uint32_t offset, ConstBytes in) noexcept override;

  Result<void> activate(Activation activation) override;
  Result<void> start_queue(Queue queue) override;
  std::optional<Queue> stop_queue(unsigned index) noexcept override;
  Result<More> process(unsigned index) override;
  void reset() noexcept override;

 private:
  Block(std::unique_ptr<BlockBackend> backend, BlockOptions options);
  void completed(DiskOperation& operation, int os_errno) noexcept override;
  void batch_completed() noexcept override;
  void wake_all() noexcept;

  std::unique_ptr<BlockBackend> backend_;
  BlockOptions options_;
  abi::BlockConfig config_{};  // but for writeback, which the driver changes
  std::atomic<bool> writeback_{true};
  RateLimiter limit_;
  unsigned first_to_wake_ = 0;
  std::vector<std::uint16_t> queue_sizes_;
  std::vector<std::unique_ptr<BlockQueue>> queues_;
  Activation activation_;
};

}  // namespace trivet::virtio
