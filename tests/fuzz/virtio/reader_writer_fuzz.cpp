// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Any chain, direct or indirect, of a split or a packed ring, read and written in any parts, against a model that holds
// each byte by itself; and drivers that change their descriptors meanwhile.
#include <algorithm>
#include <array>
#include <fuzzer/FuzzedDataProvider.h>
#include <optional>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/test/require.hpp>
#include <trivet/virtio/buffers.hpp>

namespace {

using namespace trivet;
using namespace trivet::virtio;
using test::RawDescriptor;
using test::require;
using test::require_guest;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t rings_end = 8 * page;  // below are the ring and its table
constexpr std::uint64_t ram_size = 16 * page;
constexpr GuestRange adjacent{{ram_size}, page};  // a region of its own
constexpr GuestRange rom{{20 * page}, page};
constexpr std::uint64_t end = rom.start.value + page;
constexpr std::uint16_t queue_size = 16;
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 32;  // of a chain

/// The same memory, byte by byte.
struct ModelMemory {
  /// Which region; 0: none.
  static int region(std::uint64_t at) {
    if (at < ram_size) return 1;
    if (adjacent.contains({at})) return 2;
    return rom.contains({at}) ? 3 : 0;
  }
  static bool allows(std::uint64_t at, bool write) {
    const int where = region(at);
    return where != 0 && !(write && where == 3);
  }

  std::vector<std::byte> bytes = std::vector<std::byte>(end);
  std::vector<bool> written = std::vector<bool>(end / page);
};

/// The buffers of one side of a chain as one run of bytes.
struct ModelSide {
  /// Where the byte at `offset` is, which is below `size`. Addresses go round behind the last one.
  struct Place {
    std::size_t buffer;
    std::uint64_t at;
  };
  [[nodiscard]] Place place(std::uint64_t offset) const {
    std::size_t i = 0;
    for (; offset >= buffers[i].length; ++i) offset -= buffers[i].length;
    return {i, buffers[i].address + offset};
  }
  /// How many from `offset` on may be accessed, at most `bytes`.
  [[nodiscard]] std::uint64_t allowed(std::uint64_t offset, std::uint64_t bytes, bool write) const {
    std::uint64_t count = 0;
    while (count < bytes && ModelMemory::allows(place(offset + count).at, write)) ++count;
    return count;
  }
  /// Of bytes that may be accessed.
  [[nodiscard]] std::size_t runs(std::uint64_t offset, std::uint64_t bytes) const {
    std::size_t count = 0;
    for (std::uint64_t i = 0; i < bytes; ++i) {
      const auto here = place(offset + i);
      const auto before = i == 0 ? here : place(offset + i - 1);
      count += i == 0 || here.buffer != before.buffer || ModelMemory::region(here.at) != ModelMemory::region(before.at);
    }
    return count;
  }

  std::vector<RawDescriptor> buffers;
  std::uint64_t size = 0;
};

/// A Reader or a Writer, and the part of its side that it has.
template <class Access>
struct Part {
  Access access;
  std::uint64_t at;
  std::uint64_t end;

  [[nodiscard]] std::uint64_t left() const { return end - at; }
};

class Exchange {
 public:
  explicit Exchange(FuzzedDataProvider& data) : input(data) {
    for (const auto& [range, access] : {std::pair{adjacent, Access::read_write}, std::pair{rom, Access::read_only}}) {
      auto region = *memory::Region::create(range.start, *memory::Mapping::anonymous(range.size), {access, true});
      require(guest.map()->insert(std::move(region)).has_value());
    }
    for_pages([](std::uint64_t at, std::byte* host, const memory::Region&) {
      for (std::uint64_t i = 0; at >= rings_end && i < page; ++i) host[i] = static_cast<std::byte>((at + i) * 7 / 3);
    });
    make_chain();
    for_pages([&](std::uint64_t at, const std::byte* host, const memory::Region& region) {
      std::copy_n(host, page, model.bytes.begin() + static_cast<std::ptrdiff_t>(at));
      region.dirty()->clear();
    });
  }

  void run() {
    auto queue = Queue::create(driver.config(), guest.map());
    require(queue.has_value());
    auto popped = queue->pop();
    require(popped.has_value() && popped->has_value());
    auto buffers = Buffers::create(**popped);
    require(buffers.has_value() == follows_rules);
    require(Reader::create(**popped).has_value() == follows_rules);
    require(Writer::create(**popped).has_value() == follows_rules);
    if (!buffers) return require_guest(buffers.error());
    readers.push_back({buffers->reader, 0, readable.size});
    writers.push_back({buffers->writer, 0, writable.size});
    for (int steps = 0; input.remaining_bytes() != 0 && steps < 100; ++steps) step();
    if (!changed) check_memory();
  }

 private:
  /// Calls `act(address, host address, region)` for each page of memory.
  template <class Act>
  void for_pages(Act act) {
    const auto snapshot = guest.map()->snapshot();
    for (const auto& region : snapshot->regions()) {
      const auto& range = region->range();
      for (std::uint64_t i = 0; i < range.size; i += page) act(range.start.value + i, region->host() + i, *region);
    }
  }

  std::uint64_t any_address() {
    const auto near = [&] { return input.ConsumeIntegralInRange<std::uint64_t>(0, 128) - 64; };
    switch (input.ConsumeIntegralInRange(0, 9)) {
      case 0:
        return input.ConsumeIntegral<std::uint64_t>();
      case 1:
        return ram_size + near();
      case 2:
        return adjacent.start.value + page + near();
      case 3:
        return rom.start.value + page / 2 + near();
      case 4:
        return near();  // about the first address and the last one
      default:
        return rings_end + page + input.ConsumeIntegralInRange<std::uint64_t>(0, 6 * page);
    }
  }

  /// Buffers at will; a rule of the specification is broken now and then.
  void make_chain() {
    const auto count = input.ConsumeIntegralInRange<std::size_t>(1, queue_size + 2);
    const bool sorted = input.ConsumeIntegralInRange(0, 15) != 0;
    const bool table = count > queue_size || input.ConsumeBool();
    std::vector<RawDescriptor> buffers(count);
    for (auto& buffer : buffers) {
      buffer.address = any_address();
      buffer.length = input.ConsumeIntegralInRange(0, 31) == 0 ? input.ConsumeIntegral<std::uint32_t>()
                                                               : input.ConsumeIntegralInRange<std::uint32_t>(0, 150);
      buffer.flags = input.ConsumeBool() ? abi::desc_f_write : std::uint16_t{0};
      if (buffer.flags == 0) continue;
      // A write must not change the chain itself, which is another step: it begins above, and where it goes on at
      // address 0 it ends before the ring, which leaves the first page free.
      if (buffer.address < rings_end) buffer.address += rings_end;
      buffer.length = static_cast<std::uint32_t>(std::min<std::uint64_t>(buffer.length, page - buffer.address));
    }
    const auto is_writable = [](const RawDescriptor& buffer) { return (buffer.flags & abi::desc_f_write) != 0; };
    if (sorted) std::stable_partition(buffers.begin(), buffers.end(), [&](const auto& b) { return !is_writable(b); });
    for (std::size_t i = 0; i < count; ++i) {
      auto& side = is_writable(buffers[i]) ? writable : readable;
      side.buffers.push_back(buffers[i]);
      side.size += buffers[i].length;
      buffers[i].next = static_cast<std::uint16_t>(i + 1);
      if (i + 1 != count && !(table && driver.packed())) buffers[i].flags |= abi::desc_f_next;
    }
    follows_rules = count <= queue_size && readable.size + writable.size <= most_bytes &&
                    std::is_partitioned(buffers.begin(), buffers.end(), [&](const auto& b) { return !is_writable(b); });
    if (table) {
      descriptors = driver.place_table(buffers);
      entries = count;
      driver.offer({{descriptors.value, static_cast<std::uint32_t>(16 * count), abi::desc_f_indirect, 0}});
    } else {
      descriptors = driver.config().descriptor_area;
      entries = queue_size;
      driver.offer(buffers);
    }
  }

  void step() {
    switch (input.ConsumeIntegralInRange(0, 12)) {
      case 0:
      case 1:
        return with(readers, [&](auto& part) { return read(part); });
      case 2:
        return with(readers, [&](auto& part) { return read_object(part); });
      case 3:
        return with(readers, [&](auto& part) { return skip(part); });
      case 4:
        return with(readers, [&](auto& part) { return take(readers, part); });
      case 5:
        return with(readers, [&](auto& part) { return slices(part, readable, false); });
      case 6:
      case 7:
        return with(writers, [&](auto& part) { return write(part); });
      case 8:
        return with(writers, [&](auto& part) { return skip(part); });
      case 9:
        return with(writers, [&](auto& part) { return take(writers, part); });
      case 10:
        return with(writers, [&](auto& part) { return slices(part, writable, true); });
      case 11:
        return with(writers, [&](auto& part) { return take_last(part); });
      default:
        if (input.ConsumeIntegralInRange(0, 7) == 0) change_chain();
    }
  }

  /// Does that with one of them; where an access failed nobody knows how far it came, and the part is gone.
  template <class Parts, class Act>
  void with(Parts& parts, Act act) {
    if (parts.empty()) return;
    const auto which = input.ConsumeIntegralInRange<std::size_t>(0, parts.size() - 1);
    auto part = parts[which];
    const bool goes_on = act(part);
    if (!goes_on) {
      parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(which));
      return;
    }
    require(part.access.left() == part.left());
    parts[which] = part;
  }

  /// What was done must have succeeded just when the model says; with a chain that changes it may fail at any time.
  template <class Outcome>
  bool agree(const Outcome& outcome, bool expected) {
    if (!outcome) require_guest(outcome.error());
    require(outcome.has_value() == expected || (changed && !outcome));
    return outcome.has_value();
  }

  std::uint64_t some() { return input.ConsumeIntegralInRange<std::uint64_t>(0, 400); }
  /// Few bytes, or about as many as there are.
  std::uint64_t some_of(std::uint64_t left) {
    return input.ConsumeBool() ? some() : left - input.ConsumeIntegralInRange<std::uint64_t>(0, 20) + 2;
  }
  bool may(const ModelSide& side, std::uint64_t at, std::uint64_t bytes, std::uint64_t left, bool write) const {
    return bytes <= left && (changed || side.allowed(at, bytes, write) == bytes);
  }
  void expect(const ModelSide& side, std::uint64_t at, ConstBytes got) const {
    if (changed) return;
    for (std::size_t i = 0; i < got.size(); ++i) require(got[i] == model.bytes[side.place(at + i).at]);
  }
  void record(std::uint64_t at, ConstBytes in) {
    if (changed) return;
    for (std::size_t i = 0; i < in.size(); ++i) {
      const auto where = writable.place(at + i).at;
      model.bytes[where] = in[i];
      model.written[where / page] = true;
    }
  }

  bool read(Part<Reader>& part) {
    std::vector<std::byte> out(some());
    const bool expected = may(readable, part.at, out.size(), part.left(), false);
    if (!agree(part.access.read(out), expected)) return false;
    expect(readable, part.at, out);
    part.at += out.size();
    return true;
  }
  bool read_object(Part<Reader>& part) {
    using Object = std::array<std::byte, 16>;
    const auto object = part.access.read_object<Object>();
    if (!agree(object, may(readable, part.at, sizeof(Object), part.left(), false))) return false;
    expect(readable, part.at, *object);
    part.at += sizeof(Object);
    return true;
  }

  template <class Access>
  bool skip(Part<Access>& part) {
    const auto bytes = some_of(part.left());
    if (!agree(part.access.skip(bytes), bytes <= part.left())) return false;
    part.at += bytes;
    return true;
  }

  template <class Access>
  bool take(std::vector<Part<Access>>& parts, Part<Access>& part) {
    const auto bytes = some_of(part.left());
    auto front = part.access.take(bytes);
    if (!agree(front, bytes <= part.left())) return false;
    require(front->left() == bytes);
    if (parts.size() < 4) parts.push_back({*front, part.at, part.at + bytes});
    part.at += bytes;
    return true;
  }

  template <class Access>
  bool slices(Part<Access>& part, const ModelSide& side, bool write) {
    const auto bytes = some();
    std::array<memory::Slice, 8> room;
    const auto out = std::span(room).first(input.ConsumeIntegralInRange<std::size_t>(0, room.size()));
    // It ends at the first of these: a byte that may not be accessed, no room left.
    const auto prefix = bytes <= part.left() && !changed ? side.allowed(part.at, bytes, write) : 0;
    const auto runs = side.runs(part.at, prefix);
    const bool fits = runs < out.size() || (runs == out.size() && prefix == bytes);
    const auto count = part.access.slices(bytes, out);
    require(part.access.left() == part.left() - (count ? bytes : 0));
    if (!count && count.error().code() == Errc::limit) {
      require(changed || (bytes <= part.left() && !fits));
      return true;
    }
    if (!agree(count, changed || (prefix == bytes && fits))) return false;
    for (const auto& run : out.first(*count)) {
      require(run.size() != 0 && part.left() >= run.size());
      require_inside(run);
      std::vector<std::byte> content(run.size());
      run.read(0, content);
      expect(side, part.at, content);
      if (write) {
        std::fill(content.begin(), content.end(), static_cast<std::byte>(bytes));
        std::copy(content.begin(), content.end(), run.host());
        run.mark_written(0, run.size());
        record(part.at, content);
      }
      part.at += run.size();
    }
    return true;
  }

  bool write(Part<Writer>& part) {
    std::vector<std::byte> in(some(), static_cast<std::byte>(input.ConsumeIntegral<std::uint8_t>()));
    const bool expected = may(writable, part.at, in.size(), part.left(), true);
    const auto before = part.access.written();
    const bool wrote = agree(
        input.ConsumeBool() ? part.access.write(in) : part.access.fill(in.size(), in.empty() ? std::byte{} : in[0]),
        expected);
    // Also where it fails the count is what the driver must not trust any more.
    const auto done = part.access.written() - before;
    require(wrote ? done == in.size() : done <= in.size());
    record(part.at, std::span(in).first(done));
    part.at += done;
    return wrote;
  }

  bool take_last(Part<Writer>& part) {
    const auto bytes = input.ConsumeIntegralInRange<std::uint32_t>(1, 20);
    const auto before = part.access.left();
    const auto last = part.access.take_last(bytes);
    const auto at = part.end - bytes;
    const bool expected = may(writable, at, bytes, part.left(), true) && (changed || writable.runs(at, bytes) == 1);
    if (!last) require(part.access.left() == before);
    if (!agree(last, expected)) return !changed;
    require(last->size() == bytes);
    require_inside(*last);
    const std::vector<std::byte> status(bytes, std::byte{0xa5});
    last->write(0, status);
    record(at, status);
    part.end = at;
    return true;
  }

  /// The driver writes another descriptor while the device is at work.
  void change_chain() {
    changed = true;
    const std::uint64_t at = descriptors.value + 16 * input.ConsumeIntegralInRange<std::uint64_t>(0, entries - 1);
    const auto memory = guest.map()->snapshot();
    (void)memory->store<std::uint64_t>({at}, any_address());
    (void)memory->store<std::uint64_t>({at + 8}, input.ConsumeIntegral<std::uint64_t>());
  }

  void require_inside(const memory::Slice& run) {
    const auto snapshot = guest.map()->snapshot();
    const auto& regions = snapshot->regions();
    require(std::any_of(regions.begin(), regions.end(), [&](const auto& region) {
      return run.host() >= region->host() && run.host() + run.size() <= region->host() + region->range().size;
    }));
  }

  /// Nothing else was written, and the pages that were are marked.
  void check_memory() {
    for_pages([&](std::uint64_t at, const std::byte* host, const memory::Region& region) {
      require(std::equal(host, host + page, model.bytes.begin() + static_cast<std::ptrdiff_t>(at)));
      require(!model.written[at / page] || region.dirty()->is_dirty((at - region.range().start.value) / page));
    });
  }

  FuzzedDataProvider& input;
  test::TestGuest guest{ram_size, {0}, true};
  test::Driver driver{guest, queue_size,
                      input.ConsumeBool() ? test::Driver::packed_features : test::Driver::all_features};
  ModelMemory model;
  ModelSide readable;
  ModelSide writable;
  bool follows_rules = true;
  bool changed = false;
  GuestAddress descriptors;  // of the chain
  std::uint64_t entries = 0;
  std::vector<Part<Reader>> readers;
  std::vector<Part<Writer>> writers;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  Exchange(input).run();
  return 0;
}
