// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <initializer_list>

#include <trivet/test/test_router.hpp>
#include <trivet/vmm/ioapic.hpp>
#include <trivet/vmm/pic.hpp>

namespace trivet::vmm {
namespace {

constexpr std::uint8_t eoi = 0x20, read_isr = 0x0b, read_irr = 0x0a;

class PicTest : public ::testing::Test {
 protected:
  static void out(BusDevice& ports, unsigned offset, unsigned value) {
    const auto byte = static_cast<std::byte>(value);
    ports.write(offset, {&byte, 1});
  }
  static unsigned in(BusDevice& ports, unsigned offset) {
    std::byte byte{};
    ports.read(offset, {&byte, 1});
    return std::to_integer<unsigned>(byte);
  }
  static void initialize(BusDevice& ports, unsigned vector, unsigned wiring, unsigned icw4 = 1) {
    out(ports, 0, 0x11);
    out(ports, 1, vector);
    out(ports, 1, wiring);
    out(ports, 1, icw4);
  }
  void start(unsigned icw4 = 1) {
    initialize(pic.master(), 0x30, 4, icw4);
    initialize(pic.slave(), 0x38, 2, icw4);
  }
  void edge(unsigned line) {
    pic.set_line(line, false);
    pic.set_line(line, true);
  }

  bool intr = false;
  unsigned changes = 0;
  Pic pic{[this](bool asserted) { intr = asserted, ++changes; }};
};

TEST_F(PicTest, IsMaskedUntilItIsProgrammed) {
  for (unsigned line = 0; line < 20; ++line) edge(line);
  EXPECT_FALSE(intr);
  EXPECT_EQ(pic.acknowledge(), std::nullopt);
  EXPECT_EQ(in(pic.master(), 1), 0xffU);
  start();
  EXPECT_FALSE(intr) << "an edge must come after ICW1";
  EXPECT_EQ(in(pic.master(), 1), 0U) << "ICW1 clears the mask";
}

TEST_F(PicTest, AnEdgeIsTakenOnceByPriority) {
  start();
  edge(4);
  edge(3);
  EXPECT_TRUE(intr);
  EXPECT_EQ(in(pic.master(), 0), 0x18U) << "requests";
  EXPECT_EQ(pic.acknowledge(), 0x33);
  EXPECT_FALSE(intr) << "4 waits behind 3";
  out(pic.master(), 0, read_isr);
  EXPECT_EQ(in(pic.master(), 0), 0x08U);
  edge(1);
  EXPECT_TRUE(intr) << "1 goes before 3";
  EXPECT_EQ(pic.acknowledge(), 0x31);
  out(pic.master(), 0, eoi);
  EXPECT_EQ(in(pic.master(), 0), 0x08U) << "the end of the highest in service";
  out(pic.master(), 0, eoi);
  EXPECT_EQ(pic.acknowledge(), 0x34);
  out(pic.master(), 0, 0x64);  // specific
  EXPECT_EQ(in(pic.master(), 0), 0U);
  EXPECT_EQ(pic.acknowledge(), std::nullopt);
}

TEST_F(PicTest, MaskedRequestsWaitAndFallingOnesGo) {
  start();
  out(pic.master(), 1, 0xff);
  edge(5);
  edge(6);
  EXPECT_FALSE(intr);
  pic.set_line(6, false);
  out(pic.master(), 1, 0x00);
  EXPECT_EQ(pic.acknowledge(), 0x35);
  out(pic.master(), 0, eoi);
  EXPECT_FALSE(intr);
}

TEST_F(PicTest, TheSlaveIsBehindInputTwo) {
  start();
  edge(12);
  edge(8);
  EXPECT_EQ(pic.acknowledge(), 0x38);
  EXPECT_FALSE(intr) << "12 waits behind 8";
  edge(3);
  EXPECT_FALSE(intr) << "and 3 behind the whole slave";
  out(pic.slave(), 0, eoi);
  EXPECT_FALSE(intr) << "input 2 is still in service";
  out(pic.master(), 0, eoi);
  EXPECT_EQ(pic.acknowledge(), 0x3c);
  out(pic.slave(), 0, eoi);
  out(pic.master(), 0, eoi);
  EXPECT_EQ(pic.acknowledge(), 0x33);
}

TEST_F(PicTest, ASlaveInServiceInterruptsAgainWhenFullyNested) {
  start(0x11);
  edge(12);
  EXPECT_EQ(pic.acknowledge(), 0x3c);
  edge(9);
  EXPECT_EQ(pic.acknowledge(), 0x39);
}

TEST_F(PicTest, LevelsStayAsLongAsTheyAreHeld) {
  start();
  out(pic.edge_level_control(), 0, 0xff);
  out(pic.edge_level_control(), 1, 0xff);
  EXPECT_EQ(in(pic.edge_level_control(), 0), 0xf8U) << "timer, keyboard and cascade are edges";
  EXPECT_EQ(in(pic.edge_level_control(), 1), 0xdeU) << "so are clock and coprocessor";
  pic.set_line(10, true);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(pic.acknowledge(), 0x3a);
    out(pic.slave(), 0, eoi);
    out(pic.master(), 0, eoi);
  }
  pic.set_line(10, false);
  EXPECT_FALSE(intr);
}

TEST_F(PicTest, EndsByItselfAndRotates) {
  start(0x03);
  out(pic.master(), 0, 0x80);  // rotate in automatic EOI
  edge(1);
  edge(4);
  EXPECT_EQ(pic.acknowledge(), 0x31);
  edge(1);
  EXPECT_EQ(pic.acknowledge(), 0x34) << "1 is lowest now";
  EXPECT_EQ(pic.acknowledge(), 0x31);
  out(pic.master(), 0, read_isr);
  EXPECT_EQ(in(pic.master(), 0), 0U);
  out(pic.master(), 0, 0x00);
  out(pic.master(), 0, 0xc3);  // 3 lowest
  edge(3);
  edge(5);
  EXPECT_EQ(pic.acknowledge(), 0x35);
}

TEST_F(PicTest, SpecialMaskLetsLowerOnesIn) {
  start();
  edge(3);
  EXPECT_EQ(pic.acknowledge(), 0x33);
  edge(6);
  EXPECT_FALSE(intr);
  out(pic.master(), 0, 0x68);
  out(pic.master(), 1, 0x08);
  EXPECT_EQ(pic.acknowledge(), 0x36);
}

TEST_F(PicTest, APollIsAnAcknowledge) {
  start();
  out(pic.master(), 0, 0x0c);
  EXPECT_EQ(in(pic.master(), 0) & 0x80U, 0U) << "nothing waits";
  edge(4);
  out(pic.master(), 0, 0x0c);
  EXPECT_EQ(in(pic.master(), 0), 0x84U);
  EXPECT_FALSE(intr);
  out(pic.master(), 0, read_isr);
  EXPECT_EQ(in(pic.master(), 0), 0x10U);
  out(pic.master(), 0, read_irr);
  EXPECT_EQ(in(pic.master(), 0), 0U);
}

TEST_F(PicTest, HalfInitializedItIsSilent) {
  out(pic.master(), 0, 0x11);
  edge(4);
  EXPECT_FALSE(intr);
  out(pic.master(), 1, 0x27);
  out(pic.master(), 1, 4);
  EXPECT_FALSE(intr);
  out(pic.master(), 1, 1);
  EXPECT_TRUE(intr);
  EXPECT_EQ(pic.acknowledge(), 0x24) << "a vector base is a multiple of 8";
}

TEST_F(PicTest, SavesAndRestores) {
  start(0x03);
  edge(12);
  edge(9);
  out(pic.edge_level_control(), 1, 0x04);
  out(pic.slave(), 1, 0x80);
  const auto state = pic.save();
  bool other_intr = false;
  Pic other([&](bool asserted) { other_intr = asserted; });
  ASSERT_TRUE(other.restore(state));
  EXPECT_TRUE(other_intr);
  EXPECT_EQ(other.save(), state);
  for (auto* one : {&pic, &other}) {
    EXPECT_EQ(one->acknowledge(), 0x39);
    EXPECT_EQ(one->acknowledge(), 0x3c);
    EXPECT_EQ(one->acknowledge(), std::nullopt);
  }
}

TEST_F(PicTest, RefusesStatesThatCannotBe) {
  start();
  const auto good = pic.save();
  for (const auto spoil : std::initializer_list<void (*)(PicState&)>{
           [](PicState& s) { s.master.vector_base = 0x31; }, [](PicState& s) { s.slave.lowest = 8; },
           [](PicState& s) { s.master.icw_expected = 1; }, [](PicState& s) { s.master.icw_expected = 5; },
           [](PicState& s) { s.slave.elcr = 0x01; }}) {
    auto bad = good;
    spoil(bad);
    const auto restored = pic.restore(bad);
    ASSERT_FALSE(restored);
    EXPECT_EQ(restored.error().code(), Errc::malformed);
    EXPECT_EQ(pic.save(), good);
  }
}

TEST_F(PicTest, SeesTheLinesOfTheIoApic) {
  test::TestRouter router;
  IoApic ioapic(router, &pic);
  start();
  out(pic.edge_level_control(), 1, 0x04);
  auto serial = ioapic.line(4, Trigger::edge);
  auto first = ioapic.line(10, Trigger::level);
  auto second = ioapic.line(10, Trigger::level);
  auto timer = ioapic.line(2, Trigger::edge);
  ASSERT_TRUE(serial && first && second && timer);
  EXPECT_TRUE((*timer)->signal());
  EXPECT_FALSE(intr) << "pin 2 is the timer's, input 2 the cascade";
  EXPECT_TRUE((*serial)->signal());
  EXPECT_EQ(pic.acknowledge(), 0x34);
  out(pic.master(), 0, eoi);
  EXPECT_TRUE((*serial)->signal()) << "each signal is an edge";
  EXPECT_EQ(pic.acknowledge(), 0x34);
  out(pic.master(), 0, eoi);
  EXPECT_TRUE((*first)->set_level(true));
  EXPECT_TRUE((*second)->set_level(true));
  EXPECT_TRUE((*first)->set_level(false));
  EXPECT_TRUE(intr) << "the other holds it";
  EXPECT_TRUE((*second)->set_level(false));
  EXPECT_FALSE(intr);
}

}  // namespace
}  // namespace trivet::vmm
