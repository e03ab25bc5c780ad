// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <gtest/gtest.h>
#include <poll.h>
#include <thread>
#include <vector>

#include <trivet/test/test_router.hpp>
#include <trivet/vmm/ioapic.hpp>

namespace trivet::vmm {
namespace {

constexpr std::uint32_t level = 1U << 15;
constexpr std::uint32_t masked = 1U << 16;
constexpr std::uint32_t remote_irr = 1U << 14;

class IoApicTest : public ::testing::Test {
 protected:
  void select(std::uint8_t index) {
    const std::array<std::byte, 4> value{std::byte{index}};
    ioapic.write(0, value);
  }
  void set(std::uint8_t index, std::uint32_t value) {
    select(index);
    ioapic.write(0x10, std::as_bytes(std::span(&value, 1)));
  }
  std::uint32_t get(std::uint8_t index) {
    select(index);
    std::uint32_t value = 0;
    ioapic.read(0x10, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  static std::uint8_t low(unsigned pin) { return static_cast<std::uint8_t>(0x10 + 2 * pin); }
  static std::uint8_t high(unsigned pin) { return static_cast<std::uint8_t>(0x11 + 2 * pin); }
  std::unique_ptr<InterruptLine> line(unsigned pin, Trigger trigger) {
    auto made = ioapic.line(pin, trigger);
    EXPECT_TRUE(made.has_value());
    return std::move(*made);
  }

  test::TestRouter router;
  IoApic ioapic{router};
};

bool readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, 0) == 1;
}

TEST_F(IoApicTest, SaysWhatItIs) {
  EXPECT_EQ(get(0), 0U);
  set(0, 0xff00'0000);
  EXPECT_EQ(get(0), 0x0f00'0000U);
  EXPECT_EQ(get(2), 0x0f00'0000U);
  EXPECT_EQ(get(1), 0x0017'0011U) << "24 pins";
  set(1, 0);
  EXPECT_EQ(get(1), 0x0017'0011U) << "read-only";
  for (unsigned pin = 0; pin < IoApic::pins; ++pin) EXPECT_EQ(get(low(pin)), masked);
  EXPECT_EQ(get(0x0f), 0U);
  EXPECT_EQ(get(0x40), 0U);
  set(0x40, 0xffff'ffff);
}

TEST_F(IoApicTest, KeepsWhatAnEntryHasAndDropsTheRest) {
  set(low(3), 0xffff'ffff);
  set(high(3), 0xffff'ffff);
  EXPECT_EQ(get(low(3)), 0x0001'afffU) << "neither delivery status nor Remote IRR is the guest's to set";
  EXPECT_EQ(get(high(3)), 0xff00'0000U);
  // Anything but a doubleword at the window is no access to a register.
  const std::array<std::byte, 2> part{};
  ioapic.write(0x10, part);
  EXPECT_EQ(get(high(3)), 0xff00'0000U);
  std::array<std::byte, 8> wide{};
  ioapic.read(0x10, wide);
  EXPECT_EQ(wide[3], std::byte{0xff});
  EXPECT_EQ(wide[4], std::byte{0});
}

TEST_F(IoApicTest, AnEdgeIsTheMessageOfItsEntry) {
  auto it = line(4, Trigger::edge);
  ASSERT_TRUE(it->signal());
  EXPECT_EQ(router.count(), 0U) << "masked: lost";
  set(high(4), 0x0500'0000);
  set(low(4), 0x31);
  EXPECT_EQ(router.count(), 0U) << "a lost edge does not come back";
  ASSERT_TRUE(it->signal());
  EXPECT_EQ(router.last(), (MsiMessage{0xfee0'5000, 0x31}));
  ASSERT_TRUE(it->signal());
  EXPECT_EQ(router.count(), 2U) << "an edge has no end to wait for";
  set(low(4), 0x0931);  // logical, lowest priority
  ASSERT_TRUE(it->signal());
  EXPECT_EQ(router.last(), (MsiMessage{0xfee0'500c, 0x131}));
  EXPECT_FALSE(it->set_level(true).has_value());
  EXPECT_EQ(it->trigger_fd(), -1);
  EXPECT_EQ(it->resample_fd(), -1);
}

TEST_F(IoApicTest, ALevelComesAgainAfterEachEndWhileItIsHeld) {
  auto one = line(9, Trigger::level);
  auto other = line(9, Trigger::level);
  set(low(9), level | 0x41);
  ASSERT_TRUE(one->set_level(true));
  EXPECT_EQ(router.last(), (MsiMessage{0xfee0'0000, 0xc041}));
  EXPECT_EQ(get(low(9)), level | remote_irr | 0x41);
  ASSERT_TRUE(other->set_level(true));
  ASSERT_TRUE(one->set_level(true));
  EXPECT_EQ(router.count(), 1U) << "not yet ended";
  ioapic.end_of_interrupt(0x42);
  EXPECT_EQ(router.count(), 1U) << "another vector's end";
  ASSERT_TRUE(one->set_level(false));
  ioapic.end_of_interrupt(0x41);
  EXPECT_EQ(router.count(), 2U) << "the other holds it";
  other.reset();
  ioapic.end_of_interrupt(0x41);
  EXPECT_EQ(router.count(), 2U) << "a line that goes lets go";
  EXPECT_EQ(get(low(9)), level | 0x41);
  ASSERT_TRUE(one->set_level(true));
  EXPECT_EQ(router.count(), 3U);
}

TEST_F(IoApicTest, ALevelWaitsBehindTheMask) {
  auto it = line(5, Trigger::level);
  set(low(5), masked | level | 0x51);
  ASSERT_TRUE(it->set_level(true));
  EXPECT_EQ(router.count(), 0U);
  set(low(5), level | 0x51);
  EXPECT_EQ(router.count(0xc051), 1U);
  // Linux masks, ends, unmasks: the level that fell meanwhile does not come again.
  set(low(5), masked | level | 0x51);
  ASSERT_TRUE(it->set_level(false));
  ioapic.end_of_interrupt(0x51);
  set(low(5), level | 0x51);
  EXPECT_EQ(router.count(), 1U);
  ASSERT_TRUE(it->set_level(true));
  EXPECT_EQ(router.count(), 2U);
  set(low(5), 0x51);
  EXPECT_EQ(get(low(5)), 0x51U) << "Remote IRR goes with the level trigger";
}

TEST_F(IoApicTest, AResampleLineFallsWithTheEndAndTellsOfIt) {
  auto it = line(10, Trigger::level_resample);
  ASSERT_GE(it->resample_fd(), 0);
  set(low(10), level | 0x61);
  ASSERT_TRUE(it->signal());
  EXPECT_EQ(router.count(), 1U);
  EXPECT_FALSE(readable(it->resample_fd()));
  ioapic.end_of_interrupt(0x61);
  EXPECT_TRUE(readable(it->resample_fd()));
  EXPECT_EQ(router.count(), 1U) << "fallen";
  ASSERT_TRUE(it->signal());
  EXPECT_EQ(router.count(), 2U);
}

TEST_F(IoApicTest, RefusesPinsItDoesNotHaveAndMixedTriggers) {
  EXPECT_EQ(ioapic.line(24, Trigger::edge).error().code(), Errc::out_of_range);
  auto it = line(7, Trigger::edge);
  EXPECT_EQ(ioapic.line(7, Trigger::level).error().code(), Errc::already_exists);
  it.reset();
  EXPECT_TRUE(ioapic.line(7, Trigger::level).has_value());
  router.most_routes = router.routes();
  EXPECT_EQ(ioapic.line(8, Trigger::edge).error().code(), Errc::limit);
}

TEST_F(IoApicTest, MessagesAreTheHypervisors) {
  ASSERT_TRUE(ioapic.signal_msi({0xfee0'0000, 0x77}));
  auto route = ioapic.msi_route({0xfee0'1000, 0x78});
  ASSERT_TRUE(route.has_value() && (*route)->signal());
  EXPECT_EQ(router.count(0x77), 1U);
  EXPECT_EQ(router.count(0x78), 1U);
}

TEST_F(IoApicTest, RestoreGoesOnWhereSaveWas) {
  auto it = line(9, Trigger::level);
  set(0, 0x0300'0000);
  set(high(9), 0x0200'0000);
  set(low(9), level | 0x41);
  ASSERT_TRUE(it->set_level(true));
  const auto state = ioapic.save();
  EXPECT_EQ(state.redirection[9], 0x0200'0000'0000'c041U);

  test::TestRouter there;
  IoApic restored(there);
  auto made = restored.line(9, Trigger::level);
  ASSERT_TRUE(made.has_value() && (*made)->set_level(true));
  ASSERT_TRUE(restored.restore(state));
  EXPECT_EQ(restored.save(), state);
  EXPECT_EQ(there.count(), 0U) << "its interrupt was delivered there, and is not yet ended";
  restored.end_of_interrupt(0x41);
  EXPECT_EQ(there.last(), (MsiMessage{0xfee0'2000, 0xc041}));

  for (const std::uint64_t entry : {std::uint64_t{1} << 17, std::uint64_t{1} << 55, std::uint64_t{remote_irr}}) {
    auto wrong = state;
    wrong.redirection[23] = entry;
    EXPECT_EQ(restored.restore(wrong).error().code(), Errc::malformed);
  }
  auto wrong = state;
  wrong.id = 16;
  EXPECT_EQ(restored.restore(wrong).error().code(), Errc::malformed);
  EXPECT_EQ(restored.save().redirection[9], state.redirection[9]) << "nothing was restored";
}

TEST_F(IoApicTest, EveryAssertionIsSeenHoweverManyThreadsRaiseMaskAndEnd) {
  constexpr int rounds = 200;
  set(low(9), level | 0x41);
  std::atomic<bool> done{false};
  std::thread guest([&] {
    while (!done) {
      set(low(9), masked | level | 0x41);
      ioapic.end_of_interrupt(0x41);
      set(low(9), level | 0x41);
    }
  });
  std::vector<std::thread> devices;
  for (int i = 0; i < 2; ++i) {
    devices.emplace_back([&] {
      auto it = line(9, Trigger::level);
      for (int round = 0; round < rounds; ++round) {
        const auto before = router.count();
        EXPECT_TRUE(it->set_level(true));
        while (router.count() == before) std::this_thread::yield();  // a lost one hangs here
        EXPECT_TRUE(it->set_level(false));
      }
    });
  }
  for (auto& device : devices) device.join();
  done = true;
  guest.join();
}

}  // namespace
}  // namespace trivet::vmm
