// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The doors that the hostile driver goes through: a device's home, as far as a driver reaches it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <set>

#include <boost/asio/io_context.hpp>

#include <trivet/test/driver.hpp>
#include <trivet/test/test_router.hpp>
#include <trivet/virtio/mmio_transport.hpp>
#include <trivet/virtio/pci_transport.hpp>

namespace trivet::test {

inline constexpr std::uint64_t guest_size = 64 << 10;
inline constexpr std::uint16_t ring_size = 8;
/// That a driver brings up; a device may have more or fewer.
inline constexpr std::uint32_t most_queues = 5;

/// Where the rings of queue `n` lie, and the memory that the script writes.
constexpr std::uint64_t descriptors_of(std::uint64_t n) {
  return 0x1000 + n * 0x400;
}
constexpr std::uint64_t driver_area_of(std::uint64_t n) {
  return descriptors_of(n) + 0x100;
}
constexpr std::uint64_t device_area_of(std::uint64_t n) {
  return descriptors_of(n) + 0x200;
}
inline constexpr std::uint64_t heap = 0x4000;

inline void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "hostile driver: broken promise: %s\n", what);
  std::abort();
}

class Line final : public InterruptLine {
 public:
  Result<void> signal() noexcept override { return {}; }
  Result<void> set_level(bool) noexcept override { return {}; }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }
};

/// The script's bytes; zeros when it is over.
class Script {
 public:
  explicit Script(ConstBytes bytes) : left_(bytes) {}
  [[nodiscard]] bool over() const { return left_.empty(); }
  template <class T>
  T next() {
    T value{};
    const auto bytes = std::min(sizeof value, left_.size());
    if (bytes != 0) std::memcpy(&value, left_.data(), bytes);
    left_ = left_.subspan(bytes);
    return value;
  }
  ConstBytes next_bytes(std::size_t count) {
    const auto bytes = left_.first(std::min(count, left_.size()));
    left_ = left_.subspan(bytes.size());
    return bytes;
  }

 private:
  ConstBytes left_;
};

/// What the driver has to do in each home in another way.
class Door {
 public:
  virtual ~Door() = default;
  [[nodiscard]] virtual std::uint32_t status() const = 0;
  virtual void set_status(std::uint32_t value) = 0;
  /// Accepts what is offered but for these bits.
  virtual void accept_features(std::uint64_t without) = 0;
  /// False when there is no such queue.
  virtual bool enable_queue(std::uint32_t n) = 0;
  virtual void reset_queue(std::uint32_t n) = 0;
  virtual void notify(std::uint32_t n) = 0;
  /// Some register with some value, in its own width.
  virtual void write_some(Script& script) = 0;
  /// Any access, anywhere.
  virtual void access(Script& script) = 0;
};

class MmioDoor final : public Door {
 public:
  MmioDoor(std::unique_ptr<virtio::Device> device, const TestGuest& guest, boost::asio::io_context& loop) {
    auto made = virtio::MmioTransport::create(
        std::move(device), {.memory = guest.map(), .executor = loop.get_executor(), .interrupt = &line_});
    promise(made.has_value(), "the transport is made");
    transport_ = std::move(*made);
  }
  [[nodiscard]] std::uint32_t status() const override { return transport_->status(); }
  void set_status(std::uint32_t value) override { write(0x70, value); }
  void accept_features(std::uint64_t without) override {
    for (std::uint32_t page = 0; page < 2; ++page) {
      write(0x14, page);
      write(0x24, page);
      write(0x20, read(0x10) & ~static_cast<std::uint32_t>(page == 0 ? without : without >> 32));
    }
  }
  bool enable_queue(std::uint32_t n) override {
    write(0x30, n);
    if (read(0x34) == 0) return false;
    write(0x38, ring_size);
    write(0x80, static_cast<std::uint32_t>(descriptors_of(n)));
    write(0x90, static_cast<std::uint32_t>(driver_area_of(n)));
    write(0xa0, static_cast<std::uint32_t>(device_area_of(n)));
    write(0x44, 1);
    return true;
  }
  void reset_queue(std::uint32_t n) override {
    write(0x30, n);
    write(0xc0, 1);
  }
  void notify(std::uint32_t n) override { write(0x50, n); }
  void write_some(Script& script) override {
    const auto offset = script.next<std::uint8_t>() & 0xfcU;
    write(offset, script.next<std::uint32_t>());
  }
  void access(Script& script) override {
    std::array<std::byte, 8> data{};
    const auto kind = script.next<std::uint8_t>();
    const auto offset = script.next<std::uint16_t>() % 0x240U;
    const std::size_t width = std::size_t{1} << (kind & 3U);
    if ((kind & 4U) != 0) return transport_->read(offset, std::span(data).first(width));
    const auto value = script.next<std::uint64_t>();
    std::memcpy(data.data(), &value, width);
    transport_->write(offset, std::span(data).first(width));
  }

 private:
  [[nodiscard]] std::uint32_t read(std::uint64_t offset) {
    std::uint32_t value = 0;
    transport_->read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void write(std::uint64_t offset, std::uint32_t value) {
    transport_->write(offset, std::as_bytes(std::span(&value, 1)));
  }

  Line line_;
  std::unique_ptr<virtio::MmioTransport> transport_;
};

/// Doorbells that never ring and may not stand at one place twice.
class FewDoorbells final : public Doorbells {
 public:
  Result<std::unique_ptr<Doorbell>> create(const DoorbellSpec& spec) override {
    auto event = Event::create();
    if (!event) return event.error();
    if (!places_.insert(spec.at.value).second) return Error(Errc::already_exists, "create doorbell");
    return std::unique_ptr<Doorbell>(std::make_unique<Bell>(*this, spec.at.value, std::move(*event)));
  }

 private:
  struct Bell final : Doorbell {
    Bell(FewDoorbells& owner, std::uint64_t at, Event e) : bells(owner), place(at), event(std::move(e)) {}
    ~Bell() override { bells.places_.erase(place); }
    [[nodiscard]] int fd() const noexcept override { return event.fd(); }
    FewDoorbells& bells;
    std::uint64_t place;
    Event event;
  };
  std::set<std::uint64_t> places_;
};

class PciDoor final : public Door, private pci::BarListener {
 public:
  PciDoor(std::unique_ptr<virtio::Device> device, const TestGuest& guest, boost::asio::io_context& loop) {
    router_.most_routes = 2;  // so that some vectors cannot be mapped
    auto made = virtio::PciTransport::create(std::move(device), {.memory = guest.map(),
                                                                 .executor = loop.get_executor(),
                                                                 .router = &router_,
                                                                 .line = &line_,
                                                                 .doorbells = &doorbells_,
                                                                 .admin_queue = true});
    promise(made.has_value(), "the transport is made");
    transport_ = std::move(*made);
    transport_->listen(this);
    set_space<std::uint32_t>(pci::reg::bar0, 0xd8000000);
    set_space<std::uint16_t>(pci::reg::command, pci::reg::command_memory);
  }
  [[nodiscard]] std::uint32_t status() const override { return transport_->status(); }
  void set_status(std::uint32_t value) override { set(0x14, static_cast<std::uint8_t>(value)); }
  void accept_features(std::uint64_t without) override {
    for (std::uint32_t page = 0; page < 2; ++page) {
      set(0x00, page);
      set(0x08, page);
      set(0x0c, get<std::uint32_t>(0x04) & ~static_cast<std::uint32_t>(page == 0 ? without : without >> 32));
    }
  }
  bool enable_queue(std::uint32_t n) override {
    set(0x16, static_cast<std::uint16_t>(n));
    if (get<std::uint16_t>(0x18) == 0) return false;
    set(0x18, ring_size);
    set(0x1a, static_cast<std::uint16_t>(n));
    promise(get<std::uint16_t>(0x1a) == n || get<std::uint16_t>(0x1a) == 0xffff, "a vector is mapped or none");
    set(0x20, descriptors_of(n));
    set(0x28, driver_area_of(n));
    set(0x30, device_area_of(n));
    set(0x1c, std::uint16_t{1});
    return true;
  }
  void reset_queue(std::uint32_t n) override {
    set(0x16, static_cast<std::uint16_t>(n));
    set(0x3a, std::uint16_t{1});
  }
  void notify(std::uint32_t n) override {
    set(virtio::PciTransport::notify_offset + 4U * n, static_cast<std::uint16_t>(n));
  }
  void write_some(Script& script) override {
    const auto offset = script.next<std::uint8_t>() & 0x3eU;
    const auto value = script.next<std::uint32_t>();
    if (offset == 0x14) return set(offset, static_cast<std::uint8_t>(value));
    if (offset < 0x10 || (offset >= 0x20 && offset < 0x38)) return set(offset, value);
    set(offset, static_cast<std::uint16_t>(value));
  }
  void access(Script& script) override {
    std::array<std::byte, 8> data{};
    const auto kind = script.next<std::uint8_t>();
    const auto offset = script.next<std::uint16_t>();
    const bool space = (kind & 8U) != 0;
    const auto width = std::size_t{1} << (kind & 3U) % (space ? 3U : 4U);
    const auto bytes = std::span(data).first(width);
    const bool read = (kind & 4U) != 0;
    const auto value = read ? 0 : script.next<std::uint64_t>();
    std::memcpy(data.data(), &value, width);
    if (space) {
      const auto at = static_cast<std::uint16_t>(offset % 0x110U / width * width);
      return read ? transport_->read_config(at, bytes) : transport_->write_config(at, bytes);
    }
    return read ? transport_->read_bar(kind >> 4 & 1U, offset, bytes)
                : transport_->write_bar(kind >> 4 & 1U, offset, bytes);
  }

 private:
  void bar_moved(pci::Function&, unsigned bar, std::optional<GuestAddress> at) noexcept override {
    promise(bar == 0 && at != place_, "a BAR that is said to have moved has");
    place_ = at;
  }
  template <class T>
  [[nodiscard]] T get(std::uint64_t offset) {
    T value{};
    transport_->read_bar(0, offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set(std::uint64_t offset, T value) {
    transport_->write_bar(0, offset, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  void set_space(std::uint16_t offset, T value) {
    transport_->write_config(offset, std::as_bytes(std::span(&value, 1)));
  }

  Line line_;
  TestRouter router_;
  FewDoorbells doorbells_;
  std::optional<GuestAddress> place_;
  std::unique_ptr<virtio::PciTransport> transport_;
};

}  // namespace trivet::test
