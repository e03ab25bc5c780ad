// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <trivet/test/driver.hpp>
#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/mmio.hpp>
#include <trivet/virtio/mmio_transport.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

constexpr std::uint64_t guest_size = 64 << 10;
constexpr std::uint16_t ring_size = 8;

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
constexpr std::uint64_t heap = 0x4000;

void promise(bool kept, const char* what) {
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

class Play {
 public:
  Play(ConstBytes script, const std::function<void(std::uint8_t)>& outside)
      : script_(script), outside_(outside), guest_(guest_size) {}

  void run(std::unique_ptr<virtio::Device> device) {
    auto made = virtio::MmioTransport::create(
        std::move(device), {.memory = guest_.map(), .executor = loop_.get_executor(), .interrupt = &line_});
    promise(made.has_value(), "the transport is made");
    transport_ = std::move(*made);
    // On the loop's own thread the transport waits for nobody.
    boost::asio::post(loop_, [this] {
      for (int acts = 0; !script_.over() && acts < 500; ++acts) act();
      write(0x70, 0);
      promise(transport_->status() == 0, "a reset resets");
      transport_.reset();
    });
    loop_.run();
  }

 private:
  void act() {
    const auto before = transport_->status();
    switch (script_.next<std::uint8_t>() % 10) {
      case 0:
        write(script_.next<std::uint8_t>() & 0xfcU, script_.next<std::uint32_t>());
        break;
      case 1:
        access();
        break;
      case 2:
        bring_up();
        break;
      case 3:
        write_memory();
        break;
      case 4:
      case 5:
        add_chain();
        break;
      case 6:
        write(0x50, script_.next<std::uint8_t>() & 3U);
        break;
      case 7:
        if (outside_) outside_(script_.next<std::uint8_t>());
        break;
      case 8:
        write(0x30, script_.next<std::uint8_t>() & 3U);
        write(0xc0, 1);
        break;
      default:
        turn();
    }
    check(before);
  }

  void check(std::uint32_t before) const {
    const auto now = transport_->status();
    promise((now & abi::status_driver_ok) == 0 || (now & abi::status_features_ok) != 0,
            "DRIVER_OK implies FEATURES_OK");
    const bool was_reset = (now & before) != before;
    promise(!was_reset || now == 0 || now == 11 || now == 15 || (now & abi::status_needs_reset) != 0,
            "only a reset takes status bits away");
  }

  void turn() {
    // A device that keeps asking for more must not keep the loop; a bounded number of handlers is enough for any real
    // work.
    for (int handlers = 0; handlers < 64 && loop_.poll_one() != 0; ++handlers) {
    }
  }

  void access() {
    std::array<std::byte, 8> data{};
    const auto kind = script_.next<std::uint8_t>();
    const auto offset = script_.next<std::uint16_t>() % 0x240U;
    const std::size_t width = std::size_t{1} << (kind & 3U);
    if ((kind & 4U) != 0) return transport_->read(offset, std::span(data).first(width));
    const auto value = script_.next<std::uint64_t>();
    std::memcpy(data.data(), &value, width);
    transport_->write(offset, std::span(data).first(width));
  }

  void bring_up() {
    const auto without = script_.next<std::uint64_t>();
    write(0x70, 0);
    write(0x70, 1);
    write(0x70, 3);
    for (std::uint32_t page = 0; page < 2; ++page) {
      write(0x14, page);
      write(0x24, page);
      write(0x20, read(0x10) & ~(page == 0 ? static_cast<std::uint32_t>(without) : 0));
    }
    write(0x70, 11);
    for (std::uint32_t n = 0; n < 3; ++n) {
      write(0x30, n);
      if (read(0x34) == 0) break;
      write(0x38, ring_size);
      write(0x80, static_cast<std::uint32_t>(descriptors_of(n)));
      write(0x90, static_cast<std::uint32_t>(driver_area_of(n)));
      write(0xa0, static_cast<std::uint32_t>(device_area_of(n)));
      put<std::uint32_t>(driver_area_of(n), 0);
      put<std::uint32_t>(device_area_of(n), 0);
      write(0x44, 1);
    }
    write(0x70, 15);
    promise(transport_->status() == 15, "a driver that keeps the rules is served");
  }

  void write_memory() {
    const auto at = script_.next<std::uint16_t>();
    const auto bytes = script_.next_bytes(script_.next<std::uint8_t>());
    (void)guest_.memory().write({at}, bytes);
  }

  /// A chain of up to 7 descriptors, mostly sound, and the available index after it.
  void add_chain() {
    const auto shape = script_.next<std::uint8_t>();
    const std::uint64_t queue = shape & 1U;
    const unsigned length = 1 + (shape >> 1) % 7U;
    for (unsigned i = 0; i < length; ++i) {
      const auto bytes = script_.next<std::uint8_t>();
      const auto odd = script_.next<std::uint8_t>();
      const auto at = descriptors_of(queue) + i * 16U;
      put<std::uint64_t>(at, odd > 250 ? script_.next<std::uint64_t>() : heap + odd * 64U);
      put<std::uint32_t>(at + 8, odd == 250             ? script_.next<std::uint32_t>()
                                 : (bytes & 0x80U) != 0 ? (bytes & 7U) * 512U
                                                        : bytes & 31U);
      const auto flags = (i + 1 < length ? 1U : 0U) | ((bytes & 0x40U) != 0 ? 2U : 0U) | (odd == 249 ? 4U : 0U);
      put<std::uint16_t>(at + 12, static_cast<std::uint16_t>(flags));
      put<std::uint16_t>(at + 14, static_cast<std::uint16_t>(odd == 248 ? bytes : i + 1));
    }
    const auto index = guest_.memory().load<std::uint16_t>({driver_area_of(queue) + 2});
    put<std::uint16_t>(driver_area_of(queue) + 4 + 2U * (*index % ring_size), 0);
    put<std::uint16_t>(driver_area_of(queue) + 2, static_cast<std::uint16_t>(*index + 1));
    write(0x50, static_cast<std::uint32_t>(queue));
    turn();
  }

  template <class T>
  void put(std::uint64_t at, T value) {
    (void)guest_.memory().store<T>({at}, value);
  }
  [[nodiscard]] std::uint32_t read(std::uint64_t offset) {
    std::uint32_t value = 0;
    transport_->read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  void write(std::uint64_t offset, std::uint32_t value) {
    transport_->write(offset, std::as_bytes(std::span(&value, 1)));
  }

  Script script_;
  const std::function<void(std::uint8_t)>& outside_;
  boost::asio::io_context loop_{1};
  TestGuest guest_;
  Line line_;
  std::unique_ptr<virtio::MmioTransport> transport_;
};

}  // namespace

void play_hostile_driver(ConstBytes script, std::unique_ptr<virtio::Device> device,
                         const std::function<void(std::uint8_t)>& outside) {
  Play(script, outside).run(std::move(device));
}

}  // namespace trivet::test
