// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Rings, split and packed, and buffers in another domain's memory, whose driver breaks every rule: in its frames, in
// pages that it granted, mapped at once and on demand. With fakes, and with real frames and grants in the Xen testbed.
#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <trivet/memory/memory_map.hpp>
#include <trivet/test/other_domain.hpp>
#include <trivet/virtio/abi/packed_ring.hpp>
#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {
namespace {

using memory::DomainPages;
using memory::Region;
using memory::store_at;
using test::OtherDomain;
using testing::HasSubstr;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t base = std::uint64_t{1} << 63;
constexpr std::uint16_t size = 16;
// Which page is what; a packed ring has what both sides want to be told in the second and third. Buffers come after;
// the last page is in no region.
constexpr std::uint32_t table = 0;
constexpr std::uint32_t available = 1;
constexpr std::uint32_t used = 2;
constexpr std::uint32_t buffer = 3;
constexpr std::uint32_t last = OtherDomain::pages - 1;

struct Source {
  const char* name;
  std::shared_ptr<OtherDomain> (*make)(std::string& why);
  bool grants;
  bool on_demand;
  bool packed = false;
};

class HostileRing : public testing::TestWithParam<Source> {
 protected:
  void SetUp() override {
    if (!memory::maps_on_demand) GTEST_SKIP() << "the mmap build maps no other domain's pages";
    std::string why;
    domain = GetParam().make(why);
    // In the Xen testbed, where the variable is set, nothing may be missing.
    if (!domain && std::getenv("TRIVET_TEST_DOMAIN") != nullptr) FAIL() << why;
    if (!domain) GTEST_SKIP() << why;
    for (std::uint32_t number = 0; number < OtherDomain::pages; ++number) {
      if (auto* own = domain->own(number); own != nullptr) std::fill_n(own, page, std::byte{0});
    }
    map = std::make_shared<memory::MemoryMap>();
    if (GetParam().on_demand || !GetParam().grants) {
      insert(0, last);
    } else {  // what can be mapped at once
      insert(0, OtherDomain::missing);
      insert(OtherDomain::missing + 1, OtherDomain::read_only - OtherDomain::missing - 1);
      insert(OtherDomain::read_only, 1, Access::read_only);
      insert(OtherDomain::read_only + 1, last - OtherDomain::read_only - 1);
    }
  }
  void insert(std::uint32_t from, std::uint32_t count, Access access = Access::read_write) {
    const DomainPages pages{domain->mapper, domain->first + from, GetParam().on_demand};
    auto region = Region::create({address(from)}, count * page, pages, {access, false});
    ASSERT_TRUE(region) << to_string(region.error());
    ASSERT_TRUE(map->insert(*region));
  }

  static std::uint64_t address(std::uint32_t number, std::uint64_t offset = 0) { return base + number * page + offset; }
  [[nodiscard]] QueueConfig config() const {
    QueueConfig config;
    config.size = size;
    config.descriptor_area = {address(table)};
    config.driver_area = {address(available)};
    config.device_area = {address(used)};
    config.features = abi::f_indirect_desc | abi::f_event_idx;
    if (GetParam().packed) {
      config.features |= abi::f_ring_packed;
      config.next_available = config.next_used = QueueConfig::first_index(config.features);
    }
    return config;
  }
  Queue make_queue() { return *Queue::create(config(), map); }

  void describe(unsigned index, std::uint64_t at, std::uint32_t length, std::uint16_t flags = 0,
                std::uint16_t next = 0) const {
    std::byte* const entry = domain->own(table) + 16 * index;
    store_at<std::uint64_t>(entry, at);
    store_at<std::uint64_t>(entry + 8, length | std::uint64_t{flags} << 32 | std::uint64_t{next} << 48);
  }
  /// A chain of one buffer, or with NEXT the first part of one, available.
  void offer(std::uint64_t at, std::uint32_t length, std::uint16_t flags = 0) {
    if (!GetParam().packed) {
      describe(0, at, length, flags);
      return make_available(0);
    }
    const bool wrap = made / size % 2 == 0;
    put_packed(made % size, at, length,
               static_cast<std::uint16_t>(flags | (wrap ? abi::packed_desc_f_avail : abi::packed_desc_f_used)));
    ++made;
  }
  void put_packed(unsigned place, std::uint64_t at, std::uint32_t length, std::uint16_t flags) const {
    std::byte* const entry = domain->own(table) + 16 * place;
    store_at<std::uint64_t>(entry, at);
    store_at<std::uint32_t>(entry + 8, length);
    store_at<std::uint16_t>(entry + 12, static_cast<std::uint16_t>(place));
    store_at<std::uint16_t>(entry + 14, flags, std::memory_order_release);
  }
  void make_available(std::uint16_t head) {
    store_at<std::uint16_t>(domain->own(available) + 4 + 2 * (made % size), head);
    store_at<std::uint16_t>(domain->own(available) + 2, ++made, std::memory_order_release);
  }

  /// What reading, then writing all of a chain gives.
  static Result<void> use(const Chain& chain) {
    TRIVET_ASSIGN(auto buffers, Buffers::create(chain));
    std::array<std::byte, 64> bytes{};
    while (buffers.reader.left() > 0) {
      const auto part = std::min<std::uint64_t>(bytes.size(), buffers.reader.left());
      TRIVET_TRY(buffers.reader.read(std::span(bytes).first(part)));
    }
    return buffers.writer.fill(buffers.writer.left(), std::byte{0xa5});
  }
  /// A chain of one buffer, used and pushed.
  Result<void> use_one(Queue& queue, std::uint64_t at, std::uint32_t length, std::uint16_t flags = 0) {
    offer(at, length, flags);
    TRIVET_ASSIGN(const auto chain, queue.pop());
    if (!chain) return Error(Errc::io, "pop", "nothing came");
    const auto done = use(*chain);
    TRIVET_TRY(queue.push_used(chain->id(), 0));
    return done;
  }
  static void expect_guests_fault(const Result<void>& result, Errc code) {
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().blame(), Blame::guest) << to_string(result.error());
    EXPECT_EQ(result.error().code(), code) << to_string(result.error());
  }
  /// The memory that is no region's is as it was, and the queue serves an honest chain.
  void expect_unharmed(Queue& queue) {
    const auto done = use_one(queue, address(buffer), 100, abi::desc_f_write);
    EXPECT_TRUE(done) << to_string(done.error());
    EXPECT_EQ(domain->own(buffer)[99], std::byte{0xa5});
    expect_canary();
  }
  void expect_canary() {
    EXPECT_TRUE(
        std::all_of(domain->own(last), domain->own(last) + page, [](std::byte b) { return b == std::byte{0}; }));
  }

  std::shared_ptr<OtherDomain> domain;
  std::shared_ptr<memory::MemoryMap> map;
  std::uint16_t made = 0;
};

/// What a driver can do with a ring of the one kind only.
class HostileSplitRing : public HostileRing {};
class HostilePackedRing : public HostileRing {};

std::vector<Source> sources(bool packed) {
  std::vector<Source> all{
      {"fake_frames", test::fake_frames, false, false},           {"fake_grants", test::fake_domain, true, false},
      {"fake_on_demand", test::fake_domain, true, true},          {"gntalloc", test::allocated_grants, true, false},
      {"gntalloc_on_demand", test::allocated_grants, true, true}, {"guest_frames", test::foreign_frames, false, false},
      {"guest_grants", test::seeded_grants, true, false},         {"guest_on_demand", test::seeded_grants, true, true}};
  for (auto& source : all) source.packed = packed;
  return all;
}
std::string name_of(const testing::TestParamInfo<Source>& source) {
  return source.param.name;
}
INSTANTIATE_TEST_SUITE_P(Pages, HostileRing, testing::ValuesIn(sources(false)), name_of);
INSTANTIATE_TEST_SUITE_P(PackedPages, HostileRing, testing::ValuesIn(sources(true)), name_of);
INSTANTIATE_TEST_SUITE_P(Pages, HostileSplitRing, testing::ValuesIn(sources(false)), name_of);
INSTANTIATE_TEST_SUITE_P(PackedPages, HostilePackedRing, testing::ValuesIn(sources(true)), name_of);

TEST_P(HostileSplitRing, IndicesThatJumpAreRefusedUntilTheyAreSane) {
  auto queue = make_queue();
  expect_unharmed(queue);
  for (const std::uint16_t jump : {std::uint16_t{size + 1}, std::uint16_t{0x8000}, std::uint16_t{0xffff}}) {
    store_at<std::uint16_t>(domain->own(available) + 2, static_cast<std::uint16_t>(made + jump));
    for (int again = 0; again < 2; ++again) {
      const auto popped = queue.pop();
      ASSERT_FALSE(popped) << jump;
      EXPECT_EQ(popped.error().code(), Errc::malformed);
      EXPECT_EQ(popped.error().blame(), Blame::guest);
    }
    store_at<std::uint16_t>(domain->own(available) + 2, made);
    EXPECT_EQ(queue.in_flight(), 0);
  }
  // The used index is the device's: what the driver writes there changes nothing of it.
  store_at<std::uint16_t>(domain->own(used) + 2, 0x1234);
  expect_unharmed(queue);
  EXPECT_EQ(memory::load_at<std::uint16_t>(domain->own(used) + 2), made);
}

TEST_P(HostileSplitRing, HeadsAndChainsBeyondTheTableAreRefused) {
  auto queue = make_queue();
  make_available(size);
  const auto head = queue.pop();
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().blame(), Blame::guest);
  store_at<std::uint16_t>(domain->own(available) + 4, 0);  // the driver's second thought
  describe(0, address(buffer), 16, abi::desc_f_next, 0x7fff);
  auto chain = queue.pop();
  ASSERT_TRUE(chain && *chain);
  expect_guests_fault(use(**chain), Errc::malformed);
  describe(0, address(buffer), 16, abi::desc_f_next, 0);
  expect_guests_fault(use(**chain), Errc::malformed);  // endless
  ASSERT_TRUE(queue.push_used(0, 0));
  expect_unharmed(queue);
}

TEST_P(HostilePackedRing, AChainWithoutEndIsRefusedUntilItIsSane) {
  auto queue = make_queue();
  expect_unharmed(queue);
  for (unsigned place = 0; place < size; ++place) offer(address(buffer), 16, abi::desc_f_next);
  for (int again = 0; again < 2; ++again) {
    const auto popped = queue.pop();
    ASSERT_FALSE(popped);
    EXPECT_EQ(popped.error().blame(), Blame::guest);
    EXPECT_EQ(queue.in_flight(), 0);
  }
  put_packed(1, address(buffer), 16, abi::packed_desc_f_avail);  // the driver's second thought
  const auto popped = queue.pop();
  ASSERT_TRUE(popped && *popped);
  const auto done = use(**popped);
  EXPECT_TRUE(done) << to_string(done.error());
  expect_canary();
}

TEST_P(HostilePackedRing, WhatIsSaidToBeUsedAlreadyDoesNotCome) {
  auto queue = make_queue();
  for (unsigned place = 0; place < size; ++place) {
    put_packed(place, address(last), 16, abi::packed_desc_f_avail | abi::packed_desc_f_used);
  }
  const auto popped = queue.pop();
  EXPECT_TRUE(popped && !*popped);
  expect_unharmed(queue);
}

TEST_P(HostileRing, BuffersOutOfTheGuestAreRefused) {
  auto queue = make_queue();
  for (const std::uint16_t flags : {std::uint16_t{0}, abi::desc_f_write}) {
    for (const std::uint64_t at : {std::uint64_t{0}, base - 1, address(last), address(last, 5), ~std::uint64_t{0}}) {
      expect_guests_fault(use_one(queue, at, 64, flags), Errc::out_of_range);
    }
    expect_guests_fault(use_one(queue, address(last, 0) - 8, 64, flags), Errc::out_of_range);  // its end
  }
  expect_guests_fault(use_one(queue, address(last - 1), 0xffffffff), Errc::out_of_range);
  expect_unharmed(queue);
}

TEST_P(HostileRing, IndirectTablesOutOfTheGuestAreRefused) {
  auto queue = make_queue();
  for (const std::uint64_t at : {std::uint64_t{0}, address(last), address(last) - 16, ~std::uint64_t{0} - 15}) {
    expect_guests_fault(use_one(queue, at, 32, abi::desc_f_indirect), Errc::malformed);
  }
  expect_guests_fault(use_one(queue, address(buffer), 17, abi::desc_f_indirect), Errc::malformed);
  expect_unharmed(queue);
}

TEST_P(HostileRing, WhatIsNotGrantedIsRefused) {
  if (!GetParam().grants) GTEST_SKIP() << "frames have no permissions";
  auto queue = make_queue();
  // Mapped at once, such a page is in no region.
  const auto code = GetParam().on_demand ? Errc::permission : Errc::out_of_range;
  for (const std::uint16_t flags : {std::uint16_t{0}, abi::desc_f_write}) {
    expect_guests_fault(use_one(queue, address(OtherDomain::missing, 8), 64, flags), code);
    expect_guests_fault(use_one(queue, address(OtherDomain::missing) - 8, 64, flags), code);
  }
  expect_guests_fault(use_one(queue, address(OtherDomain::missing), 32, abi::desc_f_indirect), Errc::malformed);
  const auto read = use_one(queue, address(OtherDomain::read_only), 64);
  EXPECT_TRUE(read) << to_string(read.error());
  const auto written = use_one(queue, address(OtherDomain::read_only), 64, abi::desc_f_write);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().blame(), Blame::guest) << to_string(written.error());
  EXPECT_EQ(domain->own(OtherDomain::read_only)[0], std::byte{0});
  expect_unharmed(queue);
}

TEST_P(HostileRing, ARingThatIsNotThereIsRefused) {
  const auto refused = [&](auto set) {
    auto wrong = config();
    set(wrong);
    const auto queue = Queue::create(wrong, map);
    ASSERT_FALSE(queue);
    EXPECT_EQ(queue.error().blame(), Blame::guest) << to_string(queue.error());
  };
  const GuestAddress nowhere{address(last)};
  refused([&](QueueConfig& it) { it.descriptor_area = nowhere; });
  refused([&](QueueConfig& it) { it.driver_area = nowhere; });
  refused([&](QueueConfig& it) { it.device_area = nowhere; });
  if (!GetParam().grants) return;
  const GuestAddress missing{address(OtherDomain::missing)};
  refused([&](QueueConfig& it) { it.descriptor_area = missing; });
  refused([&](QueueConfig& it) { it.driver_area = missing; });
  refused([&](QueueConfig& it) { it.device_area = missing; });
  refused([&](QueueConfig& it) { it.device_area = {address(OtherDomain::read_only)}; });
  if (GetParam().packed) refused([&](QueueConfig& it) { it.descriptor_area = {address(OtherDomain::read_only)}; });
}

TEST_P(HostileRing, AGrantThatEndsInUseHarmsNobody) {
  if (!GetParam().on_demand) GTEST_SKIP() << "mapped at once: a grant that ends stays mapped";
  {
    auto queue = make_queue();
    offer(address(buffer), 64, abi::desc_f_write);
    const auto chain = *queue.pop();
    ASSERT_TRUE(chain);
    auto buffers = *Buffers::create(*chain);
    std::array<memory::Slice, 1> held;
    ASSERT_TRUE(buffers.writer.slices(64, held));
    if (!domain->revoke(buffer) || !domain->revoke(available)) GTEST_SKIP() << "these grants cannot be ended";
    // A transfer under way ends where it began: the page is ours to write as long as it is mapped.
    const std::array<std::byte, 1> in{std::byte{0x77}};
    held[0].write(0, in);
    EXPECT_EQ(domain->own(buffer)[0], std::byte{0x77});
    held[0] = {};
    ASSERT_TRUE(queue.push_used(chain->id(), 64));
    if (!GetParam().packed) {
      EXPECT_EQ(memory::load_at<std::uint16_t>(domain->own(used) + 2), 1);
    }
  }
  map->drop_windows();
  const auto gone = Queue::create(config(), map);
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().blame(), Blame::guest) << to_string(gone.error());
  const auto direct = map->snapshot()->load<std::uint32_t>({address(buffer)});
  ASSERT_FALSE(direct);
  EXPECT_EQ(direct.error().code(), Errc::permission);
  expect_canary();
}

/// A second processor of the guest writes whatever it likes over ring and tables while the device works.
TEST_P(HostileRing, ADriverThatScribblesWhileTheDeviceWorksHarmsNobody) {
  std::atomic<bool> done{false};
  std::thread scribbler([&] {
    std::minstd_rand random(1);
    const std::array<std::uint64_t, 6> places{address(buffer),    address(OtherDomain::missing),
                                              address(last) - 40, address(last),
                                              address(table),     ~std::uint64_t{0} - 99};
    while (!done) {
      auto flags = static_cast<std::uint16_t>(random() & 7);
      if (GetParam().packed) {
        for (const auto bit : {abi::packed_desc_f_avail, abi::packed_desc_f_used}) {
          if (random() % 2 == 0) flags |= bit;
        }
        put_packed(random() % size, places[random() % places.size()] + random() % 64,
                   static_cast<std::uint32_t>(random() % 3 == 0 ? random() : random() % 200), flags);
        store_at<std::uint32_t>(domain->own(available), static_cast<std::uint32_t>(random()));
        continue;
      }
      describe(random() % size, places[random() % places.size()] + random() % 64,
               static_cast<std::uint32_t>(random() % 3 == 0 ? random() : random() % 200), flags,
               static_cast<std::uint16_t>(random() % (size + 1)));
      store_at<std::uint16_t>(domain->own(available) + 4 + 2 * (random() % size),
                              static_cast<std::uint16_t>(random() % (size + 1)));
      const auto ahead = static_cast<std::uint16_t>(random() % 8 == 0 ? random() : random() % size);
      const auto now = memory::load_at<std::uint16_t>(domain->own(used) + 2);
      store_at<std::uint16_t>(domain->own(available) + 2, static_cast<std::uint16_t>(now + ahead));
    }
  });
  unsigned chains = 0;
  unsigned faults = 0;
  auto queue = make_queue();
  const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while ((chains < 100 || faults < 100) && std::chrono::steady_clock::now() < late) {
    auto popped = queue.pop();
    if (!popped) {
      ++faults;
      ASSERT_EQ(popped.error().blame(), Blame::guest) << to_string(popped.error());
      // As a reset and a new start would.
      ASSERT_EQ(queue.in_flight(), 0);
      if (!GetParam().packed) store_at<std::uint16_t>(domain->own(used) + 2, 0);
      queue = make_queue();
      std::this_thread::yield();
      continue;
    }
    if (!*popped) {
      std::this_thread::yield();
      continue;
    }
    ++chains;
    const auto used_it = use(**popped);
    if (!used_it) {
      ++faults;
      ASSERT_EQ(used_it.error().blame(), Blame::guest) << to_string(used_it.error());
    }
    ASSERT_TRUE(queue.push_used((*popped)->id(), 1));
    ASSERT_LE(queue.in_flight(), size);
  }
  done = true;
  scribbler.join();
  EXPECT_GE(chains, 100U);
  EXPECT_GE(faults, 100U);
  expect_canary();
}

}  // namespace
}  // namespace trivet::virtio
