// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <utility>

#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/block.hpp>
#include <trivet/virtio/config_space.hpp>

#include "block_queue.hpp"

namespace trivet::virtio {

namespace {

/// Linux cuts its requests at this many buffers, of a page or more each.
constexpr std::uint32_t most_segments = 254;

Error out_of_bounds(const char* what) {
  return Error(Errc::invalid_argument, "create block device", what);
}

abi::BlockConfig describe(const DiskInfo& info, const BlockOptions& options) {
  abi::BlockConfig config{};
  config.capacity = info.size / abi::block_sector_size;
  config.seg_max = std::min<std::uint32_t>(options.queue_size - 2U, most_segments);
  config.blk_size = info.logical_block;
  config.topology.physical_block_exp = static_cast<abi::u8>(std::countr_zero(info.physical_block / info.logical_block));
  config.topology.min_io_size = static_cast<std::uint16_t>(info.physical_block / info.logical_block);
  config.num_queues = static_cast<std::uint16_t>(options.queues);
  config.max_discard_sectors = block_max_discard_sectors;
  config.max_discard_seg = static_cast<std::uint32_t>(block_max_ranges);
  config.discard_sector_alignment = info.logical_block / abi::block_sector_size;
  config.max_write_zeroes_sectors = block_max_write_zeroes_sectors;
  config.max_write_zeroes_seg = static_cast<std::uint32_t>(block_max_ranges);
  config.write_zeroes_may_unmap = info.can_discard ? 1 : 0;
  config.max_secure_erase_sectors = block_max_discard_sectors;
  config.max_secure_erase_seg = static_cast<std::uint32_t>(block_max_ranges);
  config.secure_erase_sector_alignment = info.logical_block / abi::block_sector_size;
  return config;
}

}  // namespace

Result<std::unique_ptr<Block>> Block::create(std::unique_ptr<BlockBackend> backend, BlockOptions options) {
  if (!backend) return out_of_bounds("it needs a backend");
  if (options.queues == 0 || options.queues > 256) return out_of_bounds("queues: 1 to 256");
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 4 || options.queue_size > 1024) {
    return out_of_bounds("queue_size: a power of two, 4 to 1024");
  }
  TRIVET_TRY(RateLimiter::check(options.limits));
  return std::unique_ptr<Block>(new Block(std::move(backend), std::move(options)));
}

Block::Block(std::unique_ptr<BlockBackend> backend, BlockOptions options)
    : backend_(std::move(backend)),
      options_(std::move(options)),
      config_(describe(backend_->info(), options_)),
      limit_(options_.limits),
      queue_sizes_(options_.queues, options_.queue_size),
      queues_(options_.queues) {}

Block::~Block() {
  reset();
}

std::uint32_t Block::id() const noexcept {
  return static_cast<std::uint32_t>(abi::DeviceId::block);
}

std::uint64_t Block::features() const noexcept {
  const auto& info = backend_->info();
  auto features = abi::block_f_seg_max | abi::block_f_blk_size | abi::block_f_topology | abi::block_f_flush;
  features |= info.read_only ? abi::block_f_ro : abi::block_f_config_wce | abi::block_f_write_zeroes;
  if (info.can_discard) features |= abi::block_f_discard;
  if (info.can_secure_erase) features |= abi::block_f_secure_erase;
  if (info.tells_lifetime) features |= abi::block_f_lifetime;
  if (options_.queues > 1) features |= abi::block_f_mq;
  return features;
}

void Block::read_config(std::uint32_t offset, Bytes out) const noexcept {
  auto config = config_;
  config.writeback = writeback_.load(std::memory_order_relaxed) ? 1 : 0;
  copy_config(config, offset, out);
}

void Block::write_config(std::uint32_t offset, ConstBytes in) noexcept {
  // 5.2.5: the driver may write nothing but writeback, with CONFIG_WCE.
  if (offset != offsetof(abi::BlockConfig, writeback) || in.size() != 1 || backend_->info().read_only) return;
  writeback_.store(in[0] != std::byte{0}, std::memory_order_relaxed);
}

Result<void> Block::activate(Activation activation) {
  TRIVET_TRY(backend_->start(activation.executor, *this));
  limit_.start(activation.executor, [this] { wake_all(); });
  activation_ = std::move(activation);
  // 5.2.5.2: without FLUSH the driver could not write back.
  if ((activation_.features & abi::block_f_flush) == 0) writeback_ = false;
  return {};
}

Result<void> Block::start_queue(Queue queue) {
  const auto index = queue.index();
  BlockShared shared{.backend = *backend_,
                     .id = options_.id,
                     .writeback_negotiable = (activation_.features & abi::block_f_config_wce) != 0,
                     .flush_negotiated = (activation_.features & abi::block_f_flush) != 0,
                     .writeback = writeback_,
                     .limit = limit_,
                     .notifier = *activation_.notifier};
  queues_[index] = std::make_unique<BlockQueue>(std::move(queue), shared);
  return {};
}

std::optional<Queue> Block::stop_queue(unsigned index) noexcept {
  if (index >= queues_.size() || !queues_[index]) return std::nullopt;
  backend_->drain();
  const auto stopped = std::move(queues_[index]);
  return stopped->take();
}

Result<More> Block::process(unsigned index) {
  if (index >= queues_.size() || !queues_[index]) return More::no;
  return queues_[index]->process();
}

void Block::reset() noexcept {
  if (activation_.notifier == nullptr) return;
  limit_.stop();
  backend_->drain();
  backend_->stop();
  for (auto& queue : queues_) queue.reset();
  activation_ = {};
  writeback_ = true;
}

/// Another queue first each time: the first may take all that there is.
void Block::wake_all() noexcept {
  const auto count = static_cast<unsigned>(queues_.size());
  first_to_wake_ = (first_to_wake_ + 1) % count;
  for (unsigned i = 0; i < count; ++i) {
    const auto index = (first_to_wake_ + i) % count;
    if (queues_[index]) activation_.notifier->wake(index);
  }
}

void Block::completed(DiskOperation& operation, int os_errno) noexcept {
  auto& request = static_cast<BlockRequest&>(operation);
  request.queue->completed(request, os_errno);
}

void Block::batch_completed() noexcept {
  for (auto& queue : queues_) {
    if (queue) queue->batch_completed();
  }
}

}  // namespace trivet::virtio
