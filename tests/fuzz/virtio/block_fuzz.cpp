// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include <boost/asio/post.hpp>

#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/block.hpp>

namespace {

using trivet::virtio::DiskOperation;

constexpr std::uint64_t disk_size = 16 << 10;

/// A disk in memory that holds the device to its promises, and completes at once or later, well or badly.
class StrictDisk final : public trivet::virtio::BlockBackend {
 public:
  explicit StrictDisk(std::uint8_t mode) : later_((mode & 1) != 0), fails_((mode & 2) != 0), content_(disk_size) {
    info_ = {.size = disk_size,
             .read_only = (mode & 4) != 0,
             .can_discard = (mode & 4) == 0,
             .can_secure_erase = (mode & 12) == 8,
             .tells_lifetime = (mode & 8) != 0};
  }

  const trivet::virtio::DiskInfo& info() const noexcept override { return info_; }
  std::optional<trivet::virtio::DiskLifetime> lifetime() noexcept override {
    if (++count_ % 4 == 0) return std::nullopt;
    return trivet::virtio::DiskLifetime{.pre_eol_info = 1, .worn_a = 2, .worn_b = 3};
  }
  trivet::Result<void> start(boost::asio::any_io_executor executor, trivet::virtio::DiskClient& client) override {
    executor_ = std::move(executor);
    client_ = &client;
    self_ = std::make_shared<StrictDisk*>(this);
    return {};
  }
  std::optional<int> submit(DiskOperation& operation) noexcept override {
    if (client_ == nullptr) std::abort();
    check(operation);
    if (!later_) return run(operation);
    pending_.push_back(&operation);
    return std::nullopt;
  }
  void commit() noexcept override {
    if (pending_.empty()) return;
    boost::asio::post(executor_, [self = self_] {
      if (*self != nullptr) (*self)->complete();
    });
  }
  void drain() noexcept override {
    while (!pending_.empty()) complete();
  }
  void stop() noexcept override {
    if (!pending_.empty()) std::abort();
    if (self_) *self_ = nullptr;
    client_ = nullptr;
  }

 private:
  void check(const DiskOperation& operation) const {
    std::uint64_t bytes = operation.bytes;
    for (const auto& part : operation.data) bytes += part.iov_len;
    if (operation.offset > disk_size || bytes > disk_size - operation.offset) std::abort();
    const bool changes = operation.kind != DiskOperation::Kind::read && operation.kind != DiskOperation::Kind::flush;
    if (changes && info_.read_only) std::abort();
  }
  int run(const DiskOperation& operation) {
    if (fails_ && ++count_ % 3 == 0) return count_ % 2 == 0 ? EIO : EOPNOTSUPP;
    auto* at = content_.data() + operation.offset;
    for (const auto& part : operation.data) {
      if (operation.kind == DiskOperation::Kind::read) std::memcpy(part.iov_base, at, part.iov_len);
      if (operation.kind == DiskOperation::Kind::write) std::memcpy(at, part.iov_base, part.iov_len);
      at += part.iov_len;
    }
    if (operation.bytes != 0) std::memset(at, 0, operation.bytes);
    return 0;
  }
  void complete() {
    auto batch = std::exchange(pending_, {});
    while (!batch.empty()) {  // the last first: any order will do
      auto* operation = batch.back();
      batch.pop_back();
      client_->completed(*operation, run(*operation));
    }
    client_->batch_completed();
    commit();
  }

  bool later_;
  bool fails_;
  unsigned count_ = 0;
  trivet::virtio::DiskInfo info_;
  std::vector<std::byte> content_;
  std::vector<DiskOperation*> pending_;
  boost::asio::any_io_executor executor_;
  trivet::virtio::DiskClient* client_ = nullptr;
  std::shared_ptr<StrictDisk*> self_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  trivet::virtio::BlockOptions options{.queues = 2, .queue_size = 8};
  if ((data[0] & 16) != 0) options.limits.operations = {1U << 20, 2};
  auto block = trivet::virtio::Block::create(std::make_unique<StrictDisk>(data[0]), options);
  trivet::test::play_hostile_driver(std::as_bytes(std::span(data, size).subspan(1)), std::move(*block));
  return 0;
}
