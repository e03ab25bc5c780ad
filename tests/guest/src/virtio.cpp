// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "virtio.hpp"

#include "cpu.hpp"

namespace guest {
namespace {

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

VirtioDevice::VirtioDevice(VirtioTransport& transport)
    : transport_(transport), id_(transport.id()), features_(transport.offered(0)) {}

bool VirtioDevice::start(std::uint32_t wanted, SplitRing* rings, std::uint32_t queues) {
  rings_ = rings;
  transport_.set_status(0);
  while (transport_.status() != 0) pause();
  transport_.set_status(acknowledge);
  transport_.set_status(acknowledge | driver);
  if ((transport_.offered(1) & 1) == 0) return false;  // VERSION_1 is bit 32
  transport_.accept(0, features_ & wanted);
  transport_.accept(1, 1);
  transport_.set_status(acknowledge | driver | features_ok);
  if ((transport_.status() & features_ok) == 0) return false;
  interrupts_ = transport_.start_interrupts();
  for (std::uint32_t index = 0; index < queues; ++index) {
    if (!start_queue(index)) return false;
  }
  transport_.set_status(acknowledge | driver | features_ok | driver_ok);
  return (transport_.status() & needs_reset) == 0;
}

bool VirtioDevice::start_queue(std::uint32_t index) {
  SplitRing& ring = rings_[index];
  ring = {};
  ring.available.flags = interrupts_ ? std::uint16_t{0} : no_interrupt;
  std::uint32_t most = transport_.select_queue(index);
  if (most == 0) return false;
  sizes_[index] = static_cast<std::uint16_t>(most < SplitRing::most ? most : SplitRing::most);
  seen_[index] = 0;
  return transport_.enable_queue(sizes_[index], ring.table, &ring.available, &ring.used);
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
  transport_.notify(queue);
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
  return interrupts_ && !transport_.took_interrupt() ? -1 : static_cast<std::int64_t>(length);
}

std::int64_t VirtioDevice::request(std::uint32_t queue, const Buffer* buffers, std::uint16_t count) {
  offer(queue, buffers, count);
  return await(queue);
}

std::uint64_t VirtioDevice::config64(std::uint32_t offset) {
  for (;;) {
    std::uint32_t before = transport_.generation();
    std::uint64_t value = transport_.config32(offset) | std::uint64_t{transport_.config32(offset + 4)} << 32;
    if (transport_.generation() == before) return value;
  }
}

void VirtioDevice::stop() {
  transport_.stop();
}

}  // namespace guest

// What a vtable names for what has no body; nothing gets here.
extern "C" [[noreturn]] void __cxa_pure_virtual() {
  guest::halt_forever();
}
