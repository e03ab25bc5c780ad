// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <chrono>
#include <gtest/gtest.h>

#include <trivet/vmm/acpi_fixed_hardware.hpp>
#include <trivet/vmm/acpi_registers.hpp>
#include <trivet/vmm/i8042.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/panic_port.hpp>
#include <trivet/vmm/rtc.hpp>

#include "legacy_support.hpp"

namespace trivet::vmm {
namespace {

using testing::in;
using testing::out;
using testing::PowerRecorder;
using namespace std::chrono_literals;

TEST(I8042, CommandFeResets) {
  PowerRecorder power;
  I8042 keyboard(power);
  EXPECT_EQ(in(keyboard, 4) & 0x03, 0) << "ready for a command, as Linux waits for";
  out(keyboard, 4, 0xfe);
  EXPECT_EQ(power.resets, 1);
  EXPECT_EQ(power.power_offs, 0);
}

TEST(I8042, OnlyAPulseOfTheResetLineResets) {
  PowerRecorder power;
  I8042 keyboard(power);
  for (unsigned command = 0; command < 0x100; ++command) {
    if (command >= 0xf0 && (command & 1) == 0) continue;
    if (command == 0xd1) continue;
    out(keyboard, 4, command);
  }
  for (unsigned value = 0; value < 0x100; ++value) out(keyboard, 0, value);
  EXPECT_EQ(power.resets, 0);
}

TEST(I8042, OutputPortBitZeroResets) {
  PowerRecorder power;
  I8042 keyboard(power);
  out(keyboard, 4, 0xd1);
  out(keyboard, 0, 0x03);
  EXPECT_EQ(power.resets, 0);
  out(keyboard, 4, 0xd0);
  EXPECT_EQ(in(keyboard, 4) & 1, 1);
  EXPECT_EQ(in(keyboard, 0), 0x03);
  EXPECT_EQ(in(keyboard, 4) & 1, 0) << "the answer is taken";
  out(keyboard, 4, 0xd1);
  out(keyboard, 0, 0x02);
  EXPECT_EQ(power.resets, 1);
}

TEST(I8042, AnswersItsSelfTestAndKeepsItsControlByte) {
  PowerRecorder power;
  I8042 keyboard(power);
  out(keyboard, 4, 0xaa);
  EXPECT_EQ(in(keyboard, 0), 0x55);
  out(keyboard, 4, 0xab);
  EXPECT_EQ(in(keyboard, 4) & 1, 1) << "its test of the keyboard's line";
  EXPECT_EQ(in(keyboard, 0), 0);
  out(keyboard, 4, 0x60);
  out(keyboard, 0, 0x47);
  out(keyboard, 4, 0x20);
  EXPECT_EQ(in(keyboard, 0), 0x47);
  EXPECT_EQ(in(keyboard, 1), 0xff) << "port 0x61 is nobody's";
}

TEST(I8042, SaysThatThereIsNoKeyboard) {
  PowerRecorder power;
  I8042 keyboard(power);
  out(keyboard, 0, 0xff);  // a keyboard's reset
  EXPECT_EQ(in(keyboard, 4) & 0x61, 0x41) << "an answer, not of a mouse, and that it timed out";
  EXPECT_EQ(in(keyboard, 0), 0xfe);
  EXPECT_EQ(in(keyboard, 4) & 0x61, 0) << "the answer is taken";
  out(keyboard, 0, 0xff);
  out(keyboard, 4, 0xaa);
  EXPECT_EQ(in(keyboard, 4) & 0x61, 0x01) << "the answer to a command is none of a keyboard's";
  EXPECT_EQ(in(keyboard, 0), 0x55);
}

TEST(AcpiRegisters, SleepTypeFiveWithEnablePowersOff) {
  PowerRecorder power;
  AcpiRegisters acpi(power);
  out(acpi, 0, 5 << 2);
  out(acpi, 0, 1 << 5);
  out(acpi, 0, 1 << 5 | 4 << 2);
  out(acpi, 1, 0x80);
  EXPECT_EQ(power.power_offs, 0);
  out(acpi, 0, 1 << 5 | 5 << 2);
  EXPECT_EQ(power.power_offs, 1);
  EXPECT_EQ(power.resets, 0);
  EXPECT_EQ(in(acpi, 1), 0) << "the wake status is never set";
}

TEST(AcpiFixedHardware, CountsAndPowersOff) {
  static std::chrono::steady_clock::time_point now;
  PowerRecorder power;
  AcpiFixedHardware acpi(power, [] { return now; });
  const auto read = [&](std::uint64_t offset, std::size_t size) {
    std::uint32_t value = 0;
    acpi.read(offset, std::as_writable_bytes(std::span(&value, 1)).first(size));
    return value;
  };
  const auto write = [&](std::uint64_t offset, std::uint32_t value, std::size_t size) {
    acpi.write(offset, std::as_bytes(std::span(&value, 1)).first(size));
  };
  now = std::chrono::steady_clock::time_point(1s);
  EXPECT_EQ(read(0, 4), 3'579'545U);
  EXPECT_EQ(read(1, 1), 3'579'545U >> 8 & 0xff);
  now = std::chrono::steady_clock::time_point(5s);
  EXPECT_EQ(read(0, 4), 5 * 3'579'545U & 0xff'ffff) << "24 bits";
  now = std::chrono::steady_clock::time_point(10'000h);
  EXPECT_LE(read(0, 4), 0xff'ffffU);
  EXPECT_EQ(read(4, 4), 0U);
  EXPECT_EQ(read(12, 2), 1U) << "ACPI is enabled";
  write(12, 0, 2);
  EXPECT_EQ(read(12, 2), 1U);
  EXPECT_EQ(read(8, 4), 0U);
  write(10, 0x120, 2);
  EXPECT_EQ(read(8, 4), 0x0120'0000U);
  write(8, 0x0021'ffff, 4);
  EXPECT_EQ(read(10, 2), 0x21U);
  EXPECT_EQ(read(8, 2), 0U) << "no event was cleared into being";
  for (const unsigned control : {5U << 10, 1U << 13, 1U << 13 | 4U << 10}) write(12, control, 2);
  EXPECT_EQ(power.power_offs, 0);
  write(12, 1U << 13 | 5U << 10, 2);
  EXPECT_EQ(power.power_offs, 1);
}

TEST(AcpiRegisters, ResetTakesItsValueOnly) {
  PowerRecorder power;
  AcpiRegisters acpi(power);
  constexpr auto reset = layout::reset_port - layout::sleep_control_port;
  out(acpi, reset, 0);
  out(acpi, reset, 0xff);
  EXPECT_EQ(power.resets, 0);
  out(acpi, reset, layout::reset_value);
  EXPECT_EQ(power.resets, 1);
}

// 2026-11-21, a Saturday, 05:06:07 UTC.
constexpr std::chrono::sys_seconds moment = std::chrono::sys_days(std::chrono::year(2026) / 11 / 21) + 5h + 6min + 7s;
std::chrono::system_clock::time_point now_value = moment;
std::chrono::system_clock::time_point fixed_now() {
  return now_value;
}

class RtcTest : public ::testing::Test {
 protected:
  RtcTest() { now_value = moment; }
  std::uint8_t get(unsigned index) {
    out(rtc, 0, index);
    return in(rtc, 1);
  }
  void set(unsigned index, unsigned value) {
    out(rtc, 0, index);
    out(rtc, 1, value);
  }
  Rtc rtc{fixed_now};
};

TEST_F(RtcTest, TellsTheTimeInBcd) {
  EXPECT_EQ(get(0), 0x07);
  EXPECT_EQ(get(2), 0x06);
  EXPECT_EQ(get(4), 0x05);
  EXPECT_EQ(get(6), 7) << "Saturday";
  EXPECT_EQ(get(7), 0x21);
  EXPECT_EQ(get(8), 0x11);
  EXPECT_EQ(get(9), 0x26);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(0x0d), 0x80);
  now_value += 1h;
  EXPECT_EQ(get(4), 0x06);
}

TEST_F(RtcTest, TellsTheTimeInBinaryAndInTwelveHours) {
  set(0x0b, 0x06);
  EXPECT_EQ(get(7), 21);
  set(0x0b, 0x00);
  now_value = moment + 8h;  // 13:06
  EXPECT_EQ(get(4), 0x81);
  now_value = moment - 5h;  // 00:06
  EXPECT_EQ(get(4), 0x12);
  now_value = moment + 7h;  // 12:06
  EXPECT_EQ(get(4), 0x92);
}

TEST_F(RtcTest, SaysWhenItIsAboutToChange) {
  EXPECT_EQ(get(0x0a), 0x26);
  now_value = moment + 999'900us;
  EXPECT_EQ(get(0x0a), 0xa6);
  set(0x0b, 0x82);
  EXPECT_EQ(get(0x0a), 0x26) << "while it is set it does not change";
}

TEST_F(RtcTest, TheGuestSetsItAndItRunsOn) {
  set(0x0b, 0x82);
  set(0x32, 0x19);
  set(9, 0x99);
  set(8, 0x12);
  set(7, 0x31);
  set(4, 0x23);
  set(2, 0x59);
  set(0, 0x59);
  now_value += 1h;
  EXPECT_EQ(get(0), 0x59) << "held while it is set";
  set(0x0b, 0x02);
  now_value += 1s;
  EXPECT_EQ(get(9), 0x00);
  EXPECT_EQ(get(0x32), 0x20);
  EXPECT_EQ(get(7), 0x01);
  EXPECT_EQ(get(4), 0x00);
}

TEST_F(RtcTest, ATimeThatIsNoneChangesNothing) {
  set(0x0b, 0x82);
  set(8, 0x13);
  set(7, 0x99);
  set(0x0b, 0x02);
  EXPECT_EQ(get(8), 0x11);
  EXPECT_EQ(get(7), 0x21);
  for (unsigned value = 0; value < 256; ++value) set(4, value);
  EXPECT_EQ(get(2), 0x06);
}

TEST_F(RtcTest, KeepsItsMemoryAndIgnoresTheNmiBit) {
  set(0x80 | 0x40, 0x77);
  EXPECT_EQ(get(0x40), 0x77);
  EXPECT_EQ(get(0x0c), 0);
  set(0x0c, 0xff);
  set(0x0d, 0x00);
  EXPECT_EQ(get(0x0c), 0);
  EXPECT_EQ(get(0x0d), 0x80);
  EXPECT_EQ(in(rtc, 0), 0xff) << "the index port cannot be read";
}

TEST_F(RtcTest, StateRoundTrip) {
  set(0x40, 0x77);
  set(4, 0x10);
  const auto state = rtc.save();
  Rtc other(fixed_now);
  other.restore(state);
  EXPECT_EQ(other.save(), state);
  out(other, 0, 4);
  EXPECT_EQ(in(other, 1), 0x10);
}

TEST_F(RtcTest, AnImpossibleOffsetInAStateIsCutToWhatClocksHold) {
  auto state = rtc.save();
  for (const auto offset : {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    state.offset_seconds = offset;
    rtc.restore(state);
    for (unsigned index = 0; index < 128; ++index) (void)get(index);
  }
}

TEST(PanicPort, ReportsACrashAndSaysWhatItKnows) {
  testing::PowerRecorder power;
  PanicPort port(power);
  EXPECT_EQ(testing::in(port, 0), 1);
  testing::out(port, 0, 2);  // an event that it does not know
  EXPECT_EQ(power.crashes, 0);
  testing::out(port, 0, 3);
  EXPECT_EQ(power.crashes, 1);
}

}  // namespace
}  // namespace trivet::vmm
