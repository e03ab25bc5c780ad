// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <climits>
#include <exception>
#include <fcntl.h>
#include <liburing.h>
#include <linux/falloc.h>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include "disk_engines.hpp"
#include "disk_progress.hpp"

namespace trivet::virtio {

namespace {

namespace asio = boost::asio;

/// Entries of the submission ring; twice as many completions fit, and the kernel keeps what is beyond.
constexpr unsigned entries = 128;

class UringEngine final : public BlockBackend {
 public:
  UringEngine() noexcept = default;
  UringEngine(const UringEngine&) = delete;
  UringEngine& operator=(const UringEngine&) = delete;
  ~UringEngine() override {
    if (!ready_) return;
    drain();
    stop();
    ::io_uring_queue_exit(&ring_);
  }

  Result<void> prepare(RawDisk& disk);

  [[nodiscard]] const DiskInfo& info() const noexcept override { return disk_->info(); }
  [[nodiscard]] std::optional<DiskLifetime> lifetime() noexcept override { return disk_->lifetime(); }
  Result<void> start(asio::any_io_executor executor, DiskClient& client) override;
  std::optional<int> submit(DiskOperation& operation) noexcept override;
  void commit() noexcept override;
  void drain() noexcept override;
  void stop() noexcept override;

 private:
  /// Waits for completions on behalf of one `start`; outlives it until its last wait has ended.
  struct Watch : std::enable_shared_from_this<Watch> {
    Watch(UringEngine& owner, const asio::any_io_executor& executor) : engine(&owner), descriptor(executor) {}
    void wait();

    UringEngine* engine;
    asio::posix::stream_descriptor descriptor;
  };

  void fill(io_uring_sqe& entry, DiskOperation& operation) const noexcept;
  /// Hands the kernel what was submitted.
  void send() noexcept;
  /// Tells of what is completed.
  void reap() noexcept;
  /// What became of an operation; nothing when it goes on.
  std::optional<int> outcome(DiskOperation& operation, int result) noexcept;

  io_uring ring_{};
  bool ready_ = false;
  std::optional<RawDisk> disk_;
  DiskClient* client_ = nullptr;
  std::shared_ptr<Watch> watch_;
  unsigned in_flight_ = 0;
};

Result<void> UringEngine::prepare(RawDisk& disk) {
  if (const int done = ::io_uring_queue_init(entries, &ring_, 0); done < 0) {
    return Error::from_errno(-done, "io_uring_setup", "the host does not give an io_uring");
  }
  ready_ = true;
  // Guest memory is not registered: its pages would stay pinned, and after the balloon gave one back, the ring would go
  // on with that page while the guest has another.
  // The descriptor is not registered: the ring would keep the file open, and locked, a while after its end.
  disk_ = std::move(disk);
  return {};
}

Result<void> UringEngine::start(asio::any_io_executor executor, DiskClient& client) {
  try {
    auto watch = std::make_shared<Watch>(*this, std::move(executor));
    // The ring itself, not an eventfd: it is readable only while there are completions that nobody has taken, so that
    // those that `commit` took wake nobody, and there is nothing to read.
    watch->descriptor.assign(ring_.ring_fd);
    watch->wait();
    watch_ = std::move(watch);
  } catch (const boost::system::system_error& error) {
    return Error::from_errno(error.code().value(), "watch an io_uring");
  }
  client_ = &client;
  return {};
}

void UringEngine::Watch::wait() {
  descriptor.async_wait(asio::posix::descriptor_base::wait_read,
                        [self = shared_from_this()](const boost::system::error_code& error) {
                          if (self->engine == nullptr || error) return;
                          self->engine->reap();
                          if (self->engine != nullptr) self->wait();
                        });
}

std::optional<int> UringEngine::submit(DiskOperation& operation) noexcept {
  const bool transfers = operation.kind == DiskOperation::Kind::read || operation.kind == DiskOperation::Kind::write;
  if (transfers && operation.data.empty()) return 0;
  if (transfers && disk_->must_bounce(operation)) return disk_->run(operation);
  if (operation.kind == DiskOperation::Kind::secure_erase) return disk_->run(operation);  // no ring has it
  auto* entry = ::io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    ::io_uring_submit(&ring_);
    entry = ::io_uring_get_sqe(&ring_);
  }
  if (entry == nullptr) return disk_->run(operation);
  fill(*entry, operation);
  ++in_flight_;
  return std::nullopt;
}

void UringEngine::fill(io_uring_sqe& entry, DiskOperation& operation) const noexcept {
  const int file = disk_->fd();
  const auto count = static_cast<unsigned>(std::min<std::size_t>(operation.data.size(), IOV_MAX));
  switch (operation.kind) {
    case DiskOperation::Kind::read:
      ::io_uring_prep_readv(&entry, file, operation.data.data(), count, operation.offset);
      break;
    case DiskOperation::Kind::write:
      ::io_uring_prep_writev(&entry, file, operation.data.data(), count, operation.offset);
      break;
    case DiskOperation::Kind::flush:
      ::io_uring_prep_fsync(&entry, file, IORING_FSYNC_DATASYNC);
      break;
    case DiskOperation::Kind::discard:
    case DiskOperation::Kind::write_zeroes: {
      const bool punch = operation.kind == DiskOperation::Kind::discard || operation.may_unmap;
      ::io_uring_prep_fallocate(&entry, file,
                                (punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(operation.offset), static_cast<off_t>(operation.bytes));
      break;
    }
    case DiskOperation::Kind::secure_erase:  // not here: see `submit`
      ::io_uring_prep_nop(&entry);
      break;
  }
  ::io_uring_sqe_set_data(&entry, &operation);
}

void UringEngine::commit() noexcept {
  if (::io_uring_sq_ready(&ring_) == 0) return;
  send();
  reap();  // what the kernel could do at once: its page cache has it, or the disk is memory
}

void UringEngine::send() noexcept {
  while (::io_uring_sq_ready(&ring_) > 0) {
    const int done = ::io_uring_submit(&ring_);
    if (done >= 0 || done == -EINTR) continue;
    // The kernel is short of memory or of room for completions. Later, then: the loop comes round.
    if (watch_) {
      asio::post(watch_->descriptor.get_executor(), [watch = watch_] {
        if (watch->engine != nullptr) watch->engine->reap();
      });
    }
    return;
  }
}

void UringEngine::reap() noexcept {
  io_uring_cqe* completion = nullptr;
  bool any = false;
  while (::io_uring_peek_cqe(&ring_, &completion) == 0) {
    auto& operation = *static_cast<DiskOperation*>(::io_uring_cqe_get_data(completion));
    const int result = completion->res;
    ::io_uring_cqe_seen(&ring_, completion);
    --in_flight_;
    const auto os_errno = outcome(operation, result);
    if (!os_errno) continue;
    any = true;
    if (client_ != nullptr) client_->completed(operation, *os_errno);
  }
  send();
  if (any && client_ != nullptr) client_->batch_completed();
}

std::optional<int> UringEngine::outcome(DiskOperation& operation, int result) noexcept {
  if (result == -EINTR || result == -EAGAIN) return submit(operation);
  switch (operation.kind) {
    case DiskOperation::Kind::read:
    case DiskOperation::Kind::write:
      if (result < 0) return -result;
      if (result == 0) return EIO;  // the file has become shorter than the disk
      advance(operation, static_cast<std::uint64_t>(result));
      if (operation.data.empty()) return 0;
      return submit(operation);
    case DiskOperation::Kind::write_zeroes:
    case DiskOperation::Kind::discard:
      if (result == -EOPNOTSUPP || result == -EINVAL) return disk_->run(operation);  // which knows other ways
      return -result;
    case DiskOperation::Kind::flush:
    case DiskOperation::Kind::secure_erase:
      return -result;
  }
  return EINVAL;
}

void UringEngine::drain() noexcept {
  while (in_flight_ > 0) {
    ::io_uring_submit_and_wait(&ring_, 1);
    reap();
  }
}

void UringEngine::stop() noexcept {
  client_ = nullptr;
  if (!watch_) return;
  watch_->engine = nullptr;
  try {
    watch_->descriptor.release();
  } catch (const std::exception&) {
    // It was watched no more, and is not closed either way.
  }
  watch_.reset();
}

}  // namespace

Result<std::unique_ptr<BlockBackend>> create_uring_engine(RawDisk& disk) {
  auto engine = std::make_unique<UringEngine>();
  TRIVET_TRY(engine->prepare(disk));
  return engine;
}

}  // namespace trivet::virtio
