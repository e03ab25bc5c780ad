// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A hostile driver, a device that does whatever it may: the queue keeps its promises. The chains are walked against a
// model that follows the specification word by word.
#include <algorithm>
#include <fuzzer/FuzzedDataProvider.h>
#include <memory>
#include <optional>
#include <vector>

#include <trivet/memory/memory_map.hpp>
#include <trivet/test/require.hpp>
#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/queue.hpp>

namespace {

using namespace trivet;
using namespace trivet::virtio;
using memory::GuestMemory;
using test::require;
using test::require_guest;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t ram_size = 8 * page;
constexpr GuestRange extra{{ram_size}, page};  // adjacent, comes and goes
constexpr std::uint64_t rom = 16 * page;

/// virtio 1.2, 2.7.5, in the plainest way: the buffers, or nothing if a rule is broken.
std::optional<std::vector<Descriptor>> model_walk(const GuestMemory& memory, const QueueConfig& config,
                                                  std::uint16_t head) {
  std::vector<Descriptor> buffers;
  std::uint64_t table = config.descriptor_area.value;
  std::uint64_t entries = config.size;
  std::uint64_t index = head;
  std::uint64_t total = 0;
  bool indirect = false;
  for (;;) {
    if (index >= entries) return std::nullopt;
    const auto raw = memory.read_object<abi::VirtqDesc>({table + 16 * index});
    require(raw.has_value());
    const auto flags = raw->flags.value();
    if ((flags & abi::desc_f_indirect) != 0) {
      const std::uint32_t length = raw->len.value();
      if ((config.features & abi::f_indirect_desc) == 0 || indirect) return std::nullopt;
      if ((flags & abi::desc_f_next) != 0 || length == 0 || length % 16 != 0) return std::nullopt;
      if (length / 16 > abi::max_queue_size) return std::nullopt;
      if (!memory.slice({{raw->addr.value()}, length}, memory::Permission::read)) return std::nullopt;
      table = raw->addr.value();
      entries = length / 16;
      index = 0;
      indirect = true;
      continue;
    }
    const bool writable = (flags & abi::desc_f_write) != 0;
    if (buffers.size() == config.size) return std::nullopt;
    if (!buffers.empty() && buffers.back().writable && !writable) return std::nullopt;
    total += raw->len.value();
    if (total > std::uint64_t{1} << 32) return std::nullopt;
    buffers.push_back({{raw->addr.value()}, raw->len.value(), writable});
    if ((flags & abi::desc_f_next) == 0) return buffers;
    index = raw->next.value();
  }
}

class Machine {
 public:
  explicit Machine(FuzzedDataProvider& data) : input(data) {
    memory::GuestMemory::Regions regions;
    regions.push_back(region(0, ram_size, Access::read_write));
    regions.push_back(region(rom, page, Access::read_only));
    map = std::make_shared<memory::MemoryMap>(*GuestMemory::create(std::move(regions)));
    config.size = static_cast<std::uint16_t>(1U << input.ConsumeIntegralInRange(0U, 4U));
    config.features = std::uint64_t{input.ConsumeIntegral<std::uint8_t>()} << 28;
    config.features &= ~(abi::f_ring_packed | abi::f_in_order);  // packed_ring_fuzz.cpp has those
    config.descriptor_area = {input.ConsumeBool() ? page : page + 16};
    config.driver_area = {2 * page + 2 * input.ConsumeIntegralInRange<std::uint64_t>(0, 3)};
    config.device_area = {input.ConsumeIntegralInRange(0, 15) == 0 ? extra.start.value : 3 * page};
    config.next_available = input.ConsumeIntegral<std::uint16_t>();
    config.next_used = static_cast<std::uint16_t>(config.next_available - input.ConsumeIntegralInRange(0, 2));
    if (input.ConsumeIntegralInRange(0, 15) == 0) break_config();
  }

  void run() {
    auto made = Queue::create(config, map);
    if (!made) return require_guest(made.error());
    queue.emplace(std::move(*made));
    available = config.next_available;
    for (int steps = 0; input.remaining_bytes() != 0 && steps < 200; ++steps) {
      if (input.ConsumeBool()) {
        driver_step();
      } else {
        device_step();
      }
      require(queue->in_flight() <= queue->size());
    }
  }

 private:
  static std::shared_ptr<const memory::Region> region(std::uint64_t at, std::uint64_t size, Access access) {
    return *memory::Region::create({at}, *memory::Mapping::anonymous(size), {access, true});
  }

  void break_config() {
    config.size = input.ConsumeIntegral<std::uint16_t>();
    config.max_size = input.ConsumeIntegral<std::uint16_t>();
    config.descriptor_area = {input.ConsumeIntegral<std::uint64_t>()};
    config.driver_area = {input.ConsumeIntegral<std::uint64_t>()};
    config.device_area = {input.ConsumeIntegralInRange<std::uint64_t>(0, rom + page)};
  }

  std::uint64_t any_address() {
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0:
        return input.ConsumeIntegral<std::uint64_t>();
      case 1:
        return rom + input.ConsumeIntegralInRange<std::uint64_t>(0, 64);
      case 2:
        return ram_size - input.ConsumeIntegralInRange<std::uint64_t>(0, 64);
      default:
        return 4 * page + input.ConsumeIntegralInRange<std::uint64_t>(0, 4 * page);
    }
  }

  void put_descriptor(std::uint64_t at) {
    abi::VirtqDesc raw{};
    raw.addr = any_address();
    raw.len = input.ConsumeIntegralInRange(0, 15) == 0 ? input.ConsumeIntegral<std::uint32_t>()
                                                       : input.ConsumeIntegralInRange<std::uint32_t>(0, 96);
    raw.flags = input.ConsumeIntegralInRange<std::uint16_t>(0, 7);
    raw.next = input.ConsumeIntegralInRange<std::uint16_t>(0, static_cast<std::uint16_t>(config.size + 1U));
    (void)map->snapshot()->write_object({at}, raw);
  }

  void put16(std::uint64_t at, std::uint16_t value) { (void)map->snapshot()->store<std::uint16_t>({at}, value); }

  void driver_step() {
    const auto slot = [&] { return input.ConsumeIntegralInRange<std::uint64_t>(0, config.size - 1U); };
    switch (input.ConsumeIntegralInRange(0, 9)) {
      case 0:
      case 1:
      case 2:
        return put_descriptor(config.descriptor_area.value + 16 * slot());
      case 3:
        return put_descriptor(any_address());
      case 4:
      case 5:
        put16(config.driver_area.value + 4 + 2 * (available % config.size), static_cast<std::uint16_t>(slot()));
        return put16(config.driver_area.value + 2, ++available);
      case 6:
        return put16(config.driver_area.value + 4 + 2 * slot(), input.ConsumeIntegral<std::uint16_t>());
      case 7:
        available = static_cast<std::uint16_t>(available + input.ConsumeIntegralInRange(-2, 20));
        return put16(config.driver_area.value + 2, available);
      case 8:
        return put16(config.driver_area.value + (input.ConsumeBool() ? 0 : 4 + 2U * config.size),
                     input.ConsumeIntegral<std::uint16_t>());
      default:
        if (!map->insert(spare)) require(map->remove(extra).has_value());
    }
  }

  void device_step() {
    switch (input.ConsumeIntegralInRange(0, 8)) {
      case 0:
      case 1:
      case 2:
        return take();
      case 3:
      case 4:
        return give_back();
      case 5:
        queue->publish();
        (void)queue->should_notify();
        return;
      case 6:
        if (input.ConsumeBool()) return queue->disable_kicks();
        (void)queue->enable_kicks();
        return;
      case 7:
        if (queue->go_back()) {
          if (!chains.empty()) chains.pop_back();
        } else {
          require(queue->in_flight() == 0);
        }
        return;
      default:
        if (queue->in_flight() == 0) return restore();
    }
  }

  void restore() {
    const QueueConfig saved = queue->config();
    auto again = Queue::create(saved, map);
    if (!again) return require_guest(again.error());
    chains.clear();
    queue.emplace(std::move(*again));
    require(queue->config() == saved);
  }

  void take() {
    auto popped = queue->pop();
    if (!popped) return require_guest(popped.error());
    if (!*popped) return;
    const Chain chain = **popped;
    require(chain.id() < config.size);
    chains.push_back(chain.id());
    walk(chain);
  }

  void walk(Chain chain) {
    const auto expected = model_walk(chain.memory(), config, chain.id());
    require(Buffers::create(chain).has_value() == expected.has_value());
    std::vector<Descriptor> got;
    for (;;) {
      const auto next = chain.next();
      if (!next) {
        require(!expected);
        return require_guest(next.error());
      }
      if (!*next) break;
      got.push_back(**next);
      require(got.size() <= config.size);
    }
    require(expected && got == *expected);
  }

  void give_back() {
    const std::uint16_t before = queue->in_flight();
    const bool known = !chains.empty() && input.ConsumeIntegralInRange(0, 15) != 0;
    const auto id = known ? chains.back() : input.ConsumeIntegral<std::uint16_t>();
    const auto written = input.ConsumeIntegral<std::uint32_t>();
    const auto pushed = input.ConsumeBool() ? queue->stage_used(id, written) : queue->push_used(id, written);
    if (known) chains.pop_back();
    if (pushed) {
      require(before != 0 && queue->in_flight() == before - 1);
    } else if (pushed.error().blame() == Blame::caller) {
      require(before == 0 || id >= config.size);
    }
  }

  FuzzedDataProvider& input;
  std::shared_ptr<memory::MemoryMap> map;
  std::shared_ptr<const memory::Region> spare = region(extra.start.value, extra.size, Access::read_write);
  QueueConfig config;
  std::optional<Queue> queue;
  std::uint16_t available = 0;
  std::vector<std::uint16_t> chains;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  Machine(input).run();
  return 0;
}
