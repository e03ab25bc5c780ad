// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A minimal driver for modern virtio-mmio with split rings, polled (virtio 1.2, sections 2.7 and 4.2).
#pragma once

#include <cstddef>
#include <cstdint>

#include "acpi.hpp"

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

class VirtioDevice {
 public:
  /// False where nothing modern answers there.
  bool find(const MmioDevice& where);
  std::uint32_t id() const { return id_; }
  /// Low 32 feature bits the device offers.
  std::uint32_t features() const { return features_; }
  /// Goes through the status machine, accepting VERSION_1 and `wanted`; sets up `queues` rings.
  bool start(std::uint32_t wanted, SplitRing* rings, std::uint32_t queues);
  /// Sends one chain on `queue` and polls until it is used; returns the used length, or -1 after too long.
  std::int64_t request(std::uint32_t queue, const Buffer* buffers, std::uint16_t count);
  /// Makes a buffer available and does not wait.
  void offer(std::uint32_t queue, const Buffer* buffers, std::uint16_t count);
  /// Waits for the next used entry of `queue`; -1 after too long.
  std::int64_t await(std::uint32_t queue);
  std::uint32_t config32(std::uint32_t offset) const;
  std::uint64_t config64(std::uint32_t offset) const;
  void stop();

 private:
  bool start_queue(std::uint32_t index);
  std::uint32_t reg(std::uint32_t offset) const;
  void set_reg(std::uint32_t offset, std::uint32_t value);

  std::uint64_t base_ = 0;
  std::uint32_t id_ = 0;
  std::uint32_t features_ = 0;
  SplitRing* rings_ = nullptr;
  std::uint16_t sizes_[4] = {};
  std::uint16_t seen_[4] = {};
};

}  // namespace guest
