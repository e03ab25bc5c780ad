// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A hostile driver of a packed ring, or of any ring in order, and a device that does whatever it may: the queue keeps
// its promises. The chains of a packed ring are held against a model that reads the ring at the pop, word by word as
// the specification says (virtio 1.2, 2.8).
#include <algorithm>
#include <fuzzer/FuzzedDataProvider.h>
#include <memory>
#include <optional>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/memory/region.hpp>
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
constexpr GuestRange extra{{ram_size}, page};  // comes and goes

/// One chain of the ring, as it stands there.
struct ModelChain {
  std::vector<abi::PvirtqDesc> descriptors;
  bool fits = true;  // into what is free
};

class Machine {
 public:
  explicit Machine(FuzzedDataProvider& data) : input(data) {
    map = std::make_shared<memory::MemoryMap>(*GuestMemory::create({region(0, ram_size)}));
    packed = input.ConsumeIntegralInRange(0, 7) != 0;
    config.features = std::uint64_t{input.ConsumeIntegral<std::uint8_t>()} << 28;
    config.features |= packed ? abi::f_ring_packed : abi::f_in_order;
    if (!packed) config.features &= ~abi::f_ring_packed;
    config.size = packed ? input.ConsumeIntegralInRange<std::uint16_t>(1, 19)
                         : static_cast<std::uint16_t>(1U << input.ConsumeIntegralInRange(0U, 4U));
    config.descriptor_area = {page};
    config.driver_area = {2 * page};
    config.device_area = {input.ConsumeIntegralInRange(0, 15) == 0 ? extra.start.value : 3 * page};
    const auto offset = input.ConsumeIntegralInRange<std::uint16_t>(0, static_cast<std::uint16_t>(config.size - 1U));
    const bool wrap = input.ConsumeBool();
    place = static_cast<std::uint16_t>(offset | (wrap ? abi::packed_wrap : 0));
    config.next_available = config.next_used = place;
    if (config.device_area == extra.start) require(map->insert(spare).has_value());
    if (packed) {
      make_all_used();
    } else {
      put16(config.driver_area.value + 2, made_available = place);
    }
  }

  void run() {
    auto made = Queue::create(config, map);
    if (!made) return require_guest(made.error());
    queue.emplace(std::move(*made));
    for (int steps = 0; input.remaining_bytes() != 0 && steps < 200; ++steps) {
      input.ConsumeBool() ? driver_step() : device_step();
      require(queue->in_flight() == held.size());
    }
  }

 private:
  static std::shared_ptr<const memory::Region> region(std::uint64_t at, std::uint64_t size) {
    return *memory::Region::create({at}, *memory::Mapping::anonymous(size), {Access::read_write, true});
  }
  [[nodiscard]] std::uint64_t descriptor_at(std::uint16_t at) const {
    return config.descriptor_area.value + 16 * (at & 0x7fffU);
  }
  void put16(std::uint64_t at, std::uint16_t value) { (void)map->snapshot()->store<std::uint16_t>({at}, value); }

  /// As the round before left them.
  void make_all_used() {
    auto at = place;
    for (std::uint16_t i = 0; i < config.size; ++i, at = abi::packed_after(at, 1, config.size)) {
      put16(descriptor_at(at) + 14,
            (at & abi::packed_wrap) != 0 ? 0 : abi::packed_desc_f_avail | abi::packed_desc_f_used);
    }
  }

  std::uint64_t any_address() {
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0:
        return input.ConsumeIntegral<std::uint64_t>();
      case 1:
        return ram_size - input.ConsumeIntegralInRange<std::uint64_t>(0, 64);
      default:
        return 4 * page + input.ConsumeIntegralInRange<std::uint64_t>(0, 4 * page);
    }
  }

  /// A descriptor with some flags besides `mark`.
  void put_descriptor(std::uint64_t at, std::uint16_t mark) {
    const auto flags = static_cast<std::uint16_t>(input.ConsumeIntegralInRange(0, 7) | mark);
    const std::uint32_t length = input.ConsumeIntegralInRange(0, 15) == 0
                                     ? input.ConsumeIntegral<std::uint32_t>()
                                     : input.ConsumeIntegralInRange<std::uint32_t>(0, 96);
    const auto number = input.ConsumeIntegralInRange<std::uint16_t>(0, static_cast<std::uint16_t>(config.size + 1U));
    const std::uint64_t address = any_address();
    const auto snapshot = map->snapshot();
    (void)snapshot->store<std::uint64_t>({at}, address);
    const std::uint64_t split = length | std::uint64_t{flags} << 32 | std::uint64_t{number} << 48;
    const std::uint64_t other = length | std::uint64_t{number} << 32 | std::uint64_t{flags} << 48;
    (void)snapshot->store<std::uint64_t>({at + 8}, packed ? other : split);
  }

  void driver_step() {
    const auto slot = [&] {
      return input.ConsumeIntegralInRange<std::uint16_t>(0, static_cast<std::uint16_t>(config.size - 1U));
    };
    switch (input.ConsumeIntegralInRange(0, 7)) {
      case 0:
      case 1:
      case 2: {
        if (!packed) {
          put_descriptor(descriptor_at(slot()), 0);
          put16(config.driver_area.value + 4 + 2U * (made_available % config.size), slot());
          return put16(config.driver_area.value + 2, ++made_available);
        }
        put_descriptor(descriptor_at(place),
                       (place & abi::packed_wrap) != 0 ? abi::packed_desc_f_avail : abi::packed_desc_f_used);
        place = abi::packed_after(place, 1, config.size);
        return;
      }
      case 3:
        return put_descriptor(any_address() & ~std::uint64_t{7}, 0);
      case 4:
        return put_descriptor(descriptor_at(slot()), input.ConsumeIntegral<std::uint16_t>());
      case 5:
        return put16(config.driver_area.value + 2U * input.ConsumeIntegralInRange(0U, 3U),
                     input.ConsumeIntegral<std::uint16_t>());
      case 6:
        return put16(config.device_area.value + 2U * input.ConsumeIntegralInRange(0U, 1U),
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
        staged = 0;
        (void)queue->should_notify();
        return;
      case 6:
        if (input.ConsumeBool()) return queue->disable_kicks();
        (void)queue->enable_kicks();
        return;
      case 7:
        return go_back();
      default:
        if (queue->in_flight() == 0) return restore();
    }
  }

  void go_back() {
    if (queue->go_back()) {
      // Only what was popped last goes back, and only if it is in flight still.
      require(!held.empty() && held.back().popped == pops);
      in_ring -= held.back().descriptors;
      held.pop_back();
      --pops;
    } else {
      require(held.empty() || held.back().popped != pops);
    }
  }

  void restore() {
    queue->publish();
    staged = 0;
    const QueueConfig saved = queue->config();
    require(saved.next_available == saved.next_used);
    auto again = Queue::create(saved, map);
    if (!again) return require_guest(again.error());
    queue.emplace(std::move(*again));
    require(queue->config() == saved);
    pops = 0;
  }

  /// What stands at the place that the queue pops next; nothing if that is not available.
  std::optional<ModelChain> model() {
    auto at = queue->config().next_available;
    ModelChain chain;
    const auto snapshot = map->snapshot();
    const std::uint32_t room = config.size - in_ring - staged;
    for (;;) {
      const auto raw = *snapshot->read_object<abi::PvirtqDesc>({descriptor_at(at)});
      const std::uint16_t flags = raw.flags.value();
      const bool available = ((flags & abi::packed_desc_f_avail) != 0) != ((flags & abi::packed_desc_f_used) != 0);
      const bool of_this_round = ((flags & abi::packed_desc_f_avail) != 0) == ((at & abi::packed_wrap) != 0);
      if (chain.descriptors.empty() && !(available && of_this_round)) return std::nullopt;
      chain.descriptors.push_back(raw);
      chain.fits = chain.descriptors.size() <= room;
      if (!chain.fits || (flags & abi::desc_f_next) == 0) return chain;
      at = abi::packed_after(at, 1, config.size);
    }
  }

  void take() {
    std::optional<ModelChain> expected;
    if (packed) expected = model();
    auto popped = queue->pop();
    if (!popped) {
      require(!packed || (expected && !expected->fits) || popped.error().code() == Errc::out_of_range);
      return require_guest(popped.error());
    }
    if (packed) require(expected.has_value() == popped->has_value());
    if (!*popped) return;
    const Chain chain = **popped;
    require(chain.id() < config.size);
    require(std::none_of(held.begin(), held.end(), [&](const Held& other) { return other.id == chain.id(); }));
    const auto descriptors = expected ? expected->descriptors.size() : 0;
    held.push_back({chain.id(), ++pops, static_cast<std::uint32_t>(descriptors)});
    in_ring += static_cast<std::uint32_t>(descriptors);
    if (expected) compare(chain, *expected);
    use(chain);
  }

  /// Without a table, the walk gives what stood in the ring, up to the first broken rule.
  static void compare(Chain chain, const ModelChain& expected) {
    for (const auto& raw : expected.descriptors) {
      if ((raw.flags.value() & abi::desc_f_indirect) != 0) return;
      const auto next = chain.next();
      if (!next) return require_guest(next.error());
      require(next->has_value());
      const bool writable = (raw.flags.value() & abi::desc_f_write) != 0;
      require(**next == Descriptor{{raw.addr.value()}, raw.len.value(), writable});
    }
    const auto end = chain.next();
    require(end && !*end);
  }

  void use(const Chain& chain) {
    auto buffers = Buffers::create(chain);
    if (!buffers) return require_guest(buffers.error());
    std::array<std::byte, 64> bytes{};
    const auto part = std::span(bytes).first(std::min<std::uint64_t>(bytes.size(), buffers->reader.left()));
    if (auto read = buffers->reader.read(part); !read) require_guest(read.error());
    const auto room = std::min<std::uint64_t>(32, buffers->writer.left());
    if (auto wrote = buffers->writer.fill(room, std::byte{0x5a}); !wrote) require_guest(wrote.error());
  }

  void give_back() {
    const bool known = !held.empty() && input.ConsumeIntegralInRange(0, 15) != 0;
    const auto which = known ? input.ConsumeIntegralInRange<std::size_t>(0, held.size() - 1) : 0;
    const auto id = known ? held[which].id : input.ConsumeIntegral<std::uint16_t>();
    const auto found = std::find_if(held.begin(), held.end(), [&](const Held& it) { return it.id == id; });
    const bool at_once = input.ConsumeBool();
    const auto written = input.ConsumeIntegral<std::uint32_t>();
    const auto pushed = at_once ? queue->push_used(id, written) : queue->stage_used(id, written);
    if (!pushed) {
      if (pushed.error().blame() == Blame::guest) return;  // the ring's memory is gone
      return require(found == held.end() && pushed.error().blame() == Blame::caller);
    }
    require(found != held.end());
    // In order what is pushed may have to wait; then it keeps its place in the ring.
    if ((config.features & abi::f_in_order) == 0) {
      in_ring -= found->descriptors;
      staged = at_once ? 0 : staged + found->descriptors;
      held.erase(found);
      return;
    }
    waiting.push_back(*found);
    held.erase(found);
    for (;;) {
      const auto oldest = std::min_element(waiting.begin(), waiting.end(), earlier);
      if (oldest == waiting.end() ||
          std::any_of(held.begin(), held.end(), [&](const Held& it) { return it.popped < oldest->popped; })) {
        break;
      }
      in_ring -= oldest->descriptors;
      staged += oldest->descriptors;
      waiting.erase(oldest);
    }
    if (at_once) staged = 0;
  }

  struct Held {
    std::uint16_t id;
    std::uint64_t popped;
    std::uint32_t descriptors;
  };
  static bool earlier(const Held& a, const Held& b) { return a.popped < b.popped; }

  FuzzedDataProvider& input;
  std::shared_ptr<memory::MemoryMap> map;
  std::shared_ptr<const memory::Region> spare = region(extra.start.value, extra.size);
  QueueConfig config;
  std::optional<Queue> queue;
  bool packed = true;
  std::uint16_t place = 0;  // the driver's next
  std::uint16_t made_available = 0;
  std::vector<Held> held;     // by the device
  std::vector<Held> waiting;  // in order: pushed, behind others
  std::uint64_t pops = 0;
  std::uint32_t in_ring = 0;  // descriptors popped and not handed over
  std::uint32_t staged = 0;   // handed over and not published
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  Machine(input).run();
  return 0;
}
