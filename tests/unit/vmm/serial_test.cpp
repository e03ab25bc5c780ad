// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <string>
#include <string_view>

#include <trivet/vmm/serial.hpp>

#include "legacy_support.hpp"

namespace trivet::vmm {
namespace {

using testing::CountingLine;
using testing::in;
using testing::out;

constexpr std::uint64_t data = 0, enable = 1, id = 2, fifo = 2, line = 3, modem = 4, line_status = 5, modem_status = 6,
                        scratch = 7;
constexpr std::uint8_t latch = 0x80;

class Wire final : public SerialPeer {
 public:
  bool transmit(std::byte byte) noexcept override {
    if (room == 0) return false;
    --room;
    sent += static_cast<char>(byte);
    return true;
  }
  [[nodiscard]] bool ready() const noexcept override { return room >= 16; }
  void receive_room() noexcept override { ++rooms; }
  std::string sent;
  std::size_t room = 1000;
  int rooms = 0;
};

class SerialTest : public ::testing::Test {
 protected:
  SerialTest() { port.connect(&interrupt); }
  std::size_t receive(std::string_view text) { return port.receive(std::as_bytes(std::span(text))); }
  CountingLine interrupt;
  Wire wire;
  Serial port{wire};
};

TEST_F(SerialTest, SendsWhatTheGuestWrites) {
  for (const char c : std::string_view("hello")) out(port, data, static_cast<unsigned char>(c));
  EXPECT_EQ(wire.sent, "hello");
  EXPECT_EQ(in(port, line_status), 0x60);
  EXPECT_EQ(interrupt.signals, 0) << "no interrupt is enabled";
}

TEST_F(SerialTest, DivisorLatchHidesDataAndEnable) {
  out(port, line, latch | 3);
  out(port, data, 0x34);
  out(port, enable, 0x12);
  EXPECT_EQ(in(port, data), 0x34);
  EXPECT_EQ(in(port, enable), 0x12);
  out(port, line, 3);
  EXPECT_EQ(in(port, enable), 0);
  EXPECT_EQ(wire.sent, "");
  EXPECT_EQ(port.save().divisor, 0x1234);
}

TEST_F(SerialTest, ReceivesInOrderAndSaysSo) {
  EXPECT_EQ(in(port, line_status) & 1, 0);
  EXPECT_EQ(receive("ab"), 2u);
  EXPECT_EQ(in(port, line_status) & 1, 1);
  EXPECT_EQ(in(port, data), 'a');
  EXPECT_EQ(in(port, data), 'b');
  EXPECT_EQ(in(port, line_status) & 1, 0);
  EXPECT_EQ(in(port, data), 0) << "an empty FIFO reads 0";
  EXPECT_EQ(wire.rooms, 2);
}

TEST_F(SerialTest, FifoIsBounded) {
  const std::string much(100, 'x');
  EXPECT_EQ(receive(much), Serial::fifo_size);
  EXPECT_EQ(receive("y"), 0u);
  EXPECT_EQ(port.free_space(), 0u);
  (void)in(port, data);
  EXPECT_EQ(receive("yz"), 1u);
}

TEST_F(SerialTest, ReceiveInterruptOnceUntilTheFifoIsEmpty) {
  out(port, enable, 1);
  receive("ab");
  EXPECT_EQ(interrupt.signals, 1);
  EXPECT_EQ(in(port, id), 0x04);
  receive("c");
  EXPECT_EQ(interrupt.signals, 1) << "the line is high already: there is no new edge";
  for (int i = 0; i < 3; ++i) (void)in(port, data);
  EXPECT_EQ(in(port, id), 0x01);
  receive("d");
  EXPECT_EQ(interrupt.signals, 2);
}

TEST_F(SerialTest, TransmitInterruptWhenEnabledAndAfterEachByte) {
  out(port, enable, 2);
  EXPECT_EQ(interrupt.signals, 1) << "enabling it with an empty transmitter interrupts";
  EXPECT_EQ(in(port, id), 0x02);
  EXPECT_EQ(in(port, id), 0x01) << "reading it takes it away";
  out(port, data, 'x');
  EXPECT_EQ(interrupt.signals, 2);
  EXPECT_EQ(in(port, id), 0x02);
  out(port, enable, 2);
  EXPECT_EQ(interrupt.signals, 2) << "it was enabled before";
}

TEST_F(SerialTest, ReceivedComesBeforeTransmit) {
  out(port, enable, 3);
  receive("x");
  EXPECT_EQ(in(port, id), 0x04);
  (void)in(port, data);
  EXPECT_EQ(in(port, id), 0x02);
}

TEST_F(SerialTest, FifoControl) {
  EXPECT_EQ(in(port, id), 0x01);
  receive("abc");
  out(port, fifo, 0x07);
  EXPECT_EQ(in(port, id), 0xc1) << "a 16550A shows its FIFOs";
  EXPECT_EQ(in(port, line_status) & 1, 0) << "cleared";
  receive("abc");
  out(port, fifo, 0x01);
  EXPECT_EQ(in(port, line_status) & 1, 1) << "not cleared";
  out(port, fifo, 0x00);
  EXPECT_EQ(in(port, line_status) & 1, 0) << "switching the FIFOs clears them";
}

TEST_F(SerialTest, LoopbackKeepsTheLineQuietAndReportsAnOverrun) {
  out(port, modem, 0x10);
  out(port, data, 'q');
  EXPECT_EQ(wire.sent, "");
  EXPECT_EQ(in(port, data), 'q');
  EXPECT_EQ(receive("outside"), 7u) << "taken and dropped: the line is cut";
  EXPECT_EQ(in(port, line_status) & 1, 0);
  out(port, enable, 4);
  for (std::size_t i = 0; i <= Serial::fifo_size; ++i) out(port, data, 'z');
  EXPECT_EQ(in(port, id), 0x06);
  EXPECT_EQ(in(port, line_status) & 0x02, 0x02);
  EXPECT_EQ(in(port, line_status) & 0x02, 0) << "reading it clears it";
}

TEST_F(SerialTest, LoopbackFoldsModemOutputsBack) {
  EXPECT_EQ(in(port, modem_status), 0xb0);
  const std::pair<unsigned, unsigned> lines[] = {{0x01, 0x20}, {0x02, 0x10}, {0x04, 0x40}, {0x08, 0x80}, {0x0a, 0x90}};
  for (const auto& [control, status] : lines) {
    out(port, modem, 0x10 | control);
    EXPECT_EQ(in(port, modem_status), status);
  }
}

TEST_F(SerialTest, AFullPeerShowsABusyTransmitterAndLosesOnlyWhatIgnoresIt) {
  wire.room = 16;
  out(port, enable, 2);
  (void)in(port, id);
  const auto before = interrupt.signals;
  out(port, data, 'a');
  EXPECT_EQ(in(port, line_status) & 0x60, 0);
  EXPECT_EQ(in(port, id), 0x01) << "not empty: no interrupt";
  for (int i = 0; i < 15; ++i) out(port, data, 'b');
  EXPECT_EQ(port.lost(), 0u);
  out(port, data, 'c');
  EXPECT_EQ(port.lost(), 1u);
  wire.room = 100;
  port.transmitter_ready();
  EXPECT_EQ(interrupt.signals, before + 1);
  EXPECT_EQ(in(port, line_status) & 0x60, 0x60);
}

TEST_F(SerialTest, ScratchAndReservedBits) {
  out(port, scratch, 0xa5);
  EXPECT_EQ(in(port, scratch), 0xa5);
  out(port, enable, 0xff);
  EXPECT_EQ(in(port, enable), 0x0f);
  out(port, modem, 0xff);
  EXPECT_EQ(in(port, modem), 0x1f);
  out(port, line_status, 0);
  EXPECT_EQ(in(port, line_status), 0x60);
  std::array<std::byte, 4> wide{};
  port.read(scratch, wide);
  EXPECT_EQ(wide[0], std::byte{0xa5});
  EXPECT_EQ(wide[1], std::byte{0xff});
}

TEST_F(SerialTest, StateRoundTrip) {
  out(port, line, latch | 3);
  out(port, data, 1);
  out(port, line, 3);
  out(port, fifo, 1);
  out(port, enable, 5);
  out(port, scratch, 9);
  receive("left over");
  const auto state = port.save();

  Wire other_wire;
  CountingLine other_line;
  Serial other(other_wire);
  other.connect(&other_line);
  ASSERT_TRUE(other.restore(state));
  EXPECT_EQ(other.save(), state);
  EXPECT_EQ(other_line.signals, 1) << "what was pending interrupts there";
  EXPECT_EQ(in(other, data), 'l');
}

TEST_F(SerialTest, RefusesAStateThatCannotBe) {
  auto state = port.save();
  state.received.resize(Serial::fifo_size + 1);
  EXPECT_EQ(port.restore(state).error().code(), Errc::malformed);
  EXPECT_TRUE(port.save().received.empty());
}

TEST(Serial, WorksWithoutALine) {
  Wire wire;
  Serial port(wire);
  out(port, enable, 0x0f);
  out(port, data, 'x');
  EXPECT_EQ(wire.sent, "x");
}

}  // namespace
}  // namespace trivet::vmm
