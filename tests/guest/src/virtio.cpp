// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "virtio.hpp"

#include "cpu.hpp"

namespace guest {
namespace {

// virtio 1.2, 4.2.2
constexpr std::uint32_t magic_value = 0x000, version = 0x004, device_id = 0x008, device_features = 0x010,
                        device_features_select = 0x014, driver_features = 0x020, driver_features_select = 0x024,
                        queue_select = 0x030, queue_size_max = 0x034, queue_size = 0x038, queue_ready = 0x044,
                        queue_notify = 0x050, interrupt_status = 0x060, interrupt_ack = 0x064, status = 0x070,
                        queue_descriptors = 0x080, queue_driver = 0x090, queue_device = 0x0a0,
                        config_generation = 0x0fc, config = 0x100;
constexpr std::uint32_t acknowledge = 1, driver = 2, driver_ok = 4, features_ok = 8, needs_reset = 64;
constexpr std::uint16_t next_flag = 1, write_flag = 2, no_interrupt = 1;
constexpr std::uint64_t patience = 20'000'000'000;  // TSC ticks: several seconds

template <typename T>
T load(const T& from) {
  return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}
template <typename T>
void store(T& to, T value) {
  __atomic_store_n(&to, value, __ATOMIC_RELEASE);
}

}  // namespace

std::uint32_t VirtioDevice::reg(std::uint32_t offset) const {
  return read32(base_ + offset);
}
void VirtioDevice::set_reg(std::uint32_t offset, std::uint32_t value) {
  write32(base_ + offset, value);
}

bool VirtioDevice::find(const MmioDevice& where) {
  base_ = where.address;
  if (base_ == 0 || base_ >= 0x1'0000'0000) return false;
  if (reg(magic_value) != 0x74726976 || reg(version) != 2) return false;
  id_ = reg(device_id);
  if (id_ == 0) return false;
  set_reg(device_features_select, 0);
  features_ = reg(device_features);
  return true;
}

bool VirtioDevice::start(std::uint32_t wanted, SplitRing* rings, std::uint32_t queues) {
  rings_ = rings;
  set_reg(status, 0);
  while (reg(status) != 0) pause();
  set_reg(status, acknowledge);
  set_reg(status, acknowledge | driver);
  set_reg(device_features_select, 1);
  if ((reg(device_features) & 1) == 0) return false;  // VERSION_1 is bit 32
  set_reg(driver_features_select, 0);
  set_reg(driver_features, features_ & wanted);
  set_reg(driver_features_select, 1);
  set_reg(driver_features, 1);
  set_reg(status, acknowledge | driver | features_ok);
  if ((reg(status) & features_ok) == 0) return false;
  for (std::uint32_t index = 0; index < queues; ++index) {
    if (!start_queue(index)) return false;
  }
  set_reg(status, acknowledge | driver | features_ok | driver_ok);
  return (reg(status) & needs_reset) == 0;
}

bool VirtioDevice::start_queue(std::uint32_t index) {
  SplitRing& ring = rings_[index];
  ring = {};
  ring.available.flags = no_interrupt;
  set_reg(queue_select, index);
  if (reg(queue_ready) != 0) return false;
  std::uint32_t most = reg(queue_size_max);
  if (most == 0) return false;
  sizes_[index] = static_cast<std::uint16_t>(most < SplitRing::most ? most : SplitRing::most);
  seen_[index] = 0;
  set_reg(queue_size, sizes_[index]);
  const void* areas[] = {ring.table, &ring.available, &ring.used};
  const std::uint32_t registers[] = {queue_descriptors, queue_driver, queue_device};
  for (int i = 0; i < 3; ++i) {
    auto address = reinterpret_cast<std::uint64_t>(areas[i]);
    set_reg(registers[i], static_cast<std::uint32_t>(address));
    set_reg(registers[i] + 4, static_cast<std::uint32_t>(address >> 32));
  }
  set_reg(queue_ready, 1);
  return true;
}

void VirtioDevice::offer(std::uint32_t queue, const Buffer* buffers, std::uint16_t count) {
  SplitRing& ring = rings_[queue];
  for (std::uint16_t i = 0; i < count; ++i) {
    bool last = i + 1 == count;
    auto flags = static_cast<std::uint16_t>((buffers[i].device_writes ? write_flag : 0) | (last ? 0 : next_flag));
    ring.table[i] = {reinterpret_cast<std::uint64_t>(buffers[i].data), buffers[i].size, flags,
                     static_cast<std::uint16_t>(last ? 0 : i + 1)};
  }
  std::uint16_t index = ring.available.index;
  ring.available.ring[index % sizes_[queue]] = 0;
  store(ring.available.index, static_cast<std::uint16_t>(index + 1));
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  set_reg(queue_notify, queue);
}

std::int64_t VirtioDevice::await(std::uint32_t queue) {
  SplitRing& ring = rings_[queue];
  std::uint64_t start = rdtsc();
  while (load(ring.used.index) == seen_[queue]) {
    if (rdtsc() - start > patience) return -1;
    pause();
  }
  std::uint32_t length = load(ring.used.ring[seen_[queue] % sizes_[queue]].length);
  ++seen_[queue];
  return length;
}

std::int64_t VirtioDevice::request(std::uint32_t queue, const Buffer* buffers, std::uint16_t count) {
  offer(queue, buffers, count);
  return await(queue);
}

std::uint32_t VirtioDevice::config32(std::uint32_t offset) const {
  return reg(config + offset);
}

std::uint64_t VirtioDevice::config64(std::uint32_t offset) const {
  for (;;) {
    std::uint32_t before = reg(config_generation);
    std::uint64_t value = config32(offset) | std::uint64_t{config32(offset + 4)} << 32;
    if (reg(config_generation) == before) return value;
  }
}

void VirtioDevice::stop() {
  set_reg(interrupt_ack, reg(interrupt_status));
  set_reg(status, 0);
}

}  // namespace guest
