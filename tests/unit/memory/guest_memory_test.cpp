// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/memory_map.hpp>

namespace trivet::memory {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();

std::shared_ptr<const Region> region(std::uint64_t start, std::uint64_t pages, Region::Options options = {}) {
  return *Region::create({start}, *Mapping::anonymous(pages * page), options);
}

std::shared_ptr<const GuestMemory> memory_of(GuestMemory::Regions regions) {
  return *GuestMemory::create(std::move(regions));
}

ConstBytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string text_at(const GuestMemory& memory, std::uint64_t at, std::size_t size) {
  std::string text(size, '\0');
  const auto result = memory.read({at}, std::as_writable_bytes(std::span(text)));
  return result ? text : to_string(result.error());
}

TEST(Region, RefusesRangesThatAreEmptyWrapOrAreNoPages) {
  for (const std::uint64_t start : {std::uint64_t{1}, std::uint64_t{page / 2}, most - page + 2}) {
    const auto made = Region::create({start}, *Mapping::anonymous(page));
    ASSERT_FALSE(made) << start;
    EXPECT_EQ(made.error().code(), Errc::invalid_argument);
    EXPECT_EQ(made.error().blame(), Blame::caller);
  }
  EXPECT_FALSE(Region::create({most - page + 1}, *Mapping::anonymous(2 * page))) << "wraps";
  EXPECT_TRUE(Region::create({most - page + 1}, *Mapping::anonymous(page))) << "the last page there is";
}

TEST(Region, OwnsItsMapping) {
  const auto made = Region::create({page}, *Mapping::memfd("guest", 2 * page), {Access::read_only, true});
  ASSERT_TRUE(made);
  const Region& it = **made;
  EXPECT_EQ(it.range(), (GuestRange{{page}, 2 * page}));
  ASSERT_NE(it.mapping(), nullptr);
  EXPECT_EQ(it.host(), it.mapping()->data());
  EXPECT_EQ(it.shared_fd(), it.mapping()->fd());
  EXPECT_EQ(it.access(), Access::read_only);
  EXPECT_EQ(it.dirty()->pages(), 2U);
  EXPECT_TRUE(it.can_pin());
}

TEST(Region, TakesWhatAVmMapped) {
  const auto mapping = *Mapping::anonymous(page);
  MappedRegion mapped{{{page}, page}, mapping.data(), Access::read_only, false, 5, 8192};
  const auto made = Region::create(mapped);
  ASSERT_TRUE(made);
  EXPECT_EQ((*made)->host(), mapping.data());
  EXPECT_EQ((*made)->mapping(), nullptr);
  EXPECT_EQ((*made)->dirty(), nullptr);
  EXPECT_EQ((*made)->shared_fd(), 5);
  EXPECT_EQ((*made)->shared_offset(), 8192U);
  EXPECT_FALSE((*made)->can_pin());
  EXPECT_NE((*Region::create(mapped, true))->dirty(), nullptr);

  mapped.host = nullptr;
  EXPECT_FALSE(Region::create(mapped));
  mapped.host = mapping.data() + 1;
  EXPECT_FALSE(Region::create(mapped));
  mapped = {{{page}, 0}, mapping.data()};
  EXPECT_FALSE(Region::create(mapped));
}

TEST(GuestMemory, EmptyHoldsNothing) {
  const auto memory = GuestMemory::empty();
  EXPECT_EQ(memory->find({0}), nullptr);
  EXPECT_EQ(memory->find({most}), nullptr);
  EXPECT_FALSE(memory->contains({{0}, 1}));
  EXPECT_FALSE(memory->load<std::uint8_t>({0}));
  EXPECT_TRUE(memory->read({0}, {})) << "nothing is nowhere";
}

TEST(GuestMemory, SortsAndRefusesOverlapAndNull) {
  const auto low = region(0, 2);
  const auto high = region(8 * page, 2);
  EXPECT_EQ(memory_of({high, low})->regions(), (GuestMemory::Regions{low, high}));
  const auto clash = GuestMemory::create({high, low, region(page, 1)});
  ASSERT_FALSE(clash);
  EXPECT_EQ(clash.error().code(), Errc::already_exists);
  EXPECT_EQ(clash.error().blame(), Blame::caller);
  const auto null = GuestMemory::create({low, nullptr});
  ASSERT_FALSE(null);
  EXPECT_EQ(null.error().code(), Errc::invalid_argument);
}

TEST(GuestMemory, FindsTheRegionOfEveryPage) {
  for (std::size_t count = 1; count <= 17; ++count) {
    GuestMemory::Regions regions;
    for (std::size_t i = 0; i < count; ++i) regions.push_back(region((3 * i + 1) * page, 1 + i % 2));
    const auto memory = memory_of(regions);
    for (int direction = 0; direction < 2; ++direction) {  // so that the last hit lies on either side
      for (std::uint64_t step = 0; step < 3 * count + 2; ++step) {
        const std::uint64_t at = (direction == 0 ? step : 3 * count + 1 - step) * page;
        for (const std::uint64_t offset : {std::uint64_t{0}, page - 1}) {
          const Region* expected = nullptr;
          for (const auto& r : regions) {
            if (r->range().contains({at + offset})) expected = r.get();
          }
          ASSERT_EQ(memory->find({at + offset}), expected) << count << " " << at + offset;
        }
      }
    }
  }
}

TEST(GuestMemory, ReadsAndWritesAcrossAdjacentRegions) {
  const auto memory = memory_of({region(page, 1), region(2 * page, 1), region(3 * page, 1)});
  std::string text(page + 20, 'x');
  text.front() = 'a';
  text.back() = 'z';
  ASSERT_TRUE(memory->write({2 * page - 10}, bytes_of(text)));
  EXPECT_EQ(text_at(*memory, 2 * page - 10, text.size()), text);
  EXPECT_EQ(std::to_integer<char>(memory->regions()[2]->host()[9]), 'z');
  EXPECT_TRUE(memory->contains({{page}, 3 * page}));
  EXPECT_FALSE(memory->contains({{page}, 3 * page + 1}));
  EXPECT_FALSE(memory->contains({{page}, 0}));
  EXPECT_FALSE(memory->contains({{page}, most}));
}

TEST(GuestMemory, AFailedAccessNamesTheAddressAndTouchesNothing) {
  const auto memory = memory_of({region(page, 1), region(3 * page, 1)});
  const std::string text(2 * page, 'x');
  const auto wrote = memory->write({page + 16}, bytes_of(text));
  ASSERT_FALSE(wrote);
  EXPECT_EQ(wrote.error().code(), Errc::out_of_range);
  EXPECT_EQ(wrote.error().blame(), Blame::guest);
  EXPECT_THAT(std::string(wrote.error().detail()), HasSubstr("0x2000 is no memory"));
  EXPECT_EQ(text_at(*memory, page + 16, 1), std::string(1, '\0'));

  std::array<std::byte, 64> out;
  out.fill(std::byte{0xaa});
  EXPECT_FALSE(memory->read({2 * page - 32}, out));
  EXPECT_EQ(out[0], std::byte{0xaa});
  EXPECT_FALSE(memory->fill({{page}, 2 * page}, std::byte{1}));
  EXPECT_EQ(text_at(*memory, page, 1), std::string(1, '\0'));
}

TEST(GuestMemory, AddressesThatWrapAreRefused) {
  const auto memory = memory_of({region(most - page + 1, 1), region(0, 1)});
  std::array<std::byte, 16> out{};
  EXPECT_TRUE(memory->read({most - 15}, out));
  EXPECT_FALSE(memory->read({most - 14}, out));
  EXPECT_FALSE(memory->write({most - 14}, out));
  EXPECT_FALSE(memory->slice({{most - 14}, 16}, Permission::read));
  EXPECT_FALSE(memory->fill({{most}, most}, std::byte{0}));
  EXPECT_TRUE(memory->load<std::uint8_t>({most}));
}

TEST(GuestMemory, WhatTheGuestMayNotWriteDevicesMayNotEither) {
  const auto memory = memory_of({region(0, 1), region(page, 1, {Access::read_only, false})});
  const auto refused = [&](const Result<void>& result) {
    return !result && result.error().code() == Errc::permission && result.error().blame() == Blame::guest;
  };
  EXPECT_TRUE(refused(memory->write({page}, bytes_of("x"))));
  EXPECT_TRUE(refused(memory->write({page - 1}, bytes_of("xy"))));
  EXPECT_EQ(text_at(*memory, page - 1, 1), std::string(1, '\0'));
  EXPECT_TRUE(refused(memory->store<std::uint32_t>({page}, 1)));
  EXPECT_TRUE(refused(memory->write_object<std::uint16_t>({page}, 1)));
  EXPECT_TRUE(refused(memory->fill({{page}, 1}, std::byte{1})));
  EXPECT_EQ(memory->slice({{page}, 8}, Permission::write).error().code(), Errc::permission);
  EXPECT_EQ(memory->run({page}, 8, Permission::write).error().code(), Errc::permission);
  EXPECT_TRUE(memory->slice({{page}, 8}, Permission::read));
  EXPECT_TRUE(memory->load<std::uint32_t>({page}));
}

template <class T>
class GuestMemoryScalar : public testing::Test {};
using Scalars = testing::Types<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>;
TYPED_TEST_SUITE(GuestMemoryScalar, Scalars);

TYPED_TEST(GuestMemoryScalar, LoadsAndStoresLittleEndianAtNaturalAlignment) {
  using T = TypeParam;
  const auto memory = memory_of({region(page, 1, {Access::read_write, true})});
  const auto value = static_cast<T>(0x1122334455667788ULL);
  for (const auto order : {std::memory_order_relaxed, std::memory_order_release, std::memory_order_seq_cst}) {
    ASSERT_TRUE(memory->store<T>({page + 64}, value, order));
  }
  for (const auto order : {std::memory_order_relaxed, std::memory_order_acquire, std::memory_order_seq_cst}) {
    EXPECT_EQ(*memory->load<T>({page + 64}, order), value);
  }
  EXPECT_EQ(*memory->read_object<std::uint8_t>({page + 64}), 0x88);
  EXPECT_TRUE(memory->regions()[0]->dirty()->is_dirty(0));
  EXPECT_TRUE(memory->load<T>({2 * page - sizeof(T)}));

  const auto beyond = memory->load<T>({2 * page});
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code(), Errc::out_of_range);
  if (sizeof(T) > 1) {
    EXPECT_EQ(memory->load<T>({page + 1}).error().code(), Errc::invalid_argument);
    EXPECT_EQ(memory->store<T>({page + sizeof(T) / 2}, value).error().code(), Errc::invalid_argument);
  }
}

struct Sample {
  std::uint32_t a;
  std::uint16_t b;
  std::uint8_t c[7];
};

TEST(GuestMemory, ObjectsMoveWholeAtAnyAlignmentAndAcrossRegions) {
  const auto memory = memory_of({region(page, 1, {Access::read_write, true}), region(2 * page, 1)});
  const Sample sample{0x01020304, 0x0506, {1, 2, 3, 4, 5, 6, 7}};
  for (const std::uint64_t at : {page, page + 3, 2 * page - sizeof(Sample), 2 * page - 5}) {
    ASSERT_TRUE(memory->write_object({at}, sample));
    const auto back = memory->read_object<Sample>({at});
    ASSERT_TRUE(back);
    EXPECT_EQ(back->a, sample.a);
    EXPECT_EQ(back->c[6], 7);
  }
  EXPECT_TRUE(memory->regions()[0]->dirty()->is_dirty(0));
  EXPECT_FALSE(memory->read_object<Sample>({3 * page - 4}));
  EXPECT_FALSE(memory->write_object({3 * page - 4}, sample));
}

TEST(GuestMemory, EveryWriteMarksItsPages) {
  const auto memory =
      memory_of({region(0, 4, {Access::read_write, true}), region(4 * page, 2, {Access::read_write, true})});
  const auto dirty = [&](std::size_t i) { return memory->regions()[i]->dirty()->take()[0]; };
  ASSERT_TRUE(memory->write({4 * page - 1}, bytes_of("ab")));
  EXPECT_EQ(dirty(0), 0b1000U);
  EXPECT_EQ(dirty(1), 0b01U);
  ASSERT_TRUE(memory->fill({{page}, 2 * page}, std::byte{1}));
  EXPECT_EQ(dirty(0), 0b0110U);
  const auto slice = memory->slice({{page - 2}, 16}, Permission::write);
  EXPECT_EQ(dirty(0), 0U) << "a slice alone writes nothing";
  slice->write(0, bytes_of("a"));
  EXPECT_EQ(dirty(0), 0b0001U);
  slice->part(2, 4).write(0, bytes_of("b"));
  EXPECT_EQ(dirty(0), 0b0010U);
  slice->mark_written(0, 16);
  EXPECT_EQ(dirty(0), 0b0011U);
  slice->fill(1, 2, std::byte{5});
  EXPECT_EQ(dirty(0), 0b0011U);
}

TEST(GuestMemory, SlicesAreRunsOfRegions) {
  const auto memory = memory_of({region(0, 1), region(page, 1), region(2 * page, 1)});
  std::array<Slice, 3> out;
  EXPECT_EQ(*memory->slices({{page - 8}, page + 16}, Permission::read, out), 3U);
  EXPECT_EQ(out[0].size(), 8U);
  EXPECT_EQ(out[1].size(), page);
  EXPECT_EQ(out[1].host(), memory->regions()[1]->host());
  EXPECT_EQ(out[2].size(), 8U);
  EXPECT_EQ(*memory->slices({{8}, 8}, Permission::read, out), 1U);
  EXPECT_EQ(*memory->slices({{8}, 0}, Permission::read, out), 0U);

  const auto few = memory->slices({{page - 8}, page + 16}, Permission::read, std::span(out).first(2));
  ASSERT_FALSE(few);
  EXPECT_EQ(few.error().code(), Errc::limit);
  EXPECT_EQ(few.error().blame(), Blame::caller);
  EXPECT_FALSE(memory->slices({{2 * page}, 2 * page}, Permission::read, out));

  const auto crossing = memory->slice({{page - 8}, 16}, Permission::read);
  ASSERT_FALSE(crossing);
  EXPECT_EQ(crossing.error().code(), Errc::out_of_range);
  EXPECT_THAT(std::string(crossing.error().detail()), HasSubstr("not in one region"));
  EXPECT_FALSE(memory->slice({{0}, 0}, Permission::read));
  EXPECT_EQ(memory->run({page - 8}, 100, Permission::read)->size(), 8U);
  EXPECT_EQ(memory->run({page - 8}, 3, Permission::read)->size(), 3U);
  EXPECT_FALSE(memory->run({page}, 0, Permission::read));
  EXPECT_FALSE(memory->run({3 * page}, 1, Permission::read));
}

TEST(Slice, CopiesEverySizeAndAlignment) {
  const auto memory = memory_of({region(0, 1)});
  const std::string text = "0123456789abcdefghij";
  for (std::uint64_t offset = 0; offset < 9; ++offset) {
    for (std::size_t size = 0; size <= text.size(); ++size) {
      const auto slice = *memory->slice({{64}, 64}, Permission::write);
      slice.fill(0, 64, std::byte{'.'});
      slice.write(offset, bytes_of(text.substr(0, size)));
      std::string out(size, '\0');
      slice.read(offset, std::as_writable_bytes(std::span(out)));
      EXPECT_EQ(out, text.substr(0, size));
      EXPECT_EQ(text_at(*memory, 64 + offset + size, 1), ".");
    }
  }
  EXPECT_EQ(Slice().size(), 0U);
  Slice().mark_written(0, 8);
}

TEST(MemoryMap, ASnapshotStaysAsItWas) {
  MemoryMap map;
  EXPECT_EQ(map.snapshot()->regions().size(), 0U);
  const auto first = region(0, 1);
  const auto before = map.generation();
  ASSERT_TRUE(map.insert(first));
  EXPECT_NE(map.generation(), before);
  const auto old = map.snapshot();
  ASSERT_TRUE(map.insert(region(page, 1)));
  EXPECT_EQ(old->regions().size(), 1U);
  EXPECT_EQ(map.snapshot()->regions().size(), 2U);

  const auto removed = map.remove({{0}, page});
  ASSERT_TRUE(removed);
  EXPECT_EQ(*removed, first);
  EXPECT_EQ(map.snapshot()->find({0}), nullptr);
  EXPECT_NE(old->find({0}), nullptr) << "whoever has a snapshot keeps it whole";
}

TEST(MemoryMap, AFailedChangeChangesNothing) {
  MemoryMap map(memory_of({region(0, 2)}));
  const auto before = map.generation();
  const auto clash = map.insert(region(page, 1));
  ASSERT_FALSE(clash);
  EXPECT_EQ(clash.error().code(), Errc::already_exists);
  const auto missing = map.remove({{0}, page});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::not_found);
  EXPECT_EQ(map.insert(nullptr).error().code(), Errc::invalid_argument);
  EXPECT_EQ(map.generation(), before);
  EXPECT_EQ(MemoryMap(nullptr).snapshot()->regions().size(), 0U);
}

TEST(MemoryMap, IsReplacedAsAWhole) {
  MemoryMap map(memory_of({region(0, 2)}));
  const auto before = map.snapshot();
  const auto generation = map.generation();
  map.replace(memory_of({region(page, 1), region(4 * page, 1)}));
  EXPECT_NE(map.generation(), generation);
  EXPECT_EQ(map.snapshot()->regions().size(), 2U);
  EXPECT_EQ(map.snapshot()->find({0}), nullptr);
  EXPECT_NE(before->find({0}), nullptr) << "who held it has it still";
  map.replace(nullptr);
  EXPECT_TRUE(map.snapshot()->regions().empty());
}

TEST(MemoryMap, ReadersNeverSeeHalfAChange) {
  MemoryMap map(memory_of({region(0, 1)}));
  const auto extra = region(page, 1);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop.load()) {
      const auto memory = map.snapshot();
      EXPECT_TRUE(memory->store<std::uint64_t>({8}, 1));
      EXPECT_EQ(memory->contains({{page}, 8}), memory->regions().size() == 2);
    }
  });
  for (int i = 0; i < 2000; ++i) {
    EXPECT_TRUE(map.insert(extra));
    EXPECT_TRUE(map.remove({{page}, page}));
  }
  stop.store(true);
  reader.join();
}

TEST(GuestMemory, ScalarsDoNotTearUnderConcurrentWrites) {
  const auto memory = memory_of({region(0, 1), region(page, 1)});
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop.load()) {
      EXPECT_TRUE(memory->store<std::uint64_t>({page + 8}, 0));
      EXPECT_TRUE(memory->store<std::uint64_t>({page + 8}, most));
    }
  });
  for (int i = 0; i < 100'000; ++i) {
    const auto value = *memory->read_object<std::uint64_t>({page + 8});
    ASSERT_TRUE(value == 0 || value == most) << value;
    ASSERT_TRUE(memory->load<std::uint64_t>({8}));  // moves the last hit to and fro
  }
  stop.store(true);
  writer.join();
}

}  // namespace
}  // namespace trivet::memory
