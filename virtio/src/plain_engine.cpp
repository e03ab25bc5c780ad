// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <utility>

#include "disk_engines.hpp"

namespace trivet::virtio {

namespace {

/// Does each operation as it is submitted.
class PlainEngine final : public BlockBackend {
 public:
  explicit PlainEngine(RawDisk disk) noexcept : disk_(std::move(disk)) {}

  [[nodiscard]] const DiskInfo& info() const noexcept override { return disk_.info(); }
  [[nodiscard]] std::optional<DiskLifetime> lifetime() noexcept override { return disk_.lifetime(); }
  Result<void> start(boost::asio::any_io_executor, DiskClient&) override { return {}; }
  std::optional<int> submit(DiskOperation& operation) noexcept override { return disk_.run(operation); }
  void commit() noexcept override {}
  void drain() noexcept override {}
  void stop() noexcept override {}

 private:
  RawDisk disk_;
};

}  // namespace

std::unique_ptr<BlockBackend> create_plain_engine(RawDisk disk) {
  return std::make_unique<PlainEngine>(std::move(disk));
}

Result<std::unique_ptr<BlockBackend>> create_backend(RawDisk disk, DiskEngine engine) {
  if (engine != DiskEngine::plain) {
    auto uring = create_uring_engine(disk);
    if (uring || engine == DiskEngine::io_uring) return uring;
  }
  return create_plain_engine(std::move(disk));
}

}  // namespace trivet::virtio
