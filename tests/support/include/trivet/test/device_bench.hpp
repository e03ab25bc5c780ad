// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <trivet/core/doorbell.hpp>
#include <trivet/core/event.hpp>
#include <trivet/core/interrupt_line.hpp>
#include <trivet/memory/mapping.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/device.hpp>

namespace trivet::test {

/// An interrupt line that counts and can be waited for.
class CountingLine final : public InterruptLine {
 public:
  Result<void> signal() noexcept override {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
    return {};
  }
  Result<void> set_level(bool) noexcept override { return Error::unsupported("set level", "an edge line"); }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }

  [[nodiscard]] std::uint64_t count() const {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  bool wait_beyond(std::uint64_t count, std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, at_most, [&] { return count_ > count; });
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::uint64_t count_ = 0;
};

/// Doorbells that the test rings itself.
class TestDoorbells final : public Doorbells {
 public:
  Result<std::unique_ptr<Doorbell>> create(const DoorbellSpec& spec) override {
    if (refuse) return Error(Errc::limit, "create doorbell", "as the test wants", Blame::host);
    if (need_size && spec.size == 0) return Error::unsupported("create doorbell", "as the test wants");
    auto event = Event::create();
    if (!event) return event.error();
    auto bell = std::make_unique<Bell>(std::move(*event));
    specs.push_back(spec);
    bells.push_back(bell.get());
    return bell;
  }
  void ring(std::size_t n) { bells.at(n)->event.signal(); }

  bool refuse = false;
  bool need_size = false;
  std::vector<DoorbellSpec> specs;

 private:
  struct Bell final : Doorbell {
    explicit Bell(Event e) : event(std::move(e)) {}
    [[nodiscard]] int fd() const noexcept override { return event.fd(); }
    Event event;
  };
  std::vector<Bell*> bells;
};

/// A device in a home with its event loop on a thread of its own, and a driver for it that goes through the home's
/// registers as a guest's does. What differs from home to home is virtual, so that a device's tests run in each.
class DeviceBench {
 public:
  virtual ~DeviceBench() = default;
  DeviceBench(const DeviceBench&) = delete;
  DeviceBench& operator=(const DeviceBench&) = delete;

  void stop_loop() {
    loop.stop();
    if (thread_.joinable()) thread_.join();
  }

  /// \name The home's registers
  /// @{
  [[nodiscard]] virtual std::uint32_t status() = 0;
  virtual void set_status(std::uint32_t value) = 0;
  [[nodiscard]] virtual std::uint64_t offered() = 0;
  virtual void set_features(std::uint64_t features) = 0;
  virtual void describe_queue(unsigned index, const Driver& driver) = 0;
  virtual void enable_queue(unsigned index) = 0;
  [[nodiscard]] virtual bool queue_enabled(unsigned index) = 0;
  virtual void reset_queue(unsigned index) = 0;
  virtual void kick(unsigned index) = 0;
  [[nodiscard]] virtual std::uint32_t generation() = 0;
  /// Whether a configuration change notification came since the last call.
  virtual bool take_config_change() = 0;
  virtual void read_config(std::uint64_t offset, Bytes out) = 0;
  virtual void write_config(std::uint64_t offset, ConstBytes in) = 0;
  /// @}

  /// \name What homes have in other ways
  /// @{
  /// Whether the driver reads the device's own generation; else it knows only of the changes that it is notified of.
  [[nodiscard]] virtual bool tells_generation() const { return true; }
  /// The guest's memory as the device sees it: where the pages that it wrote are marked.
  [[nodiscard]] virtual std::shared_ptr<const memory::GuestMemory> device_memory() { return guest.map()->snapshot(); }
  /// More memory for the guest while it runs, and less.
  virtual void add_memory(const GuestRange& range) {
    must(guest.map()->insert(must(memory::Region::create(range.start, must(memory::Mapping::anonymous(range.size))))));
  }
  virtual void remove_memory(const GuestRange& range) { (void)must(guest.map()->remove(range)); }
  /// @}

  template <class T>
  [[nodiscard]] T config(std::uint64_t offset) {
    T value{};
    read_config(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set_config(std::uint64_t offset, T value) {
    write_config(offset, std::as_bytes(std::span(&value, 1)));
  }

  /// Up to FEATURES_OK, from a reset; whether the device agreed.
  bool negotiate(std::uint64_t features) {
    set_status(0);
    set_status(1);
    set_status(3);
    prepare_interrupts();
    set_features(features);
    set_status(11);
    features_ = features;
    return (status() & virtio::abi::status_features_ok) != 0;
  }
  /// Places a ring and enables it.
  Driver& add_queue(unsigned index, std::uint16_t size) {
    auto& driver = *(drivers_[index] = std::make_unique<Driver>(guest, size, features_ & Driver::known_features));
    describe_queue(index, driver);
    enable_queue(index);
    return driver;
  }
  void set_driver_ok() { set_status(15); }
  /// With all that is offered and wanted, and one queue of each index below `queues`.
  void start(unsigned queues, std::uint16_t size = 16, std::uint64_t without = 0) {
    if (!negotiate(offered() & ~without & ~unwanted)) throw std::runtime_error("FEATURES_OK was refused");
    for (unsigned i = 0; i < queues; ++i) add_queue(i, size);
    set_driver_ok();
  }
  [[nodiscard]] Driver& queue(unsigned index) { return *drivers_.at(index); }
  /// The next used chain of a queue, waited for like a guest does: by interrupt.
  std::optional<Used> wait_used(unsigned index, std::chrono::milliseconds at_most = std::chrono::seconds(20)) {
    const auto end = std::chrono::steady_clock::now() + at_most;
    for (;;) {
      const auto seen = line.count();
      if (auto used = queue(index).take_used()) return used;
      if (queue(index).enable_notifications()) continue;
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
      if (left.count() <= 0 || !line.wait_beyond(seen, left)) return std::nullopt;
    }
  }
  /// Waits until the status has a bit.
  bool wait_status(std::uint32_t bit, std::chrono::milliseconds at_most = std::chrono::seconds(20)) {
    const auto end = std::chrono::steady_clock::now() + at_most;
    while ((status() & bit) == 0) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  /// Waits until the loop has done what it had to do when this was called.
  void settle() {
    for (int round = 0; round < 3; ++round) {  // a kick's descriptor, its work, what that work posted
      std::promise<void> done;
      boost::asio::post(loop, [&] { done.set_value(); });
      done.get_future().wait();
    }
  }

  [[nodiscard]] std::vector<std::string> logged() const {
    const std::lock_guard lock(log_mutex_);
    return log_;
  }
  [[nodiscard]] bool logged(std::string_view part) const {
    for (const auto& entry : logged()) {
      if (entry.find(part) != std::string::npos) return true;
    }
    return false;
  }

  /// What `start` does not accept: the tests' own choice of the ring.
  std::uint64_t unwanted = virtio::abi::f_ring_packed | virtio::abi::f_in_order;
  TestGuest guest;
  /// Every notification of the device, whatever it came by.
  CountingLine line;
  boost::asio::io_context loop{1};

 protected:
  explicit DeviceBench(bool track_dirty)
      : guest(TestGuest::default_size, {0}, track_dirty), work_(loop.get_executor()) {}

  [[nodiscard]] bool has(std::uint64_t feature) const noexcept { return (features_ & feature) != 0; }
  /// What a driver writes to notify: with VIRTIO_F_NOTIFICATION_DATA also where it stands (virtio 1.2, 2.9).
  [[nodiscard]] std::uint32_t notification(unsigned index, std::uint32_t name) {
    if (!has(virtio::abi::f_notification_data)) return name;
    const auto found = drivers_.find(index);
    if (found == drivers_.end()) return name;
    const Driver& driver = *found->second;
    const std::uint32_t place = driver.packed() ? driver.next_place() : driver.available_index();
    // Bit 15 of a place is the wrap counter, and of an index its highest bit: the highest bit of the word either way.
    return name | place << 16;
  }

  /// The driver has said DRIVER; a home whose interrupts need more than a line sets them up.
  virtual void prepare_interrupts() {}

  static void must(const Result<void>& done) {
    if (!done) throw std::runtime_error(to_string(done.error()));
  }
  template <class T>
  static T must(Result<T> made) {
    if (!made) throw std::runtime_error(to_string(made.error()));
    return std::move(*made);
  }
  void start_loop() {
    thread_ = std::thread([this] { loop.run(); });
  }
  void note(const Error& error) {
    const std::lock_guard lock(log_mutex_);
    log_.push_back(to_string(error));
  }

 private:
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::thread thread_;
  std::uint64_t features_ = 0;
  std::map<unsigned, std::unique_ptr<Driver>> drivers_;
  mutable std::mutex log_mutex_;
  std::vector<std::string> log_;
};

}  // namespace trivet::test
