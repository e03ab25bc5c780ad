// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Memory that Xen owns: mapped, read-only, taken away and given back, and what the guest wrote in it.
#include <array>
#include <atomic>
#include <gmock/gmock.h>
#include <numeric>
#include <span>
#include <thread>

#include "domctl.hpp"
#include "support.hpp"

namespace trivet::xen::test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

using XenMemoryTest = XenTest;

std::vector<std::uint64_t> pages_of(const DirtyBitmap& bits) {
  std::vector<std::uint64_t> pages;
  for (std::uint64_t page = 0; page < bits.size() * 64; ++page) {
    if ((bits[page / 64] >> (page % 64) & 1) != 0) pages.push_back(page);
  }
  return pages;
}

TEST_F(XenMemoryTest, ARegionIsSharedWithTheGuestAndSaysWhatItCannot) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  const auto mapped = vm->map({{{0x100000000}, 4 << 20}, HypervisorMemory{}});
  TRIVET_ASSERT_OK(mapped);
  EXPECT_FALSE(mapped->can_pin);
  EXPECT_EQ(mapped->shared_fd, -1);
  ASSERT_NE(mapped->host, nullptr);
  // Fresh, and all of it there.
  for (std::size_t at = 0; at < mapped->range.size; at += 4096) {
    ASSERT_EQ(mapped->host[at], std::byte{0});
    mapped->host[at] = std::byte{1};
  }
  TRIVET_EXPECT_OK(vm->unmap({{0x100000000}, 4 << 20}));
}

TEST_F(XenMemoryTest, WrongRegionsAreRefusedByName) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  expect_error(vm->map({{{0x1000}, 0x1000}, HypervisorMemory{}}), Errc::already_exists, "overlaps");
  expect_error(vm->map({{{0x200001}, 0x1000}, HypervisorMemory{}}), Errc::invalid_argument, "aligned");
  expect_error(vm->map({{{0x200000}, 0}, HypervisorMemory{}}), Errc::invalid_argument, "empty");
  expect_error(vm->map({{{0x200000}, 0x1000}, HostMemory{ram}}), Errc::unsupported, "host_memory");
  expect_error(vm->map({{{0x200000}, 0x1000}, FileMemory{}}), Errc::unsupported, "file_memory");
  expect_error(vm->map({{{1ULL << 60}, 0x1000}, HypervisorMemory{}}), Errc::out_of_range, "bits");
  expect_error(vm->unmap({{0}, 0x1000}), Errc::not_found, "exactly");
  expect_error(vm->dirty_log()->take({{0}, ram_size}), Errc::bad_state, "log_dirty");
  expect_error(vm->dirty_log()->take({{0}, 4096}), Errc::not_found, "exactly");
}

TEST_F(XenMemoryTest, MoreThanTheHostHasIsRefusedAtOnce) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  expect_error(vm->map({{{0x100000000}, std::uint64_t{1} << 38}, HypervisorMemory{}}), Errc::no_memory, "MiB free");
}

TEST_F(XenMemoryTest, WhatIsTakenAwayIsFreeAgainAndCleared) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  auto domctl = Domctl::open();
  TRIVET_ASSERT_OK(domctl);
  const GuestRange range{{0x100000000}, 64 << 20};
  std::uint64_t first = 0;
  for (int i = 0; i < 3; ++i) {
    const auto mapped = vm->map({range, HypervisorMemory{}});
    TRIVET_ASSERT_OK(mapped);
    // Nothing of the last time is in it.
    for (std::size_t at = 0; at < mapped->range.size; at += 4096) ASSERT_EQ(mapped->host[at + 8], std::byte{0}) << at;
    std::memset(mapped->host, 0xa5, mapped->range.size);
    TRIVET_ASSERT_OK(vm->unmap(range));
    const auto free = domctl->free_memory();
    TRIVET_ASSERT_OK(free);
    if (i == 0) first = *free;
    EXPECT_NEAR(static_cast<double>(*free), static_cast<double>(first), 1 << 20);
  }
}

TEST_F(XenMemoryTest, WritesToReadOnlyMemoryComeAsAccessesAndChangeNothing) {
  // mov eax, [0x200000]; mov [0x2000], eax; mov dword [0x200000], 0x55; mov eax, [0x200000]; mov [0x2004], eax; cli;
  // hlt
  load32({0xa1, 0x00, 0x00, 0x20, 0x00, 0xa3, 0x00, 0x20, 0x00, 0x00, 0xc7, 0x05, 0x00, 0x00, 0x20, 0x00,
          0x55, 0x00, 0x00, 0x00, 0xa1, 0x00, 0x00, 0x20, 0x00, 0xa3, 0x04, 0x20, 0x00, 0x00, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  const auto rom = vm->map({{{0x200000}, 0x2000}, HypervisorMemory{}, Access::read_only});
  TRIVET_ASSERT_OK(rom);
  const std::uint32_t content = 0xfeedbeef;
  std::memcpy(rom->host, &content, sizeof content);
  run_to<exits::PowerOff>();
  EXPECT_EQ(word(0x2000), content);
  EXPECT_EQ(word(0x2004), content);
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::store, 0x200000, 4, 0x55}));
}

TEST_F(XenMemoryTest, PagesGoAndComeBackWhileTheGuestRuns) {
  // again: mov eax, [0x200000]; mov [0x2000], eax; mov dx, 0x500; out dx, al; jmp again
  load32({0xa1, 0x00, 0x00, 0x20, 0x00, 0xa3, 0x00, 0x20, 0x00, 0x00, 0x66, 0xba, 0x00, 0x05, 0xee, 0xeb, 0xef});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->io_claims()->claim_memory({{0x200000}, 0x1000}));
  const GuestRange range{{0x200000}, 0x1000};
  int round = 0;
  io.answer = [](const Seen&) { return std::uint64_t{0xd}; };
  io.on_access = [&](const Seen& access) {
    if (access.kind != Seen::pio_out) return;
    // The guest is inside its OUT: its next read sees the change.
    if (++round == 1) {
      const auto mapped = vm->map({range, HypervisorMemory{}});
      EXPECT_TRUE(mapped.has_value());
      if (mapped) mapped->host[0] = std::byte{0x77};
    } else if (round == 2) {
      EXPECT_EQ(word(0x2000), 0x77U);
      TRIVET_EXPECT_OK(vm->unmap(range));
    } else {
      EXPECT_EQ(word(0x2000), 0xdU);
      runner().kicker().kick();
    }
  };
  run_to<exits::Kicked>();
  EXPECT_EQ(round, 3);
}

TEST_F(XenMemoryTest, TheDirtyLogIsExact) {
  // mov byte [0x20000], 1; mov byte [0x3f000], 1; mov dx, 0x500; out dx, al; mov byte [0x20000], 1; out dx, al; cli;
  // hlt
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split, 1, true));
  if (IsSkipped()) return;
  put(code_at, {0xc6, 0x05, 0x00, 0x00, 0x02, 0x00, 0x01, 0xc6, 0x05, 0x00, 0xf0, 0x03, 0x00, 0x01, 0x66,
                0xba, 0x00, 0x05, 0xee, 0xc6, 0x05, 0x00, 0x00, 0x02, 0x00, 0x01, 0xee, 0xfa, 0xf4});
  ASSERT_NO_FATAL_FAILURE(make_vcpu());
  ASSERT_NO_FATAL_FAILURE(enter_protected_mode(vcpu()));
  const GuestRange range{{0}, ram_size};
  const auto none = vm->dirty_log()->take(range);
  TRIVET_ASSERT_OK(none);
  EXPECT_THAT(pages_of(*none), ElementsAre());
  run_to_mark();
  if (HasFatalFailure()) return;
  const auto first = vm->dirty_log()->take(range);
  TRIVET_ASSERT_OK(first);
  EXPECT_EQ(first->size(), ram_size / 4096 / 64);
  EXPECT_THAT(pages_of(*first), ElementsAre(0x20, 0x3f));
  run_to_mark();
  if (HasFatalFailure()) return;
  const auto second = vm->dirty_log()->take(range);
  TRIVET_ASSERT_OK(second);
  EXPECT_THAT(pages_of(*second), ElementsAre(0x20));
}

TEST_F(XenMemoryTest, EachRegionHasItsOwnLog) {
  // mov byte [0x201000], 1; mov byte [0x3000], 1; mov dx, 0x500; out dx, al; cli; hlt
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split, 1, true));
  if (IsSkipped()) return;
  put(code_at, {0xc6, 0x05, 0x00, 0x10, 0x20, 0x00, 0x01, 0xc6, 0x05, 0x00, 0x30,
                0x00, 0x00, 0x01, 0x66, 0xba, 0x00, 0x05, 0xee, 0xfa, 0xf4});
  ASSERT_NO_FATAL_FAILURE(make_vcpu());
  ASSERT_NO_FATAL_FAILURE(enter_protected_mode(vcpu()));
  const GuestRange other{{0x200000}, 0x4000};
  TRIVET_ASSERT_OK(vm->map({other, HypervisorMemory{}, Access::read_write, true}));
  TRIVET_ASSERT_OK(vm->map({{{0x300000}, 0x1000}, HypervisorMemory{}}));
  run_to_mark();
  if (HasFatalFailure()) return;
  // Taking one does not lose the other's.
  const auto low = vm->dirty_log()->take({{0}, ram_size});
  TRIVET_ASSERT_OK(low);
  EXPECT_THAT(pages_of(*low), ElementsAre(3));
  const auto high = vm->dirty_log()->take(other);
  TRIVET_ASSERT_OK(high);
  EXPECT_THAT(pages_of(*high), ElementsAre(1));
  expect_error(vm->dirty_log()->take({{0x300000}, 0x1000}), Errc::bad_state, "log_dirty");
  TRIVET_EXPECT_OK(vm->dirty_log()->mark({{0}, 0x3000}));
  TRIVET_EXPECT_OK(vm->unmap(other));
}

/// Its balloon driver does so; a hostile one, while a device is writing there.
TEST_F(XenMemoryTest, AGuestThatGivesPagesUpInUseHarmsOnlyItself) {
  constexpr std::uint64_t first = 0x80;
  constexpr std::uint32_t count = 16;
  // mov ecx, 0x40000000; mov eax, 0x4000; xor edx, edx; wrmsr (the hypercall page); mov ebx, 1 (decrease_reservation);
  // mov ecx, 0x2000; mov eax, 0x4180 (memory_op); call eax; mov [0x3000], eax; mov dx, 0x500; out dx, al; cli; hlt
  load32({0xb9, 0x00, 0x00, 0x00, 0x40, 0xb8, 0x00, 0x40, 0x00, 0x00, 0x31, 0xd2, 0x0f, 0x30, 0xbb,
          0x01, 0x00, 0x00, 0x00, 0xb9, 0x00, 0x20, 0x00, 0x00, 0xb8, 0x80, 0x41, 0x00, 0x00, 0xff,
          0xd0, 0xa3, 0x00, 0x30, 0x00, 0x00, 0x66, 0xba, 0x00, 0x05, 0xee, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  // xen_memory_reservation of a 32-bit guest: the list, how many, order, flags, DOMID_SELF
  const std::array<std::uint32_t, 5> reservation{0x2100, count, 0, 0, 0x7ff0};
  std::array<std::uint32_t, count> frames{};
  std::iota(frames.begin(), frames.end(), std::uint32_t{first});
  std::memcpy(ram + 0x2000, reservation.data(), sizeof reservation);
  std::memcpy(ram + 0x2100, frames.data(), sizeof frames);
  std::byte* const pages = ram + first * 4096;
  std::atomic<bool> done{false};
  std::thread device([&] {
    for (unsigned char value = 1; !done; ++value) std::memset(pages, value, count * std::size_t{4096});
  });
  run_to_mark();
  done = true;
  device.join();
  if (HasFatalFailure()) return;
  EXPECT_EQ(word(0x3000), count);
  EXPECT_GE(io.removed, 1) << "told before the guest goes on";
  std::memset(pages, 0x5a, count * std::size_t{4096});
  EXPECT_THAT(std::span(pages, count * std::size_t{4096}), Each(std::byte{0x5a})) << "ours until it is let go";

  const auto domctl = Domctl::open();
  TRIVET_ASSERT_OK(domctl);
  const auto all = domctl->list();
  TRIVET_ASSERT_OK(all);
  auto other = hypervisor->attach(VmId{all->back().id}, {});
  TRIVET_ASSERT_OK(other);
  expect_error((*other)->map({{{0}, ram_size}, HypervisorMemory{}}), Errc::not_found, "frame 0x80 (16 frames in all)");
  TRIVET_EXPECT_OK((*other)->map({{{0}, first * 4096}, HypervisorMemory{}}));
  other->reset();
  TRIVET_EXPECT_OK(vm->unmap({{0}, ram_size}));
}

TEST_F(XenMemoryTest, WhatIsLeftOfALargePageIsTakenAway) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  const auto domctl = Domctl::open();
  TRIVET_ASSERT_OK(domctl);
  const auto all = domctl->list();
  TRIVET_ASSERT_OK(all);
  const GuestRange range{{0x40000000}, 8 << 20};
  TRIVET_ASSERT_OK(vm->map({range, HypervisorMemory{}}));
  const auto before = domctl->free_memory();
  const std::array<std::uint64_t, 3> given_up{0x40000, 0x40205, 0x405ff};
  TRIVET_ASSERT_OK(domctl->depopulate(all->back().id, given_up, 0));
  TRIVET_ASSERT_OK(domctl->depopulate(all->back().id, given_up, 0));
  TRIVET_ASSERT_OK(vm->unmap(range));
  const auto after = domctl->free_memory();
  ASSERT_TRUE(before && after);
  EXPECT_GE(*after + (1 << 20), *before + range.size);
  TRIVET_EXPECT_OK(vm->map({range, HypervisorMemory{}}));
}

}  // namespace
}  // namespace trivet::xen::test
