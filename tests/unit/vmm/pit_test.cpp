// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <initializer_list>

#include <trivet/vmm/pit.hpp>

namespace trivet::vmm {
namespace {

constexpr unsigned control = 3;

class PitTest : public ::testing::Test {
 protected:
  void out(unsigned offset, unsigned value) {
    const auto byte = static_cast<std::byte>(value);
    pit.write(offset, {&byte, 1});
  }
  unsigned in(unsigned offset) {
    std::byte byte{};
    pit.read(offset, {&byte, 1});
    return std::to_integer<unsigned>(byte);
  }
  void load(unsigned counter, unsigned mode, unsigned count) {
    out(control, counter << 6 | 0x30 | mode << 1);
    out(counter, count & 0xff);
    out(counter, count >> 8);
  }
  unsigned count(unsigned counter) {
    const unsigned low = in(counter);
    return low | in(counter) << 8;
  }
  void port_b(unsigned value) {
    const auto byte = static_cast<std::byte>(value);
    pit.port_b().write(0, {&byte, 1});
  }
  unsigned port_b() {
    std::byte byte{};
    pit.port_b().read(0, {&byte, 1});
    return std::to_integer<unsigned>(byte);
  }
  bool out2() { return (port_b() & 0x20) != 0; }
  /// So that many clocks are over and the next is not.
  void pass(std::uint64_t clocks) { now += (clocks * 1'000'000'000 + Pit::frequency_hz - 1) / Pit::frequency_hz; }
  void pass_to_wake() {
    ASSERT_TRUE(wake_at);
    now = *wake_at;
    pit.wake();
  }

  std::uint64_t now = 1'000'000;
  unsigned ticks = 0;
  std::optional<std::uint64_t> wake_at;
  Pit pit{{[this] { return now; }, [this] { ++ticks; }, [this](std::optional<std::uint64_t> at) { wake_at = at; }}};
};

TEST_F(PitTest, ARateGeneratorTicksAtItsRate) {
  load(0, 2, 11932);  // 100 Hz
  const auto started = now;
  for (int i = 0; i < 100; ++i) pass_to_wake();
  EXPECT_EQ(ticks, 100U);
  const auto nominal = 100 * 11932ULL * 1'000'000'000 / Pit::frequency_hz;
  EXPECT_GE(now - started, nominal);
  EXPECT_LE(now - started, nominal + 1) << "no drift";
  const auto due = *wake_at;
  pit.wake();
  EXPECT_EQ(ticks, 100U) << "too early is no tick";
  EXPECT_EQ(wake_at, due);
  now += 55'000'000;  // five and a half periods late
  pit.wake();
  EXPECT_EQ(ticks, 101U) << "those missed are one";
  EXPECT_LT(*wake_at - now, 10'000'000U);
}

TEST_F(PitTest, NoGuestMakesItTickWithoutEnd) {
  for (const unsigned mode : {2U, 3U}) {
    load(0, mode, 1);
    EXPECT_GE(*wake_at, now + Pit::shortest_tick_ns);
    pass_to_wake();
    EXPECT_GE(*wake_at, now + Pit::shortest_tick_ns);
  }
}

TEST_F(PitTest, AControlWordStopsTheTicks) {
  load(0, 3, 1000);
  ASSERT_TRUE(wake_at);
  out(control, 0x34);
  EXPECT_FALSE(wake_at);
  now += 1'000'000'000;
  pit.wake();
  EXPECT_EQ(ticks, 0U);
}

TEST_F(PitTest, TheInterruptOnTerminalCountComesOnce) {
  load(0, 0, 1000);
  pass(400);
  EXPECT_EQ(count(0), 600U);
  pass_to_wake();
  EXPECT_EQ(ticks, 1U);
  EXPECT_FALSE(wake_at && *wake_at > now);
  pass(10);
  EXPECT_EQ(count(0), 0xfff6U) << "it goes on counting";
  // Half a count stops it.
  load(0, 0, 1000);
  pass(10);
  out(0, 0x55);
  pass(100);
  EXPECT_FALSE(wake_at);
  EXPECT_EQ(in(0), 990U & 0xff);
}

TEST_F(PitTest, AStrobeTicksOnceAndATriggeredOneNever) {
  load(0, 4, 1000);
  pass_to_wake();
  EXPECT_EQ(ticks, 1U);
  for (const unsigned mode : {1U, 5U}) {
    wake_at.reset();
    load(0, mode, 1000);
    EXPECT_FALSE(wake_at) << "the gate of counter 0 never rises";
  }
}

TEST_F(PitTest, CountsAsItsModeSays) {
  load(2, 2, 1000);
  port_b(1);
  pass(250);
  EXPECT_EQ(count(2), 750U);
  pass(1000);
  EXPECT_EQ(count(2), 750U);
  load(2, 3, 1000);
  pass(100);
  EXPECT_EQ(count(2), 800U) << "by twos";
  pass(500);
  EXPECT_EQ(count(2), 800U) << "twice a period";
  load(2, 2, 0);
  pass(1);
  EXPECT_EQ(count(2), 0xffffU) << "0 is 65536";
}

TEST_F(PitTest, CountsInDecimalWhenAsked) {
  out(control, 0xb1);  // counter 2, mode 0, BCD
  out(2, 0x00);
  out(2, 0x10);
  port_b(1);
  pass(1);
  EXPECT_EQ(count(2), 0x0999U);
  pass(999);
  EXPECT_EQ(count(2), 0x0000U);
  pass(1);
  EXPECT_EQ(count(2), 0x9999U);
}

TEST_F(PitTest, LinuxCalibratesWithCounterTwo) {
  port_b(0x01);
  load(2, 0, 11932);
  EXPECT_FALSE(out2());
  pass(11931);
  EXPECT_FALSE(out2());
  pass(1);
  EXPECT_TRUE(out2());
  load(2, 0, 11932);
  EXPECT_FALSE(out2()) << "a new count lowers it";
}

TEST_F(PitTest, TheGateHoldsRestartsOrTriggers) {
  load(2, 0, 1000);
  pass(500);
  EXPECT_EQ(count(2), 1000U) << "the gate is closed at first";
  port_b(1);
  pass(300);
  port_b(0);
  pass(300);
  EXPECT_EQ(count(2), 700U) << "held";
  port_b(1);
  pass(700);
  EXPECT_TRUE(out2());

  port_b(0);
  load(2, 1, 1000);
  EXPECT_TRUE(out2()) << "a one-shot is high until triggered";
  port_b(1);
  EXPECT_FALSE(out2());
  port_b(0);
  pass(1000);
  EXPECT_TRUE(out2()) << "and does not mind the gate's fall";

  port_b(1);
  load(2, 3, 1000);
  pass(600);
  EXPECT_FALSE(out2());
  port_b(0);
  EXPECT_TRUE(out2());
  port_b(1);
  EXPECT_EQ(count(2), 1000U) << "a rise begins a period";
}

TEST_F(PitTest, PortBKeepsTheSpeakerAndShowsARefresh) {
  port_b(0xff);
  EXPECT_EQ(port_b() & 0x0f, 0x03U);
  port_b(0);
  EXPECT_EQ(port_b() & 0x0f, 0U);
  const auto before = port_b() & 0x10;
  now += 15'085;
  EXPECT_NE(port_b() & 0x10, before);
}

TEST_F(PitTest, LatchesStayUntilTheyAreRead) {
  load(0, 2, 1000);
  pass(100);
  out(control, 0x00);  // latch counter 0
  pass(100);
  out(control, 0x00);
  EXPECT_EQ(count(0), 900U) << "the first latch";
  EXPECT_EQ(count(0), 800U);
  out(control, 0xc2);  // read back count and status of counter 0
  pass(50);
  EXPECT_EQ(in(0), 0xb4U) << "output high, both bytes, mode 2";
  EXPECT_EQ(count(0), 800U);
  out(control, 0x34);
  out(control, 0xe2);  // status only
  EXPECT_EQ(in(0), 0xf4U) << "no count yet";
}

TEST_F(PitTest, ReadsAndWritesOneByteWhenAsked) {
  out(control, 0x14);  // counter 0, low byte, mode 2
  out(0, 200);
  pass(50);
  EXPECT_EQ(in(0), 150U);
  EXPECT_EQ(in(0), 150U);
  out(control, 0x24);  // high byte
  out(0, 0x10);
  pass(0x100);
  EXPECT_EQ(in(0), 0x0fU);
  EXPECT_EQ(in(control), 0xffU) << "write-only";
}

TEST_F(PitTest, SavesAndRestores) {
  load(0, 2, 11932);
  load(2, 0, 5000);
  port_b(0x03);
  pass(1000);
  out(control, 0xc2);
  out(2, 0x12);  // half a count
  const auto state = pit.save();
  const auto left = *wake_at - now;

  std::uint64_t later = 77'000'000'000;
  std::optional<std::uint64_t> wakes;
  Pit other({[&] { return later; }, [] {}, [&](std::optional<std::uint64_t> at) { wakes = at; }});
  ASSERT_TRUE(other.restore(state));
  EXPECT_EQ(other.save(), state);
  ASSERT_TRUE(wakes);
  EXPECT_NEAR(static_cast<double>(*wakes - later), static_cast<double>(left), 1.0);
}

TEST_F(PitTest, RefusesStatesThatCannotBe) {
  load(0, 2, 11932);
  const auto good = pit.save();
  for (const auto spoil : std::initializer_list<void (*)(PitState&)>{
           [](PitState& s) { s.counters[0].mode = 6; }, [](PitState& s) { s.counters[1].access = 0; },
           [](PitState& s) { s.counters[1].access = 4; }, [](PitState& s) { s.counters[0].gate = false; },
           [](PitState& s) { s.counters[2].loaded = false, s.counters[2].counting = true; }}) {
    auto bad = good;
    spoil(bad);
    const auto restored = pit.restore(bad);
    ASSERT_FALSE(restored);
    EXPECT_EQ(restored.error().code(), Errc::malformed);
    EXPECT_EQ(pit.save(), good);
  }
}

}  // namespace
}  // namespace trivet::vmm
