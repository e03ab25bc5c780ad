// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "emulator_support.hpp"

namespace trivet::mshv::emulator::test {
namespace {

using Kind = Outcome::Kind;

TEST(EmulatorMove, StoresToADeviceAndStandsBehindTheInstruction) {
  Guest guest;
  guest.state.gp[rdi] = device_at + 4;
  guest.state.gp[rax] = 0xaabb'ccdd'eeff'0011;
  TRIVET_EXPECT_DONE(guest.run({0x89, 0x07}));  // mov [rdi], eax
  EXPECT_EQ(guest.seen, (std::vector<Seen>{{Seen::store, device_at + 4, 4, 0xeeff'0011}}));
  EXPECT_EQ(guest.state.rip, code_at + 2);
}

TEST(EmulatorMove, ThirtyTwoBitsClearTheUpperHalfAndSixteenDoNot) {
  Guest guest;
  guest.state.gp[rdi] = device_at;
  guest.state.gp[rax] = ~std::uint64_t{0};
  TRIVET_EXPECT_DONE(guest.run({0x66, 0x8b, 0x07}));
  EXPECT_EQ(guest.state.gp[rax], 0xffff'ffff'ffff'7788);
  guest.state.rip = code_at;
  TRIVET_EXPECT_DONE(guest.run({0x8b, 0x07}));
  EXPECT_EQ(guest.state.gp[rax], 0x5566'7788U);
}

TEST(EmulatorMove, AnAccessFromRamIntoADeviceComesInTwoPieces) {
  Guest guest;
  guest.state.gp[rdi] = device_at - 3;
  guest.state.gp[rax] = 0x8877'6655'4433'2211;
  TRIVET_EXPECT_DONE(guest.run({0x48, 0x89, 0x07}));
  EXPECT_EQ(guest.at(device_at - 3, 3), 0x33'2211U);
  EXPECT_EQ(guest.seen,
            (std::vector<Seen>{{Seen::store, device_at, 4, 0x7766'5544}, {Seen::store, device_at + 4, 1, 0x88}}));
}

TEST(EmulatorMove, AWriteToRomIsADevicesAndAReadIsNot) {
  Guest guest;
  guest.put(rom_at, 0x77);
  guest.state.gp[rdi] = rom_at;
  TRIVET_EXPECT_DONE(guest.run({0x48, 0xff, 0x07}));  // inc qword [rdi]
  EXPECT_EQ(guest.seen, (std::vector<Seen>{{Seen::store, rom_at, 8, 0x78}}));
  EXPECT_EQ(guest.at(rom_at), 0x77U);
}

TEST(EmulatorMove, ADirtyLogHearsOfEachWriteToRam) {
  Guest guest;
  guest.state.gp[rdi] = 0x80fff;
  TRIVET_EXPECT_DONE(guest.run({0x66, 0x89, 0x07}));
  EXPECT_EQ(guest.written, (std::vector<GuestAddress>{{0x80fff}, {0x81000}}));
}

TEST(EmulatorMove, SixteenBytesComeAsTwoOfEight) {
  Guest guest;
  guest.state.gp[rdi] = device_at;
  TRIVET_EXPECT_DONE(guest.run({0x0f, 0x10, 0x0f}));  // movups xmm1, [rdi]
  ASSERT_EQ(guest.seen.size(), 2U);
  EXPECT_EQ(guest.seen[1].at, device_at + 8);
  EXPECT_EQ(guest.xmm[1][8], std::byte{0x88});
}

TEST(EmulatorMove, AnAlignedMoveFaultsBeforeItsPage) {
  Guest guest;
  guest.state.gp[rdi] = device_at + 8;
  expect_exception(guest.run({0x0f, 0x28, 0x0f}), 13, 0);
  EXPECT_TRUE(guest.seen.empty());
}

TEST(EmulatorMove, SseFollowsTheControlRegisters) {
  Guest guest;
  guest.state.gp[rdi] = device_at;
  guest.state.cr4 = 0;
  expect_exception(guest.run({0x0f, 0x10, 0x0f}), 6);
  guest.state.cr4 = 0x200;
  guest.state.cr0 |= 8;
  expect_exception(guest.run({0x0f, 0x10, 0x0f}), 7);
  guest.state.cr0 |= 4;
  expect_exception(guest.run({0x0f, 0x10, 0x0f}), 6);
}

TEST(EmulatorMove, ARegisterThatTheHostCannotGiveChangesNothing) {
  Guest guest;
  guest.state.gp[rdi] = device_at;
  guest.xmm_fails = true;
  EXPECT_EQ(guest.run({0x0f, 0x11, 0x0f}).kind, Kind::host_failure);
  EXPECT_TRUE(guest.seen.empty());
  EXPECT_EQ(guest.state.rip, code_at);
}

TEST(EmulatorString, RepeatStopsAtItsBudgetAndGoesOn) {
  Guest guest;
  guest.state.gp[rdi] = device_at;
  guest.state.gp[rcx] = 250;
  EXPECT_EQ(guest.run({0xf3, 0xaa}).kind, Kind::again);
  EXPECT_EQ(guest.state.gp[rcx], 150U);
  EXPECT_EQ(guest.state.rip, code_at);
  EXPECT_NE(guest.state.rflags & 0x10000, 0U);
  EXPECT_EQ(guest.run({0xf3, 0xaa}).kind, Kind::again);
  TRIVET_EXPECT_DONE(guest.run({0xf3, 0xaa}));
  EXPECT_EQ(guest.seen.size(), 250U);
  EXPECT_EQ(guest.state.gp[rdi], device_at + 250);
  EXPECT_EQ(guest.state.rip, code_at + 2);
  EXPECT_EQ(guest.state.rflags & 0x10000, 0U);
}

TEST(EmulatorString, AFaultKeepsTheProgress) {
  Guest guest;
  guest.use_32bit();
  guest.state.segments[es].limit = device_at + 3;
  guest.state.gp[rdi] = device_at;
  guest.state.gp[rcx] = 10;
  expect_exception(guest.run({0xf3, 0xaa}), 13, 0);
  EXPECT_EQ(guest.state.gp[rcx], 6U);
  EXPECT_EQ(guest.state.gp[rdi], device_at + 4);
  EXPECT_EQ(guest.state.rip, code_at);
  EXPECT_EQ(guest.seen.size(), 4U);
}

TEST(EmulatorString, ACountOfNothingTouchesNothing) {
  Guest guest;
  guest.state.gp[rdi] = ~std::uint64_t{0} / 3;
  TRIVET_EXPECT_DONE(guest.run({0xf3, 0xaa}));
  EXPECT_EQ(guest.state.rip, code_at + 2);
}

TEST(EmulatorString, ScanStopsWhereItsConditionEnds) {
  Guest guest;
  guest.put(0x80000, 0x0000'0041'4141'4141);
  guest.state.gp[rdi] = 0x80000;
  guest.state.gp[rcx] = 20;
  guest.state.gp[rax] = 0x41;
  TRIVET_EXPECT_DONE(guest.run({0xf3, 0xae}));  // repe scasb
  EXPECT_EQ(guest.state.gp[rcx], 14U);
  EXPECT_EQ(guest.state.rflags & zero, 0U);
}

TEST(EmulatorString, ADestinationThatFaultsIsSeenBeforeTheSourceIsRead) {
  Guest guest;
  guest.use_32bit();
  guest.state.segments[es].type = 1;
  guest.state.gp[rsi] = device_at;
  guest.state.gp[rdi] = 0x80000;
  expect_exception(guest.run({0xa4}), 13, 0);
  EXPECT_TRUE(guest.seen.empty());
}

TEST(EmulatorStep, TrapsAfterOneInstructionAndAfterEachIteration) {
  Guest guest;
  guest.state.rflags |= trap;
  guest.state.gp[rdi] = device_at;
  guest.state.gp[rcx] = 2;
  expect_exception(guest.run({0xf3, 0xaa}), 1);
  EXPECT_EQ(guest.state.rip, code_at);
  EXPECT_EQ(guest.state.dr6 & 0x4000, 0x4000U);
  expect_exception(guest.run({0xf3, 0xaa}), 1);
  EXPECT_EQ(guest.state.rip, code_at + 2);
}

TEST(EmulatorStep, LoadingTheStackSegmentHoldsTheTrapBack) {
  Guest guest;
  guest.state.cr0 = 0;
  guest.state.efer = 0;
  guest.state.segments[cs].long_mode = false;
  guest.state.rflags |= trap;
  guest.state.gp[rbx] = 0x500;
  guest.put(0x500, 0x1234, 2);
  const auto outcome = guest.run({0x8e, 0x17});  // mov ss, [bx]
  TRIVET_EXPECT_DONE(outcome);
  EXPECT_TRUE(outcome.interrupt_shadow);
  EXPECT_EQ(guest.state.segments[ss].base, 0x12340U);
}

TEST(EmulatorPorts, TheBitmapDecidesForWhoHasNoPrivilege) {
  Guest guest;
  guest.use_user();
  guest.state.gp[rdx] = 0x10;
  expect_exception(guest.run({0xec}), 13, 0);  // no task state
  guest.state.tr = {.base = 0x3000, .limit = 104 + 32, .type = 11, .present = true};
  guest.put(0x3000 + 102, 104, 2);
  guest.put(0x3000 + 104, ~std::uint64_t{0} & ~(std::uint64_t{0xf} << 0x10));
  TRIVET_EXPECT_DONE(guest.run({0xec}));
  guest.state.rip = code_at;
  guest.state.gp[rdx] = 0x12;
  TRIVET_EXPECT_DONE(guest.run({0x66, 0xed}));
  guest.state.rip = code_at;
  expect_exception(guest.run({0xed}), 13, 0);  // ports 0x14 and 0x15 are not open
  guest.state.rflags |= 0x3000;
  TRIVET_EXPECT_DONE(guest.run({0xed}));
  guest.state.rflags &= ~std::uint64_t{0x3000};
  guest.state.rip = code_at;
  guest.state.gp[rdx] = 0xffff;
  expect_exception(guest.run({0xec}), 13, 0);  // beyond the bitmap
  EXPECT_EQ(guest.seen.size(), 3U);
}

TEST(EmulatorExchange, CompareExchangeWritesEitherWay) {
  Guest guest;
  guest.answer = 5;
  guest.state.gp[rdi] = device_at;
  guest.state.gp[rax] = 6;
  guest.state.gp[rbx] = 7;
  TRIVET_EXPECT_DONE(guest.run({0xf0, 0x0f, 0xb1, 0x1f}));
  EXPECT_EQ(guest.seen.back(), (Seen{Seen::store, device_at, 4, 5}));
  EXPECT_EQ(guest.state.gp[rax], 5U);
  EXPECT_EQ(guest.state.rflags & zero, 0U);
  guest.state.rip = code_at;
  TRIVET_EXPECT_DONE(guest.run({0xf0, 0x0f, 0xb1, 0x1f}));
  EXPECT_EQ(guest.seen.back(), (Seen{Seen::store, device_at, 4, 7}));
  EXPECT_EQ(guest.state.rflags & zero, zero);
}

TEST(EmulatorExchange, SixteenBytesMustBeAligned) {
  Guest guest;
  guest.state.gp[rdi] = 0x80008;
  expect_exception(guest.run({0x48, 0x0f, 0xc7, 0x0f}), 13, 0);
}

TEST(EmulatorBits, ARegistersOffsetReachesBeyondTheOperandToBothSides) {
  Guest guest;
  guest.answer = 0;
  guest.state.gp[rdi] = device_at + 0x100;
  guest.state.gp[rax] = static_cast<std::uint64_t>(-1);
  TRIVET_EXPECT_DONE(guest.run({0x0f, 0xab, 0x07}));  // bts [rdi], eax
  EXPECT_EQ(guest.seen.back(), (Seen{Seen::store, device_at + 0xfc, 4, 0x8000'0000}));
  guest.state.rip = code_at;
  guest.state.gp[rax] = 65;
  TRIVET_EXPECT_DONE(guest.run({0x0f, 0xab, 0x07}));
  EXPECT_EQ(guest.seen.back(), (Seen{Seen::store, device_at + 0x108, 4, 2}));
}

TEST(EmulatorControl, APopThatFaultsLeavesTheStackPointer) {
  Guest guest;
  guest.use_32bit();
  guest.state.segments[ds].type = 1;
  guest.state.gp[rdi] = device_at;
  expect_exception(guest.run({0x8f, 0x07}), 13, 0);
  EXPECT_EQ(guest.state.gp[rsp], 0xa000U);
}

TEST(EmulatorControl, APopIntoTheStackAddressesItAfterwards) {
  Guest guest;
  guest.put(0xa000, 0x1234);
  TRIVET_EXPECT_DONE(guest.run({0x8f, 0x04, 0x24}));  // pop qword [rsp]
  EXPECT_EQ(guest.at(0xa008), 0x1234U);
  EXPECT_EQ(guest.state.gp[rsp], 0xa008U);
}

TEST(EmulatorControl, ACallToNowhereFaultsBeforeItPushes) {
  Guest guest;
  guest.answer = 0x8000'0000'0000'0000;
  guest.state.gp[rdi] = device_at;
  expect_exception(guest.run({0xff, 0x17}), 13, 0);
  EXPECT_EQ(guest.state.gp[rsp], 0xa000U);
  EXPECT_EQ(guest.state.rip, code_at);
}

TEST(EmulatorDecode, WhatNoProcessorKnowsIsAnInvalidOpcode) {
  Guest guest;
  expect_exception(guest.run({0x0f, 0xff, 0xff}), 6);
  expect_exception(guest.run({0xf0, 0x01, 0xc0}), 6);  // lock add eax, eax
  expect_exception(guest.run({0xf0, 0x89, 0x07}), 6);  // lock mov
}

TEST(EmulatorDecode, MoreThanFifteenBytesAreAGeneralProtectionFault) {
  Guest guest;
  expect_exception(
      guest.run({0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90}), 13,
      0);
}

TEST(EmulatorDecode, AValidInstructionThatIsNotSupportedIsHandedBack) {
  Guest guest;
  const auto before = guest.state.gp;
  const auto outcome = guest.run({0x0f, 0xa2});  // cpuid
  ASSERT_EQ(outcome.kind, Kind::unsupported);
  EXPECT_EQ(outcome.length, 2);
  EXPECT_EQ(outcome.bytes[1], 0xa2);
  EXPECT_EQ(guest.state.gp, before);
  EXPECT_EQ(guest.state.rip, code_at);
}

TEST(EmulatorDecode, CodeInADeviceOrNowhereIsToldApart) {
  Guest guest;
  guest.state.rip = device_at;
  EXPECT_EQ(guest.emulator.run(guest.state, guest, guest).kind, Kind::not_in_ram);
  guest.state.rip = 0x200000;
  EXPECT_EQ(guest.emulator.run(guest.state, guest, guest).kind, Kind::not_in_ram);
}

TEST(EmulatorDecode, PrefetchedBytesAreTakenAndCompletedFromMemory) {
  Guest guest;
  guest.state.gp[rdi] = device_at;
  constexpr std::array store{std::byte{0x89}, std::byte{0x07}};
  TRIVET_EXPECT_DONE(guest.emulator.run(guest.state, guest, guest, store));
  guest.state.rip = code_at;
  guest.put(code_at, 0x0789, 2);
  TRIVET_EXPECT_DONE(guest.emulator.run(guest.state, guest, guest, ConstBytes(store).first(1)));
  EXPECT_EQ(guest.seen.size(), 2U);
}

TEST(EmulatorDecode, CodeThatChangedIsDecodedAnew) {
  Guest guest;
  guest.state.gp[rdi] = device_at;
  TRIVET_EXPECT_DONE(guest.run({0x89, 0x07}));
  guest.state.rip = code_at;
  TRIVET_EXPECT_DONE(guest.run({0x8b, 0x07}));
  EXPECT_EQ(guest.seen.back().kind, Seen::load);
}

TEST(EmulatorDecode, TheSameBytesInAnotherModeAreAnotherInstruction) {
  Guest guest;
  guest.state.gp[rdi] = guest.state.gp[rbx] = device_at;
  TRIVET_EXPECT_DONE(guest.run({0x89, 0x07}));
  guest.use_32bit();
  guest.state.segments[cs].default_big = false;
  guest.state.segments[ds].base = device_at;
  guest.state.gp[rbx] = 8;
  guest.state.rip = code_at;
  TRIVET_EXPECT_DONE(guest.run({0x89, 0x07}));  // mov [bx], ax
  EXPECT_EQ(guest.seen.back(), (Seen{Seen::store, device_at + 8, 2, 0}));
}

TEST(EmulatorDecode, NamesWhatItCanDo) {
  const auto names = Emulator::instructions();
  for (const auto* name : {"mov", "movbe", "cmpxchg16b", "outsd", "movdqu", "btc"}) {
    EXPECT_TRUE(std::find(names.begin(), names.end(), name) != names.end()) << name;
  }
}

}  // namespace
}  // namespace trivet::mshv::emulator::test
