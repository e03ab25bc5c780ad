// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A minimal driver for modern virtio with split rings, polled (virtio 1.2, 2.7 and 3.1), over whichever transport.
#pragma once

#include <cstddef>
#include <cstdint>

namespace guest {

/// One buffer of a request.
struct Buffer {
  const void* data;
  std::uint32_t size;
  bool device_writes;
};

struct SplitRing {
  static constexpr std::uint16_t most = 8;
  struct Descriptor {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
  };
  struct Used {
    std::uint32_t id;
    std::uint32_t length;
  };
  alignas(16) Descriptor table[most];
  struct {
    std::uint16_t flags;
    std::uint16_t index;
    std::uint16_t ring[most];
    std::uint16_t used_event;  // part of the ring's size also where EVENT_IDX is off (virtio 1.2, 2.7)
  } available;
  struct alignas(4) {
    std::uint16_t flags;
    std::uint16_t index;
    Used ring[most];
    std::uint16_t available_event;
  } used;
};

/// A device's registers on its transport.
class VirtioTransport {
 public:
  virtual std::uint32_t id() = 0;
  /// 32 feature bits: page 0 or 1.
  virtual std::uint32_t offered(std::uint32_t page) = 0;
  virtual void accept(std::uint32_t page, std::uint32_t features) = 0;
  virtual std::uint32_t status() = 0;
  virtual void set_status(std::uint32_t value) = 0;
  /// Selects a queue; its largest size, 0 where there is none or it is enabled already.
  virtual std::uint32_t select_queue(std::uint32_t index) = 0;
  /// Of the selected queue. False where it cannot be enabled.
  virtual bool enable_queue(std::uint16_t size, const void* descriptors, const void* driver, const void* device) = 0;
  virtual void notify(std::uint32_t queue) = 0;
  virtual std::uint32_t config32(std::uint32_t offset) = 0;
  virtual std::uint32_t generation() = 0;
  /// Before queues are enabled. True where the device then raises interrupts, which `took_interrupt` must see.
  virtual bool start_interrupts() = 0;
  /// Whether an interrupt came since the last call; waits for it a little.
  virtual bool took_interrupt() = 0;
  virtual void stop() = 0;

 protected:
  ~VirtioTransport() = default;
};

class VirtioDevice {
 public:
  explicit VirtioDevice(VirtioTransport& transport);
  std::uint32_t id() const { return id_; }
  /// Low 32 feature bits the device offers.
  std::uint32_t features() const { return features_; }
  /// Goes through the status machine, accepting VERSION_1 and `wanted`; sets up `queues` rings.
  bool start(std::uint32_t wanted, SplitRing* rings, std::uint32_t queues);
  /// Sends one chain on `queue` and polls until it is used; returns the used length, or -1 after too long or
  /// without the interrupt that should have come.
  std::int64_t request(std::uint32_t queue, const Buffer* buffers, std::uint16_t count);
  /// Makes a buffer available and does not wait.
  void offer(std::uint32_t queue, const Buffer* buffers, std::uint16_t count);
  /// Waits for the next used entry of `queue`; -1 after too long.
  std::int64_t await(std::uint32_t queue);
  std::uint64_t config64(std::uint32_t offset);
  void stop();

 private:
  bool start_queue(std::uint32_t index);

  VirtioTransport& transport_;
  std::uint32_t id_;
  std::uint32_t features_;
  bool interrupts_ = false;
  SplitRing* rings_ = nullptr;
  std::uint16_t sizes_[4] = {};
  std::uint16_t seen_[4] = {};
};

}  // namespace guest
