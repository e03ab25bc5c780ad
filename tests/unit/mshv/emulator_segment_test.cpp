// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "emulator_support.hpp"

namespace trivet::mshv::emulator::test {
namespace {

class SegmentedGuest : public Guest {
 public:
  SegmentedGuest() {
    use_32bit();
    state.gp[rdi] = 0x1000;
    state.segments[ds].base = device_at;
  }
  Outcome load() {
    state.rip = code_at;
    return run({0x8b, 0x07});
  }
  Outcome store() {
    state.rip = code_at;
    return run({0x89, 0x07});
  }
};

TEST(EmulatorSegments, TheLastByteMustLieWithinTheLimit) {
  SegmentedGuest guest;
  guest.state.segments[ds].limit = 0x1003;
  TRIVET_EXPECT_DONE(guest.load());
  guest.state.segments[ds].limit = 0x1002;
  expect_exception(guest.load(), 13, 0);
}

TEST(EmulatorSegments, AnExpandDownSegmentBeginsAboveItsLimit) {
  SegmentedGuest guest;
  guest.state.segments[ds].type = 7;
  guest.state.segments[ds].limit = 0xfff;
  TRIVET_EXPECT_DONE(guest.load());
  guest.state.segments[ds].limit = 0x1000;
  expect_exception(guest.load(), 13, 0);
  guest.state.segments[ds].limit = 0xfff;
  guest.state.segments[ds].default_big = false;
  guest.state.gp[rdi] = 0xfffd;
  expect_exception(guest.load(), 13, 0);
}

TEST(EmulatorSegments, TypesDecideWhatIsAllowed) {
  SegmentedGuest guest;
  guest.state.segments[ds].type = 1;
  TRIVET_EXPECT_DONE(guest.load());
  expect_exception(guest.store(), 13, 0);
  guest.state.segments[ds].type = 9;
  expect_exception(guest.load(), 13, 0);
  guest.state.segments[ds].unusable = true;
  guest.state.segments[ds].type = 3;
  expect_exception(guest.load(), 13, 0);
}

TEST(EmulatorSegments, TheStackSegmentHasItsOwnFault) {
  SegmentedGuest guest;
  guest.state.segments[ss].limit = 0xfff;
  guest.state.gp[rbp] = 0x1000;
  expect_exception(guest.run({0x8b, 0x45, 0x00}), 12, 0);
}

TEST(EmulatorSegments, RealModeFaultsCarryNoErrorCode) {
  SegmentedGuest guest;
  guest.state.cr0 = 0;
  guest.state.segments[ds].limit = 0xffff;
  guest.state.gp[rdi] = 0xfffe;
  expect_exception(guest.load(), 13);
}

TEST(EmulatorSegments, CodeBeyondItsLimitFaults) {
  SegmentedGuest guest;
  guest.state.segments[cs].limit = code_at;
  expect_exception(guest.load(), 13, 0);
}

TEST(EmulatorSegments, LongModeChecksCanonicalAddressesInstead) {
  Guest guest;
  guest.state.segments[ds].limit = 0;
  guest.state.segments[ds].base = 0x1000;
  guest.state.gp[rdi] = device_at;
  TRIVET_EXPECT_DONE(guest.run({0x8b, 0x07}));
  EXPECT_EQ(guest.seen.back().at, device_at);
  guest.state.rip = code_at;
  guest.state.gp[rdi] = 0x7fff'ffff'fffd;
  expect_exception(guest.run({0x8b, 0x07}), 13, 0);
  guest.state.gp[rbp] = 0x8000'0000'0000;
  expect_exception(guest.run({0x8b, 0x45, 0x00}), 12, 0);
}

TEST(EmulatorSegments, FsAndGsHaveBasesInLongMode) {
  Guest guest;
  guest.state.segments[gs].base = device_at;
  guest.state.gp[rdi] = 0x10;
  TRIVET_EXPECT_DONE(guest.run({0x65, 0x8b, 0x07}));
  EXPECT_EQ(guest.seen.back().at, device_at + 0x10);
  guest.state.rip = code_at;
  TRIVET_EXPECT_DONE(guest.run({0x65, 0x3e, 0x8b, 0x07}));  // a DS prefix is nothing there, and leaves GS
  EXPECT_EQ(guest.seen.back().at, device_at + 0x10);
}

TEST(EmulatorSegments, AlignmentIsCheckedWhereItIsOn) {
  Guest guest;
  guest.use_user();
  guest.state.gp[rdi] = device_at + 2;
  guest.state.rflags |= alignment;
  TRIVET_EXPECT_DONE(guest.run({0x8b, 0x07}));
  guest.state.rip = code_at;
  guest.state.cr0 |= 1ULL << 18;
  expect_exception(guest.run({0x8b, 0x07}), 17, 0);
  TRIVET_EXPECT_DONE(guest.run({0x66, 0x8b, 0x07}));
}

/// Loads DS from a selector in memory; the table holds one descriptor at 8.
class SelectorGuest : public SegmentedGuest {
 public:
  SelectorGuest() {
    state.segments[ds].base = 0;
    state.gdt = {0x1000, 0x17};
    put(0x1008, 0x00cf'9200'0000'ffff);
    state.gp[rdi] = 0x500;
  }
  Outcome load_ds(std::uint16_t selector) {
    state.rip = code_at;
    put(0x500, selector, 2);
    return run({0x8e, 0x1f});
  }
};

TEST(EmulatorSegments, LoadingOneReadsAndMarksItsDescriptor) {
  SelectorGuest guest;
  TRIVET_EXPECT_DONE(guest.load_ds(8));
  EXPECT_EQ(guest.state.segments[ds].selector, 8);
  EXPECT_EQ(guest.state.segments[ds].limit, 0xffff'ffffU);
  EXPECT_EQ(guest.at(0x100d, 1), 0x93U);
}

TEST(EmulatorSegments, LoadingABadOneNamesTheSelector) {
  SelectorGuest guest;
  expect_exception(guest.load_ds(0x18), 13, 0x18);
  expect_exception(guest.load_ds(0x0c), 13, 0x0c);
  guest.put(0x1008, 0x00cf'1200'0000'ffff);
  expect_exception(guest.load_ds(8), 11, 8);
  guest.put(0x1008, 0x00cf'9800'0000'ffff);  // execute-only
  expect_exception(guest.load_ds(8), 13, 8);
  guest.use_user();
  guest.put(0x1008, 0x00cf'9200'0000'ffff);
  expect_exception(guest.load_ds(0x0b), 13, 8);
}

TEST(EmulatorSegments, ANullOneLoadsAndThenFaultsWhenUsed) {
  SelectorGuest guest;
  TRIVET_EXPECT_DONE(guest.load_ds(0));
  expect_exception(guest.load(), 13, 0);
}

}  // namespace
}  // namespace trivet::mshv::emulator::test
