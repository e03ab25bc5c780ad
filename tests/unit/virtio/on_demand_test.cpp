// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A driver whose buffers, tables or rings are granted pages: mapped while they are in use, and not once it is told.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <vector>

#include <trivet/memory/memory_map.hpp>
#include <trivet/test/driver.hpp>
#include <trivet/test/fake_pages.hpp>
#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/queue.hpp>

namespace trivet::virtio {
namespace {

using memory::DomainPages;
using memory::Region;
using test::Driver;
using test::FakePages;
using test::TestGuest;

constexpr std::uint64_t page = 4096;
constexpr std::uint64_t granted = std::uint64_t{1} << 63;

class OnDemand : public testing::Test {
 protected:
  void SetUp() override {
    if (!memory::maps_on_demand) GTEST_SKIP() << "the mmap build maps no other domain's pages";
    ASSERT_TRUE(guest.map()->insert(*Region::create({granted}, 64 * page, DomainPages{pages, 0, true})));
  }
  std::shared_ptr<FakePages> pages = std::make_shared<FakePages>(0, 64);
  TestGuest guest;
};

TEST_F(OnDemand, BuffersAreMappedUntilTheyAreGivenBack) {
  Driver driver(guest, 16);
  auto queue = driver.queue();
  pages->own(1)[page - 1] = std::byte{'a'};
  pages->own(2)[0] = std::byte{'b'};
  const auto head = driver.add({{{granted + 2 * page - 1}, 2, false}, {{granted + 3 * page + 5}, 4, true}});
  ASSERT_TRUE(head);
  const auto chain = **queue.pop();
  auto buffers = *Buffers::create(chain);
  EXPECT_EQ(*buffers.reader.read_object<std::uint16_t>(), 'a' | 'b' << 8);
  std::array<memory::Slice, 2> slices;
  ASSERT_EQ(*buffers.writer.slices(4, slices), 1U);
  EXPECT_GE(pages->mapped(), 3U);
  const std::array<std::byte, 4> in{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  slices[0].write(0, in);
  slices[0] = {};
  ASSERT_TRUE(queue.push_used(*head, 4));
  EXPECT_EQ(pages->mapped(), 0U) << "the driver may end its grants now";
  EXPECT_EQ(pages->own(3)[5], std::byte{1});
  EXPECT_EQ(driver.take_used(), (test::Used{*head, 4}));
}

TEST_F(OnDemand, ABadGrantIsTheGuestsFault) {
  Driver driver(guest, 16);
  auto queue = driver.queue();
  pages->set(4, FakePages::State::none);
  pages->set(5, FakePages::State::read_only);
  ASSERT_TRUE(driver.add({{{granted + 4 * page}, 16, false}, {{granted + 5 * page}, 16, true}}));
  auto buffers = *Buffers::create(**queue.pop());
  const auto read = buffers.reader.read_object<std::uint32_t>();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().blame(), Blame::guest);
  const auto wrote = buffers.writer.fill(16, std::byte{1});
  ASSERT_FALSE(wrote);
  EXPECT_EQ(wrote.error().blame(), Blame::guest);
  EXPECT_EQ(wrote.error().code(), Errc::permission);
  EXPECT_EQ(pages->mapped(), 0U);
}

TEST_F(OnDemand, IndirectTablesAreReadWhereTheyLie) {
  Driver driver(guest, 16);
  auto queue = driver.queue();
  const auto table = [&](std::uint64_t at, std::uint16_t flags) {
    driver.set_descriptor(0, {at, 48, abi::desc_f_indirect, 0});
    driver.make_available(0);
    auto* entries = pages->own(7) + page - 16;  // across two pages
    const std::array<std::uint64_t, 6> words{granted + page,     8 | std::uint64_t{abi::desc_f_next} << 32 | 1ULL << 48,
                                             granted + 2 * page, 8 | std::uint64_t{abi::desc_f_next} << 32 | 2ULL << 48,
                                             granted + 3 * page, 8 | std::uint64_t{flags} << 32};
    std::memcpy(entries, words.data(), sizeof(words));
    return **queue.pop();
  };
  auto chain = table(granted + 8 * page - 16, abi::desc_f_write);
  std::vector<std::uint64_t> seen;
  for (;;) {
    const auto next = chain.next();
    ASSERT_TRUE(next) << to_string(next.error());
    if (!*next) break;
    seen.push_back((*next)->address.value);
  }
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{granted + page, granted + 2 * page, granted + 3 * page}));
  ASSERT_TRUE(queue.push_used(0, 0));
  EXPECT_EQ(pages->mapped(), 0U);

  pages->set(8, FakePages::State::none);
  auto broken = table(granted + 8 * page - 16, 0);
  ASSERT_TRUE(broken.next()) << "the first entry is on a page that is there";
  const auto missing = broken.next();
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code(), Errc::malformed);
  EXPECT_EQ(missing.error().blame(), Blame::guest);
  pages->set(8, FakePages::State::read_write);
  ASSERT_TRUE(queue.push_used(0, 0));

  auto wild = table(granted + 8 * page - 16, abi::desc_f_next);  // its last goes on to entry 0: longer than the queue
  auto step = wild.next();
  for (int i = 0; step && *step && i < 40; ++i) step = wild.next();
  ASSERT_FALSE(step);
  EXPECT_EQ(step.error().code(), Errc::malformed);
}

TEST_F(OnDemand, TablesMayCrossFromOneKindOfMemoryIntoTheOther) {
  // The guest's own memory, and right behind it more of it, then granted pages.
  constexpr std::uint64_t seam = TestGuest::default_size;
  ASSERT_TRUE(guest.map()->insert(*Region::create({seam}, *memory::Mapping::anonymous(page))));
  ASSERT_TRUE(guest.map()->insert(*Region::create({seam + page}, 4 * page, DomainPages{pages, 20, true})));
  Driver driver(guest, 16);
  auto queue = driver.queue();
  for (const std::uint64_t at : {seam - 16, seam + page - 16, seam - 24, seam + page - 24}) {
    const std::array<std::uint64_t, 4> words{0x1000, 8 | std::uint64_t{abi::desc_f_next} << 32 | 1ULL << 48, 0x2000, 8};
    ASSERT_TRUE(guest.map()->snapshot()->write_object({at}, words));
    driver.set_descriptor(0, {at, 32, abi::desc_f_indirect, 0});
    driver.make_available(0);
    auto chain = **queue.pop();
    for (const std::uint64_t buffer : {0x1000U, 0x2000U}) {
      const auto next = chain.next();
      ASSERT_TRUE(next && *next) << at;
      EXPECT_EQ((*next)->address.value, buffer);
    }
    const auto end = chain.next();
    EXPECT_TRUE(end && !*end);
    ASSERT_TRUE(queue.push_used(0, 0));
  }
  driver.set_descriptor(0, {seam + 5 * page - 16, 32, abi::desc_f_indirect, 0});
  driver.make_available(0);
  EXPECT_FALSE(Buffers::create(**queue.pop())) << "its end is in no memory";
}

TEST_F(OnDemand, ATableWhoseGrantEndsWhileItIsReadIsTheGuestsFault) {
  Driver driver(guest, 16);
  auto queue = driver.queue();
  const std::array<std::uint64_t, 4> words{granted + page, 8 | std::uint64_t{abi::desc_f_next} << 32 | 1ULL << 48,
                                           granted + 2 * page, 8};
  std::memcpy(pages->own(9), words.data(), sizeof(words));
  driver.set_descriptor(0, {granted + 9 * page, 32, abi::desc_f_indirect, 0});
  driver.make_available(0);
  auto buffers = *Buffers::create(**queue.pop());
  ASSERT_TRUE(buffers.reader.read_object<std::uint64_t>());
  guest.map()->drop_windows();
  pages->set(9, FakePages::State::none);
  const auto second = buffers.reader.read_object<std::uint64_t>();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::malformed);
  EXPECT_EQ(second.error().blame(), Blame::guest);
  EXPECT_THAT(to_string(second.error()), testing::HasSubstr("outside memory"));
  ASSERT_TRUE(queue.push_used(0, 0));
}

TEST_F(OnDemand, ARingThatGoesFailsWhatIsGivenBack) {
  auto config = Driver(guest, 16).config();
  config.descriptor_area = {granted + 10 * page};
  config.driver_area = {granted + 11 * page};
  config.device_area = {granted + 12 * page};
  auto queue = *Queue::create(config, guest.map());
  memory::store_at<std::uint16_t>(pages->own(11) + 2, 1, std::memory_order_release);
  ASSERT_TRUE(*queue.pop());
  pages->set(12, FakePages::State::read_only);
  guest.map()->drop_windows();
  const auto pushed = queue.push_used(0, 0);
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().blame(), Blame::guest);
  EXPECT_THAT(to_string(pushed.error()), testing::HasSubstr("device area"));
  EXPECT_TRUE(queue.enable_kicks()) << "so that the device pops, and hears why";
  EXPECT_FALSE(queue.pop());
  pages->set(12, FakePages::State::read_write);
  EXPECT_TRUE(queue.push_used(0, 0)) << "it is there again";
  EXPECT_EQ(memory::load_at<std::uint16_t>(pages->own(12) + 2), 1);
}

TEST_F(OnDemand, ARingStaysMappedAndIsLookedUpAnewWhenPagesGo) {
  auto config = Driver(guest, 16).config();
  config.descriptor_area = {granted + 10 * page};
  config.driver_area = {granted + 11 * page};
  config.device_area = {granted + 12 * page};
  auto queue = *Queue::create(config, guest.map());
  EXPECT_EQ(pages->mapped(), 3U);
  const auto available = [&](std::uint16_t index) {
    memory::store_at<std::uint64_t>(pages->own(10), granted + page);
    memory::store_at<std::uint64_t>(pages->own(10) + 8, 16);
    memory::store_at<std::uint16_t>(pages->own(11) + 2, index, std::memory_order_release);
  };
  available(1);
  const auto chain = *queue.pop();
  ASSERT_TRUE(chain);
  guest.map()->drop_windows();
  available(2);
  auto next = queue.pop();
  ASSERT_TRUE(next && *next);
  EXPECT_EQ(pages->mapped(), 6U) << "the old ring, for the chain in flight, and the new one";
  auto old = *chain;
  EXPECT_EQ((*old.next())->address.value, granted + page);
  ASSERT_TRUE(queue.push_used(0, 0));
  ASSERT_TRUE(queue.push_used(0, 0));
  EXPECT_EQ(pages->mapped(), 3U);
  EXPECT_EQ(memory::load_at<std::uint16_t>(pages->own(12) + 2), 2);

  auto moved = std::move(queue);
  queue = std::move(moved);
  EXPECT_EQ(pages->mapped(), 3U);
  pages->set(10, FakePages::State::none);
  guest.map()->drop_windows();
  const auto gone = queue.pop();
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().blame(), Blame::guest);
}

}  // namespace
}  // namespace trivet::virtio
