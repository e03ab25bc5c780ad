// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include <trivet/core/event.hpp>
#include <trivet/test/device_bench.hpp>
#include <trivet/test/vhost_user_front_end.hpp>
#include <trivet/test/vhost_user_server.hpp>

namespace trivet::test {

/// A device behind the vhost-user harness, in the bench's event loop; the bench plays the VMM that has the connection's
/// other end, and the driver before it: the guest's memory is in a descriptor, kicks and notifications are events, and
/// what a driver writes to registers becomes requests when it sets DRIVER_OK, as in QEMU.
///
/// DEVICE_NEEDS_RESET is in the back end's status (STATUS) or comes by the queues' error events.
class VhostUserBench final : public DeviceBench {
 public:
  explicit VhostUserBench(std::unique_ptr<virtio::Device> device, bool track_dirty = false,
                          std::uint64_t protocol_features = vhost_user::all_protocol_features);
  ~VhostUserBench() override;

  [[nodiscard]] std::uint32_t status() override;
  void set_status(std::uint32_t value) override;
  [[nodiscard]] std::uint64_t offered() override;
  void set_features(std::uint64_t features) override;
  void describe_queue(unsigned index, const Driver& driver) override;
  void enable_queue(unsigned index) override;
  [[nodiscard]] bool queue_enabled(unsigned index) override;
  void reset_queue(unsigned index) override;
  void kick(unsigned index) override;
  [[nodiscard]] std::uint32_t generation() override;
  bool take_config_change() override;
  void read_config(std::uint64_t offset, Bytes out) override;
  void write_config(std::uint64_t offset, ConstBytes in) override;

  /// The VMM counts the notifications of changes, and so knows no other.
  [[nodiscard]] bool tells_generation() const override { return false; }
  [[nodiscard]] std::shared_ptr<const memory::GuestMemory> device_memory() override;
  void add_memory(const GuestRange& range) override;
  void remove_memory(const GuestRange& range) override;

  /// Stops a queue that runs as a VMM does that pauses or migrates its guest, and starts it again at the same place.
  void pause_queue(unsigned index);
  void resume_queue(unsigned index);

  std::unique_ptr<vhost_user::FrontEnd> front_end;
  std::unique_ptr<vhost_user::Server> server;

 private:
  /// What the driver wrote of a queue, and what the VMM keeps for it.
  struct Queue {
    std::uint16_t size = 0;
    GuestAddress descriptors, available, used;
    bool ready = false;
    bool running = false;
    std::uint32_t base = 0;
    Event kick, call, error;
  };

  /// Where in its descriptor the guest's memory begins: not at 0, so that nobody forgets to look.
  static constexpr std::uint64_t memory_offset = 0x10000;

  void share_memory();
  void watch();
  void stop_watching();
  [[nodiscard]] bool driver_ok() const { return (status_ & virtio::abi::status_driver_ok) != 0; }
  [[nodiscard]] bool has_status() const { return front_end->has(vhost_user::abi::protocol_f_status); }
  [[nodiscard]] std::uint64_t user_address(GuestAddress at) const;
  void reset();
  void start_device();
  void start_queue(std::uint32_t index);
  void stop_queue(std::uint32_t index);
  void look_for_changes();

  UniqueFd memory_;
  std::vector<Queue> queues_;
  std::uint32_t status_ = 0;  // as the driver wrote it
  std::uint64_t features_ = 0;
  bool broken_ = false;  // an error event came
  std::uint32_t generation_ = 0;
  bool changed_ = false;
  std::map<std::uint64_t, vhost_user::abi::SingleMemoryRegion> added_;  // by guest address

  std::optional<Event> stop_watching_;
  std::thread watcher_;
};

}  // namespace trivet::test
