// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstdint>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include <trivet/test/driver.hpp>
#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/packed_ring.hpp>

#include "hostile_doors.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

class Play {
 public:
  Play(ConstBytes script, const std::function<void(std::uint8_t)>& outside)
      : script_(script), outside_(outside), guest_(guest_size) {}

  void run(std::unique_ptr<virtio::Device> device, Home home) {
    if (home == Home::pci) {
      door_ = std::make_unique<PciDoor>(std::move(device), guest_, loop_);
    } else {
      door_ = std::make_unique<MmioDoor>(std::move(device), guest_, loop_);
    }
    // On the loop's own thread the transport waits for nobody.
    boost::asio::post(loop_, [this] {
      for (int acts = 0; !script_.over() && acts < 500; ++acts) act();
      door_->set_status(0);
      promise(door_->status() == 0, "a reset resets");
      door_.reset();
    });
    loop_.run();
  }

 private:
  void act() {
    const auto before = door_->status();
    switch (script_.next<std::uint8_t>() % 11) {
      case 0:
        door_->write_some(script_);
        break;
      case 1:
        door_->access(script_);
        break;
      case 2:
        bring_up();
        break;
      case 3:
        write_memory();
        break;
      case 4:
      case 5:
        add_chain(0);
        break;
      case 6:
        door_->notify(script_.next<std::uint8_t>() & 3U);
        break;
      case 7:
        if (outside_) outside_(script_.next<std::uint8_t>());
        break;
      case 8:
        door_->reset_queue(script_.next<std::uint8_t>() & 3U);
        break;
      case 10:
        add_chain(2);
        break;
      default:
        turn();
    }
    check(before);
  }

  void check(std::uint32_t before) const {
    const auto now = door_->status();
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

  void bring_up() {
    const auto choice = script_.next<std::uint64_t>();
    packed_ = (choice >> 40 & 1) != 0;
    const std::uint64_t unwanted = (packed_ ? 0 : abi::f_ring_packed) | ((choice >> 41 & 1) != 0 ? 0 : abi::f_in_order);
    for (const std::uint32_t status : {0U, 1U, 3U}) door_->set_status(status);
    door_->accept_features((choice & 0xffffffffU) | unwanted);
    door_->set_status(11);
    places_.fill(abi::packed_start);
    for (std::uint32_t n = 0; n < most_queues; ++n) {
      for (std::uint64_t i = 0; packed_ && i < ring_size; ++i) put<std::uint16_t>(descriptors_of(n) + i * 16 + 14, 0);
      put<std::uint32_t>(driver_area_of(n), 0);
      put<std::uint32_t>(device_area_of(n), 0);
      if (!door_->enable_queue(n)) break;
    }
    door_->set_status(15);
    promise(door_->status() == 15, "a driver that keeps the rules is served");
  }

  void write_memory() {
    const auto at = script_.next<std::uint16_t>();
    const auto bytes = script_.next_bytes(script_.next<std::uint8_t>());
    (void)guest_.memory().write({at}, bytes);
  }

  /// A chain of up to 7 descriptors, mostly sound, and the available index after it; for one of the two queues from
  /// `first` on, or for queue 4 (which may be none of the device's).
  void add_chain(std::uint64_t first) {
    const auto shape = script_.next<std::uint8_t>();
    const std::uint64_t queue = first == 2 && shape >= 0xf0 ? 4 : first + (shape & 1U);
    const unsigned length = 1 + (shape >> 1) % 7U;
    auto& place = places_.at(queue);
    for (unsigned i = 0; i < length; ++i) {
      const auto bytes = script_.next<std::uint8_t>();
      const auto odd = script_.next<std::uint8_t>();
      const auto at = descriptors_of(queue) + (packed_ ? place & 0x7fffU : i) * 16U;
      put<std::uint64_t>(at, odd > 250 ? script_.next<std::uint64_t>() : heap + odd * 64U);
      put<std::uint32_t>(at + 8, odd == 250             ? script_.next<std::uint32_t>()
                                 : (bytes & 0x80U) != 0 ? (bytes & 7U) * 512U
                                                        : bytes & 31U);
      const auto flags = (i + 1 < length ? 1U : 0U) | ((bytes & 0x40U) != 0 ? 2U : 0U) | (odd == 249 ? 4U : 0U);
      if (packed_) {
        // One thread: nobody looks before the chain is whole.
        const auto mark = (place & abi::packed_wrap) != 0 ? abi::packed_desc_f_avail : abi::packed_desc_f_used;
        put<std::uint16_t>(at + 12, static_cast<std::uint16_t>(odd == 248 ? bytes : place & 7U));
        put<std::uint16_t>(at + 14, static_cast<std::uint16_t>(flags | mark));
        place = abi::packed_after(place, 1, ring_size);
        continue;
      }
      put<std::uint16_t>(at + 12, static_cast<std::uint16_t>(flags));
      put<std::uint16_t>(at + 14, static_cast<std::uint16_t>(odd == 248 ? bytes : i + 1));
    }
    if (packed_) return notify_and_turn(queue);
    const auto index = guest_.memory().load<std::uint16_t>({driver_area_of(queue) + 2});
    put<std::uint16_t>(driver_area_of(queue) + 4 + 2U * (*index % ring_size), 0);
    put<std::uint16_t>(driver_area_of(queue) + 2, static_cast<std::uint16_t>(*index + 1));
    notify_and_turn(queue);
  }

  void notify_and_turn(std::uint64_t queue) {
    door_->notify(static_cast<std::uint32_t>(queue));
    turn();
  }

  template <class T>
  void put(std::uint64_t at, T value) {
    (void)guest_.memory().store<T>({at}, value);
  }

  Script script_;
  const std::function<void(std::uint8_t)>& outside_;
  boost::asio::io_context loop_{1};
  TestGuest guest_;
  std::unique_ptr<Door> door_;
  bool packed_ = false;
  std::array<std::uint16_t, most_queues> places_{};  // of packed rings: the next
};

}  // namespace

void play_hostile_driver(ConstBytes script, std::unique_ptr<virtio::Device> device,
                         const std::function<void(std::uint8_t)>& outside, Home home) {
  Play(script, outside).run(std::move(device), home);
}

}  // namespace trivet::test
