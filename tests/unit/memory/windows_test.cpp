// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What the cache of windows promises, seen from the mapper: how much is mapped, and when.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/test/fake_pages.hpp>

namespace trivet::memory {
namespace {

using test::FakePages;
using testing::HasSubstr;

constexpr std::uint64_t page = 4096;

class Windows : public testing::Test {
 protected:
  void SetUp() override {
    if (!maps_on_demand) GTEST_SKIP() << "the mmap build maps no other domain's pages";
  }
  std::shared_ptr<const GuestMemory> memory(std::uint32_t cached, std::uint32_t most, std::uint32_t count = 1024) {
    return *GuestMemory::create({*Region::create({0}, count * page, DomainPages{pages, 0, true, cached, most})});
  }
  std::shared_ptr<FakePages> pages = std::make_shared<FakePages>(0, 1024);
};

TEST_F(Windows, AreMappedOnceAndKeptForTheNextAccess) {
  const auto guest = memory(64, 64);
  EXPECT_EQ(pages->mapped(), 0U);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(guest->load<std::uint32_t>({page + 4U * static_cast<unsigned>(i)}));
  EXPECT_EQ(pages->maps(), 1U);
  EXPECT_EQ(pages->mapped(), 1U);
  guest->release_idle();
  EXPECT_EQ(pages->mapped(), 0U);
}

TEST_F(Windows, ThoseNotInUseAreBounded) {
  const auto guest = memory(8, 64);
  for (std::uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(guest->load<std::uint8_t>({i * page}));
  EXPECT_EQ(pages->mapped(), 8U);
  EXPECT_LE(pages->most_mapped(), 9U);
  const unsigned before = pages->maps();
  ASSERT_TRUE(guest->load<std::uint8_t>({99 * page}));
  EXPECT_EQ(pages->maps(), before) << "the last used stay";
  ASSERT_TRUE(guest->load<std::uint8_t>({0}));
  EXPECT_EQ(pages->maps(), before + 1);
}

TEST_F(Windows, NoneIsKeptWhereNoneMayBe) {
  const auto guest = memory(0, 64);
  ASSERT_TRUE(guest->load<std::uint8_t>({0}));
  EXPECT_EQ(pages->mapped(), 0U);
}

TEST_F(Windows, ThoseInUseAreBoundedToo) {
  const auto guest = memory(8, 16);
  std::vector<Slice> held;
  for (std::uint64_t i = 0; i < 16; ++i) held.push_back(*guest->slice({{i * page}, 1}, Permission::read));
  const auto refused = guest->slice({{16 * page}, 1}, Permission::read);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::limit);
  EXPECT_EQ(refused.error().blame(), Blame::guest);
  EXPECT_THAT(to_string(refused.error()), HasSubstr("16 pages are in use"));
  EXPECT_TRUE(guest->slice({{15 * page}, 1}, Permission::read)) << "what is mapped serves again";
  held.pop_back();
  EXPECT_TRUE(guest->slice({{16 * page}, 1}, Permission::read)) << "what is idle makes room";
  held.clear();
  EXPECT_EQ(pages->mapped(), 8U);
}

TEST_F(Windows, AFailedAccessLeavesNothingMapped) {
  const auto guest = memory(0, 1024);
  pages->set(300, FakePages::State::none);
  std::vector<std::byte> in(2 * 256 * page, std::byte{1});
  ASSERT_FALSE(guest->write({0}, in)) << "the second megabyte cannot be mapped";
  EXPECT_EQ(pages->own(0)[0], std::byte{0});
  EXPECT_EQ(pages->mapped(), 0U);
  std::array<Slice, 4> out;
  EXPECT_FALSE(guest->slices({{0}, 301 * page}, Permission::read, out));
  EXPECT_EQ(pages->mapped(), 0U) << "no slice is left in `out`";
}

TEST_F(Windows, LongRunsComeInParts) {
  const auto guest = memory(0, 1024);
  EXPECT_EQ(guest->run({page / 2}, 1000 * page, Permission::read)->size(), 256 * page - page / 2);
  EXPECT_EQ(guest->slice({{0}, 257 * page}, Permission::read).error().code(), Errc::limit);
  EXPECT_EQ(guest->slice({{1000 * page}, 25 * page}, Permission::read).error().code(), Errc::out_of_range);
  std::vector<std::byte> all(1024 * page);
  pages->own(1023)[page - 1] = std::byte{7};
  ASSERT_TRUE(guest->read({0}, all));
  EXPECT_EQ(all.back(), std::byte{7});
  ASSERT_TRUE(guest->write({page / 2}, std::span(all).first(4 * 256 * page - page)));
  EXPECT_EQ(guest->write({0}, std::vector<std::byte>(8)).has_value(), true);
}

TEST_F(Windows, ADroppedOneIsUnmappedAfterItsLastUser) {
  MemoryMap map;
  ASSERT_TRUE(map.insert(*Region::create({0}, 16 * page, DomainPages{pages, 0, true})));
  const auto generation = map.generation();
  {
    const auto guest = map.snapshot();
    const auto slice = *guest->slice({{0}, 8}, Permission::write);
    const Slice copy = slice;  // NOLINT: counted
    map.drop_windows();
    EXPECT_GT(map.generation(), generation) << "queues look again";
    EXPECT_EQ(pages->mapped(), 1U);
    const auto fresh = *guest->slice({{0}, 8}, Permission::write);
    EXPECT_NE(fresh.host(), copy.host());
    EXPECT_EQ(pages->mapped(), 2U);
  }
  EXPECT_EQ(pages->mapped(), 1U) << "the dropped one is gone, the fresh one idle";
}

TEST_F(Windows, GoWithTheRegion) {
  {
    const auto guest = memory(64, 64);
    ASSERT_TRUE(guest->load<std::uint8_t>({0}));
    EXPECT_EQ(pages->mapped(), 1U);
  }
  EXPECT_EQ(pages->mapped(), 0U);
  { const auto whole = *Region::create({0}, 16 * page, DomainPages{pages, 0}); }
  EXPECT_EQ(pages->mapped(), 0U);
}

TEST(DomainRegion, SaysWhatItCannotBe) {
  const auto grants = std::make_shared<FakePages>(0, 16);
  const auto frames = std::make_shared<FakePages>(0, 16, PageKind::frame);
  const auto refusal = [](DomainPages pages, Region::Options options = {}, std::uint64_t size = 16 * page) {
    const auto made = Region::create({0}, size, std::move(pages), options);
    return made ? std::string("made") : to_string(made.error());
  };
  if (!maps_on_demand) {
    EXPECT_THAT(refusal({grants, 0}), HasSubstr("TRIVET_GUEST_MEMORY=xen"));
    EXPECT_THAT(to_string(grant_mapper(1).error()), HasSubstr("TRIVET_GUEST_MEMORY=xen"));
    EXPECT_EQ(foreign_mapper(1).error().code(), Errc::unsupported);
    return;
  }
  EXPECT_EQ(refusal({frames, 0}), "made");
  EXPECT_THAT(refusal({nullptr, 0}), HasSubstr("no mapper"));
  EXPECT_THAT(refusal({frames, 0, true}), HasSubstr("frames are mapped at once"));
  EXPECT_THAT(refusal({grants, 0, true}, {Access::read_write, true}), HasSubstr("no dirty bitmap"));
  EXPECT_THAT(refusal({grants, 0xfffffff8, true}), HasSubstr("the last there can be is 0xffffffff"));
  EXPECT_THAT(refusal({grants, 8}), HasSubstr("page 16")) << "the mapper's own reason";
  EXPECT_THAT(refusal({grants, 0}, {}, 100), HasSubstr("not page aligned"));
  EXPECT_EQ((*Region::create({0}, page, DomainPages{frames, 3}))->kind(), RegionKind::foreign);
}

TEST(XenDevices, AreMissingWithAReason) {
  if (!maps_on_demand) GTEST_SKIP() << "the mmap build has none";
  const auto mapper = grant_mapper(0);
  if (mapper) GTEST_SKIP() << "this is Xen";
  EXPECT_THAT(to_string(mapper.error()), HasSubstr("/dev/xen/gntdev"));
}

TEST(XenFrames, OfAGuestAreMappedAndBadOnesNamed) {
  const char* id = std::getenv("TRIVET_TEST_DOMAIN");
  if (!maps_on_demand || id == nullptr) GTEST_SKIP() << "TRIVET_TEST_DOMAIN names no domain";
  auto mapper = foreign_mapper(static_cast<std::uint16_t>(std::atoi(id)));
  ASSERT_TRUE(mapper) << to_string(mapper.error());
  const auto region =
      Region::create({0x100000}, 0x1000 * page, DomainPages{*mapper, 0x1000}, {Access::read_write, true});
  ASSERT_TRUE(region) << to_string(region.error());
  EXPECT_EQ((*region)->kind(), RegionKind::foreign);
  EXPECT_FALSE((*region)->can_pin());
  const auto guest = *GuestMemory::create({*region});
  ASSERT_TRUE(guest->store<std::uint64_t>({0x100000 + 0x800 * page}, 42));
  EXPECT_TRUE((*region)->dirty()->is_dirty(0x800));
  const auto again = *Region::create({0}, page, DomainPages{*mapper, 0x1800});
  EXPECT_EQ(load_at<std::uint64_t>(again->host()), 42U);
  const auto beyond = Region::create({0}, 16 * page, DomainPages{*mapper, 0xe0000});
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code(), Errc::not_found);
  EXPECT_THAT(to_string(beyond.error()), HasSubstr("frame 0xe0000 of domain"));
  auto nobody = foreign_mapper(0x7000);
  EXPECT_TRUE(!nobody || !(*nobody)->map(0, 1, Permission::read));
}

}  // namespace
}  // namespace trivet::memory
