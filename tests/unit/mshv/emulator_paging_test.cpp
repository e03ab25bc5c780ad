// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "emulator_support.hpp"

namespace trivet::mshv::emulator::test {
namespace {

constexpr std::uint64_t present = 1, writable = 2, user = 4, accessed = 0x20, dirty = 0x40, large = 0x80,
                        no_execute = 1ULL << 63;

/// Long mode with four levels; the code page and one data page at 0x40000 are mapped with 4 KiB pages.
class PagedGuest : public Guest {
 public:
  static constexpr std::uint64_t root = 0x20000, data = 0x40000;

  PagedGuest() {
    state.cr0 |= cr0_paging | cr0_write_protect;
    state.cr4 |= 0x20;
    state.efer = 0xd00;
    state.cr3 = root;
    for (unsigned level = 0; level < 3; ++level) {
      put(root + 0x1000 * level, (root + 0x1000 * (level + 1)) | present | writable | user);
    }
    map(code_at, code_at | present | user);
    map(data, data | present | writable | user);
    state.gp[rdi] = data;
  }
  void map(std::uint64_t linear, std::uint64_t entry) { put(leaf(linear), entry); }
  static std::uint64_t leaf(std::uint64_t linear) { return root + 0x3000 + 8 * (linear >> 12); }
  Outcome load() { return run({0x8b, 0x07}); }
  Outcome store() { return run({0x89, 0x07}); }
};

TEST(EmulatorPaging, MarksAccessedAndDirty) {
  PagedGuest guest;
  TRIVET_EXPECT_DONE(guest.load());
  EXPECT_EQ(guest.at(PagedGuest::leaf(PagedGuest::data)) & (accessed | dirty), accessed);
  EXPECT_EQ(guest.at(PagedGuest::root) & (accessed | dirty), accessed);
  guest.state.rip = code_at;
  TRIVET_EXPECT_DONE(guest.store());
  EXPECT_EQ(guest.at(PagedGuest::leaf(PagedGuest::data)) & (accessed | dirty), accessed | dirty);
  EXPECT_EQ(guest.at(PagedGuest::root) & dirty, 0U);
}

TEST(EmulatorPaging, ErrorCodesSayWhy) {
  PagedGuest guest;
  guest.map(PagedGuest::data, 0);
  expect_exception(guest.load(), 14, 0);
  EXPECT_EQ(guest.state.cr2, PagedGuest::data);
  expect_exception(guest.store(), 14, 2);
  guest.map(PagedGuest::data, PagedGuest::data | present);
  expect_exception(guest.store(), 14, 3);
  guest.use_user();
  expect_exception(guest.load(), 14, 5);
  expect_exception(guest.store(), 14, 7);
  guest.map(PagedGuest::data, PagedGuest::data | present | writable | user | 1ULL << 50);
  expect_exception(guest.load(), 14, 0xd);
}

TEST(EmulatorPaging, ReadModifyWriteFaultsAsAWriteBeforeItReads) {
  PagedGuest guest;
  guest.map(PagedGuest::data, device_at | present);
  expect_exception(guest.run({0xff, 0x07}), 14, 3);
  EXPECT_TRUE(guest.seen.empty());
}

TEST(EmulatorPaging, ASupervisorWritesToReadOnlyPagesUnlessTold) {
  PagedGuest guest;
  guest.map(PagedGuest::data, PagedGuest::data | present);
  guest.state.cr0 &= ~cr0_write_protect;
  TRIVET_EXPECT_DONE(guest.store());
}

TEST(EmulatorPaging, ExecutionIsForbiddenByNoExecuteAndSmep) {
  PagedGuest guest;
  guest.map(code_at, code_at | present | user | no_execute);
  expect_exception(guest.load(), 14, 0x11);
  guest.map(code_at, code_at | present | user);
  guest.state.cr4 |= 1ULL << 20;
  expect_exception(guest.load(), 14, 0x11);
  guest.state.efer &= ~std::uint64_t{0x800};
  guest.state.cr4 &= ~(1ULL << 20);
  guest.map(PagedGuest::data, PagedGuest::data | present | no_execute);
  expect_exception(guest.load(), 14, 9);  // the bit is reserved while it is off
}

TEST(EmulatorPaging, SmapStopsASupervisorUnlessAlignmentFlagLiftsIt) {
  PagedGuest guest;
  guest.state.cr4 |= 1ULL << 21;
  expect_exception(guest.load(), 14, 1);
  guest.state.rflags |= alignment;
  TRIVET_EXPECT_DONE(guest.load());
}

TEST(EmulatorPaging, ProtectionKeysForbidAccessAndWrite) {
  PagedGuest guest;
  guest.state.cr4 |= 1ULL << 22;
  guest.map(PagedGuest::data, PagedGuest::data | present | writable | user | 3ULL << 59);
  guest.state.pkru = 2U << 6;
  TRIVET_EXPECT_DONE(guest.load());
  guest.state.rip = code_at;
  expect_exception(guest.store(), 14, 0x23);
  guest.state.pkru = 1U << 6;
  expect_exception(guest.load(), 14, 0x21);
}

TEST(EmulatorPaging, LargePagesReachTheirWholeLength) {
  PagedGuest guest;
  guest.put(PagedGuest::root + 0x2000 + 8, present | writable | user | large);  // 0x200000 to 0
  guest.state.gp[rdi] = 0x200000 + device_at + 4;
  TRIVET_EXPECT_DONE(guest.store());
  EXPECT_EQ(guest.seen.back().at, device_at + 4);
  EXPECT_EQ(guest.at(PagedGuest::root + 0x2008) & dirty, dirty);
  guest.put(PagedGuest::root + 0x2000 + 8, 0x2000 | present | large);
  guest.state.rip = code_at;
  expect_exception(guest.load(), 14, 9);
}

TEST(EmulatorPaging, FiveLevelsAreWalkedWhereTheModeSays) {
  PagedGuest guest;
  guest.put(0x30000, PagedGuest::root | present | writable | user);
  guest.state.cr3 = 0x30000;
  guest.state.cr4 |= 1ULL << 12;
  TRIVET_EXPECT_DONE(guest.load());
  guest.state.rip = code_at;
  guest.state.gp[rdi] = 1ULL << 55;
  expect_exception(guest.load(), 14, 0);
  guest.state.gp[rdi] = 1ULL << 56;
  expect_exception(guest.load(), 13, 0);
}

TEST(EmulatorPaging, TablesOutsideRamHoldNothing) {
  PagedGuest guest;
  guest.put(PagedGuest::root + 0x2000 + 8, 0x40000000 | present);
  guest.state.gp[rdi] = 0x200000;
  expect_exception(guest.load(), 14, 0);
}

// Found by trivet-emulator-diff: the first page was marked dirty.
TEST(EmulatorPaging, AnAccessThatFaultsOnItsSecondPageLeavesNoMarkOnTheFirst) {
  PagedGuest guest;
  guest.state.gp[rdi] = PagedGuest::data + 0xffe;
  const auto before = guest.at(PagedGuest::leaf(PagedGuest::data));
  expect_exception(guest.store(), 14, 2);
  EXPECT_EQ(guest.state.cr2, PagedGuest::data + 0x1000);
  EXPECT_EQ(guest.at(PagedGuest::leaf(PagedGuest::data)), before);
  EXPECT_EQ(guest.at(PagedGuest::data + 0xffe, 2), 0U);
}

TEST(EmulatorPaging, AnInstructionAcrossPagesFetchesTheSecondOnlyIfItMust) {
  PagedGuest guest;
  guest.state.rip = code_at + 0xffe;
  TRIVET_EXPECT_DONE(guest.run({0x8b, 0x07}));  // the next page is not mapped
  guest.state.rip = code_at + 0xfff;
  expect_exception(guest.run({0x8b, 0x07}), 14, 0x10);
  EXPECT_EQ(guest.state.cr2, code_at + 0x1000);
}

TEST(EmulatorPaging, ThirtyTwoBitTablesWithLargePages) {
  PagedGuest guest;
  guest.use_32bit();
  guest.state.cr4 = 0x10;
  guest.put(PagedGuest::root, present | writable | user | large, 4);
  guest.put(PagedGuest::root + 4, (PagedGuest::root + 0x1000) | present | writable, 4);
  guest.put(PagedGuest::root + 0x1000, device_at | present, 4);
  guest.state.gp[rdi] = 0x400000;
  TRIVET_EXPECT_DONE(guest.load());
  EXPECT_EQ(guest.seen.back().at, device_at);
  guest.state.rip = code_at;
  expect_exception(guest.store(), 14, 3);
}

TEST(EmulatorPaging, PhysicalAddressExtensionHasPointersWithoutPermissions) {
  PagedGuest guest;
  guest.use_32bit();
  guest.state.cr4 = 0x20;
  guest.state.cr3 = PagedGuest::root + 0xfe0;
  guest.put(PagedGuest::root + 0xfe0, (PagedGuest::root + 0x2000) | present);
  TRIVET_EXPECT_DONE(guest.store());
  EXPECT_EQ(guest.at(PagedGuest::root + 0xfe0) & accessed, 0U);
  guest.put(PagedGuest::root + 0xfe0, (PagedGuest::root + 0x2000) | present | writable);
  guest.state.rip = code_at;
  expect_exception(guest.load(), 14, 9);
}

}  // namespace
}  // namespace trivet::mshv::emulator::test
