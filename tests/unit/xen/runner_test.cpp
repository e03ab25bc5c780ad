// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A domain that runs: accesses, kicks, pauses, ends.
#include <atomic>
#include <gmock/gmock.h>
#include <poll.h>
#include <set>
#include <sys/epoll.h>
#include <thread>

#include "support.hpp"

namespace trivet::xen::test {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsSupersetOf;

using XenRunnerTest = XenTest;

bool readable(int fd) {
  pollfd ready{fd, POLLIN, 0};
  return ::poll(&ready, 1, 0) == 1;
}

TEST_F(XenRunnerTest, PortsOfEverySizeArriveAndAreAnswered) {
  // mov dx, 0x510; in al, dx; inc dx; in ax, dx; inc dx; in eax, dx; out dx,
  // eax; out dx, ax; out dx, al; cli; hlt
  load({0xba, 0x10, 0x05, 0xec, 0x42, 0xed, 0x42, 0x66, 0xed, 0x66, 0xef, 0xef, 0xee, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  io.answer = [](const Seen&) { return std::uint64_t{0x87654321}; };
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_in, 0x510, 1, 0x21}, Seen{Seen::pio_in, 0x511, 2, 0x4321},
                                   Seen{Seen::pio_in, 0x512, 4, 0x87654321}, Seen{Seen::pio_out, 0x512, 4, 0x87654321},
                                   Seen{Seen::pio_out, 0x512, 2, 0x4321}, Seen{Seen::pio_out, 0x512, 1, 0x21}));
}

TEST_F(XenRunnerTest, AFullDomainServesPortsToo) {
  // mov al, 7; mov dx, 0x510; out dx, al; cli; hlt
  load({0xb0, 0x07, 0xba, 0x10, 0x05, 0xee, 0xfa, 0xf4}, IrqchipKind::full);
  if (HasFatalFailure() || IsSkipped()) return;
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x510, 1, 7}));
}

TEST_F(XenRunnerTest, StringInstructionsComeElementByElement) {
  // mov si, 0x2000; mov di, 0x2100; mov dx, 0x510; mov cx, 3; rep outsw; mov
  // cx, 3; rep insb; cli; hlt
  load({0xbe, 0x00, 0x20, 0xbf, 0x00, 0x21, 0xba, 0x10, 0x05, 0xb9, 0x03,
        0x00, 0xf3, 0x6f, 0xb9, 0x03, 0x00, 0xf3, 0x6c, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  put(0x2000, {1, 2, 3, 4, 5, 6});
  std::uint64_t next = 0x40;
  io.answer = [&](const Seen&) { return next++; };
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x510, 2, 0x0201}, Seen{Seen::pio_out, 0x510, 2, 0x0403},
                                   Seen{Seen::pio_out, 0x510, 2, 0x0605}, Seen{Seen::pio_in, 0x510, 1, 0x40},
                                   Seen{Seen::pio_in, 0x510, 1, 0x41}, Seen{Seen::pio_in, 0x510, 1, 0x42}));
  EXPECT_EQ(word(0x2100), 0x00424140U);
}

TEST_F(XenRunnerTest, StringInstructionsGoBackwardsWithTheDirectionFlag) {
  // std; mov si, 0x2002; mov dx, 0x510; mov cx, 3; rep outsb; cli; hlt
  load({0xfd, 0xbe, 0x02, 0x20, 0xba, 0x10, 0x05, 0xb9, 0x03, 0x00, 0xf3, 0x6e, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  put(0x2000, {1, 2, 3});
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x510, 1, 3}, Seen{Seen::pio_out, 0x510, 1, 2},
                                   Seen{Seen::pio_out, 0x510, 1, 1}));
}

TEST_F(XenRunnerTest, MemoryAccessesOfEverySizeArrive) {
  // mov ebx, 0xd0000000; mov al, [ebx]; mov ax, [ebx + 2]; mov eax, [ebx + 4];
  // mov [ebx + 8], eax; movq mm0, [ebx + 16]; movq [ebx + 24], mm0; cli; hlt
  load32({0xbb, 0x00, 0x00, 0x00, 0xd0, 0x8a, 0x03, 0x66, 0x8b, 0x43, 0x02, 0x8b, 0x43, 0x04,
          0x89, 0x43, 0x08, 0x0f, 0x6f, 0x43, 0x10, 0x0f, 0x7f, 0x43, 0x18, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->io_claims()->claim_memory({{0xd0000000}, 0x1000}));
  io.answer = [](const Seen&) { return std::uint64_t{0x8877665544332211}; };
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen,
              ElementsAre(Seen{Seen::load, 0xd0000000, 1, 0x11}, Seen{Seen::load, 0xd0000002, 2, 0x2211},
                          Seen{Seen::load, 0xd0000004, 4, 0x44332211}, Seen{Seen::store, 0xd0000008, 4, 0x44332211},
                          Seen{Seen::load, 0xd0000010, 8, 0x8877665544332211},
                          Seen{Seen::store, 0xd0000018, 8, 0x8877665544332211}));
}

TEST_F(XenRunnerTest, ALockedReadModifyWriteIsALoadThenAStore) {
  // mov ebx, 0xd0000000; mov eax, 5; lock xadd [ebx], eax; mov [0x2000], eax;
  // cli; hlt
  load32({0xbb, 0x00, 0x00, 0x00, 0xd0, 0xb8, 0x05, 0x00, 0x00, 0x00, 0xf0,
          0x0f, 0xc1, 0x03, 0xa3, 0x00, 0x20, 0x00, 0x00, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->io_claims()->claim_memory({{0xd0000000}, 0x1000}));
  io.answer = [](const Seen&) { return std::uint64_t{0x100}; };
  run_to<exits::PowerOff>();
  ASSERT_FALSE(io.seen.empty());
  EXPECT_EQ(io.seen.front(), (Seen{Seen::load, 0xd0000000, 4, 0x100}));
  EXPECT_EQ(io.seen.back(), (Seen{Seen::store, 0xd0000000, 4, 0x105}));
  EXPECT_EQ(word(0x2000), 0x100U);
}

TEST_F(XenRunnerTest, MovsBetweenMemoryAndADeviceComesWithAPointer) {
  // mov esi, 0x2000; mov edi, 0xd0000000; mov ecx, 4; rep movsd; mov esi,
  // 0xd0000000; mov edi, 0x3000; mov ecx, 4; rep movsd; cli; hlt
  load32({0xbe, 0x00, 0x20, 0x00, 0x00, 0xbf, 0x00, 0x00, 0x00, 0xd0, 0xb9, 0x04, 0x00, 0x00, 0x00, 0xf3, 0xa5, 0xbe,
          0x00, 0x00, 0x00, 0xd0, 0xbf, 0x00, 0x30, 0x00, 0x00, 0xb9, 0x04, 0x00, 0x00, 0x00, 0xf3, 0xa5, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->io_claims()->claim_memory({{0xd0000000}, 0x1000}));
  put(0x2000, {1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0});
  io.answer = [](const Seen& access) { return access.at & 0xff; };
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::store, 0xd0000000, 4, 1}, Seen{Seen::store, 0xd0000004, 4, 2},
                                   Seen{Seen::store, 0xd0000008, 4, 3}, Seen{Seen::store, 0xd000000c, 4, 4},
                                   Seen{Seen::load, 0xd0000000, 4, 0}, Seen{Seen::load, 0xd0000004, 4, 4},
                                   Seen{Seen::load, 0xd0000008, 4, 8}, Seen{Seen::load, 0xd000000c, 4, 12}));
  EXPECT_EQ(word(0x300c), 12U);
}

TEST_F(XenRunnerTest, AnUnclaimedAccessNeverArrives) {
  // mov dx, 0x610; in al, dx; mov [0x2000], al; cli; hlt
  load({0xba, 0x10, 0x06, 0xec, 0xa2, 0x00, 0x20, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  run_to<exits::PowerOff>();
  EXPECT_TRUE(io.seen.empty());
}

TEST_F(XenRunnerTest, ATripleFaultIsToldFromAPowerOff) {
  // lidt [0x2000] (a limit of 0); int3
  load({0x0f, 0x01, 0x1e, 0x00, 0x20, 0xcc});
  if (HasFatalFailure() || IsSkipped()) return;
  ASSERT_NO_FATAL_FAILURE(enter_protected_mode(vcpu()));
  auto system = vcpu().system_registers();
  TRIVET_ASSERT_OK(system);
  system->idt = {};
  TRIVET_ASSERT_OK(vcpu().set_system_registers(*system));
  put(code_at, {0xcc});
  run_to<exits::TripleFault>();
  // It stays so until the guest goes on.
  const auto again = runner().run(io);
  TRIVET_ASSERT_OK(again);
  EXPECT_TRUE(std::holds_alternative<exits::TripleFault>(*again));
}

TEST_F(XenRunnerTest, AGuestThatEndedRunsAgainFromAnotherState) {
  // mov dx, 0x510; out dx, al; cli; hlt
  load({0xba, 0x10, 0x05, 0xee, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  run_to<exits::PowerOff>();
  if (HasFatalFailure()) return;
  ASSERT_NO_FATAL_FAILURE(start_at(vcpu(), code_at));
  run_to<exits::PowerOff>();
  EXPECT_EQ(io.seen.size(), 2U);
}

TEST_F(XenRunnerTest, AKickBeforeRunComesBackAtOnceAndOnce) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(runner().drain(io));  // the end of an earlier domain may be told
  EXPECT_FALSE(readable(runner().wait_fd()));
  runner().kicker().kick();
  runner().kicker().kick();
  EXPECT_TRUE(readable(runner().wait_fd()));
  const auto exit = runner().run(io);
  TRIVET_ASSERT_OK(exit);
  EXPECT_TRUE(std::holds_alternative<exits::Kicked>(*exit));
  EXPECT_FALSE(readable(runner().wait_fd()));
}

TEST_F(XenRunnerTest, AKickFromAnotherThreadIsNeverLost) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  constexpr int rounds = 500;
  std::atomic<int> back{0};
  std::thread kicking([&] {
    for (int i = 0; i < rounds; ++i) {
      runner().kicker().kick();
      while (back.load() <= i) std::this_thread::yield();
    }
  });
  for (int i = 0; i < rounds; ++i) {
    const auto exit = runner().run(io);
    if (!exit || !std::holds_alternative<exits::Kicked>(*exit)) ADD_FAILURE() << i;
    ++back;
  }
  kicking.join();
}

TEST_F(XenRunnerTest, OnlyOneThreadRuns) {
  // mov dx, 0x510; out dx, al; jmp $
  load({0xba, 0x10, 0x05, 0xee, 0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  std::promise<void> in;
  std::promise<void> out;
  io.on_access = [&](const Seen&) {
    in.set_value();
    out.get_future().wait();
  };
  TRIVET_ASSERT_OK(vm->resume());
  std::thread running([&] { TRIVET_EXPECT_OK(runner().run(io)); });
  in.get_future().wait();
  Recorder other;
  expect_error(runner().run(other), Errc::bad_state, "already");
  expect_error(runner().drain(other), Errc::bad_state, "already");
  out.set_value();
  runner().kicker().kick();
  running.join();
}

TEST_F(XenRunnerTest, APausedGuestDoesNothing) {
  // again: inc dword [0x2000]; jmp again
  load32({0xff, 0x05, 0x00, 0x20, 0x00, 0x00, 0xeb, 0xf8});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->resume());
  while (word(0x2000) == 0) std::this_thread::yield();
  TRIVET_ASSERT_OK(vm->pause());
  const auto before = word(0x2000);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(word(0x2000), before);
  // Pausing twice is one pause.
  TRIVET_ASSERT_OK(vm->pause());
  TRIVET_ASSERT_OK(vm->resume());
  while (word(0x2000) == before) std::this_thread::yield();
}

TEST_F(XenRunnerTest, StateOfARunningVcpuIsBadState) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->resume());
  expect_error(vcpu().registers(), Errc::bad_state, "running");
  expect_error(vcpu().set_registers({}), Errc::bad_state, "running");
  expect_error(vcpu().save(StateElements::all()), Errc::bad_state, "running");
  expect_error(vcpu().translate({0}), Errc::bad_state, "running");
}

TEST_F(XenRunnerTest, DrainFinishesAReadWithoutRunningTheGuestOn) {
  // mov dx, 0x500; out dx, al; inc dx; in al, dx; again: inc dword [0x2000];
  // jmp again
  load({0xba, 0x00, 0x05, 0xee, 0x42, 0xec, 0x66, 0xff, 0x06, 0x00, 0x20, 0xeb, 0xf9});
  if (HasFatalFailure() || IsSkipped()) return;
  // Nobody serves: the guest stops at its first access, half done.
  Result<VcpuState> saved = VcpuState{};
  for (int i = 0; i < 1000 && saved; ++i) {
    TRIVET_ASSERT_OK(vm->resume());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    TRIVET_ASSERT_OK(vm->pause());
    saved = vcpu().save(StateElements::all());
  }
  expect_error(saved, Errc::bad_state, "drain");
  TRIVET_ASSERT_OK(runner().drain(io));
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x500, 1, 0}));
  auto registers = vcpu().registers();
  TRIVET_ASSERT_OK(registers);
  EXPECT_EQ(registers->rip, code_at + 4);
  // The same for a read, whose answer must be in the register.
  io.answer = [](const Seen&) { return std::uint64_t{0x5a}; };
  for (int i = 0; i < 1000 && io.seen.size() < 2; ++i) {
    TRIVET_ASSERT_OK(vm->resume());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    TRIVET_ASSERT_OK(vm->pause());
    TRIVET_ASSERT_OK(runner().drain(io));
  }
  EXPECT_EQ(io.seen.size(), 2U);
  registers = vcpu().registers();
  TRIVET_ASSERT_OK(registers);
  EXPECT_EQ(registers->rax & 0xff, 0x5aU);
  EXPECT_EQ(registers->rip, code_at + 6);
  EXPECT_EQ(word(0x2000), 0U);
  TRIVET_EXPECT_OK(vcpu().save(StateElements::all()));
}

TEST_F(XenRunnerTest, PciConfigurationComesByFunction) {
  // mov eax, 0x80001008; mov dx, 0xcf8; out dx, eax; mov dx, 0xcfc; in eax, dx;
  // out dx, eax; mov dx, 0xcfe; in ax, dx; cli; hlt
  load({0x66, 0xb8, 0x08, 0x10, 0x00, 0x80, 0xba, 0xf8, 0x0c, 0x66, 0xef, 0xba,
        0xfc, 0x0c, 0x66, 0xed, 0x66, 0xef, 0xba, 0xfe, 0x0c, 0xed, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->io_claims()->claim_pci({0, 0, 2, 0}));
  TRIVET_ASSERT_OK(vm->io_claims()->claim_ports(0xcf8, 8));
  io.answer = [](const Seen&) { return std::uint64_t{0x12345678}; };
  run_to<exits::PowerOff>();
  const std::uint64_t at = std::uint64_t{2 << 3} << 16;
  EXPECT_THAT(io.seen,
              ElementsAre(Seen{Seen::pio_out, 0xcf8, 4, 0x80001008}, Seen{Seen::config_in, at | 8, 4, 0x12345678},
                          Seen{Seen::config_out, at | 8, 4, 0x12345678}, Seen{Seen::config_in, at | 10, 2, 0x5678}));
}

TEST_F(XenRunnerTest, ManyAccessesInARowAllArrive) {
  // mov cx, 2000; mov dx, 0x510; again: out dx, al; loop again; cli; hlt
  load({0xb9, 0xd0, 0x07, 0xba, 0x10, 0x05, 0xee, 0xe2, 0xfd, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  run_to<exits::PowerOff>();
  EXPECT_EQ(io.seen.size(), 2000U);
}

TEST_F(XenRunnerTest, AccessesOfSeveralVcpusAllArrive) {
  constexpr unsigned vcpus = 4;
  constexpr std::size_t each = 1000;
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split, vcpus));
  if (IsSkipped()) return;
  // mov cx, 1000; mov dx, 0x510; again: out dx, al; loop again; cli; hlt
  put(code_at, {0xb9, each & 0xff, each >> 8, 0xba, 0x10, 0x05, 0xee, 0xe2, 0xfd, 0xfa, 0xf4});
  for (unsigned index = 0; index < vcpus; ++index) {
    ASSERT_NO_FATAL_FAILURE(make_vcpu(index));
    VcpuState awake;
    awake.activity = Activity::running;
    TRIVET_ASSERT_OK(vcpu(index).restore(awake));
  }
  run_to<exits::PowerOff>();
  EXPECT_EQ(io.seen.size(), vcpus * each);
}

/// An event that comes while another is being taken wakes nobody: what waits
/// must be told of at each look.
TEST_F(XenRunnerTest, AnAccessThatWaitsIsToldUntilItIsServed) {
  // mov dx, 0x510; out dx, al; out dx, al; cli; hlt
  load({0xba, 0x10, 0x05, 0xee, 0xee, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  io.on_access = [&](const Seen&) { runner().kicker().kick(); };
  run_to<exits::Kicked>();
  if (HasFatalFailure()) return;
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the second access is there by then
  const auto look = [&] {
    std::array<epoll_event, 4> events{};
    std::set<std::uint64_t> told;
    const auto count = ::epoll_wait(runner().wait_fd(), events.data(), static_cast<int>(events.size()), 5000);
    for (int i = 0; i < count; ++i) told.insert(events[static_cast<std::size_t>(i)].data.u64);
    return told;
  };
  const auto first = look();
  EXPECT_FALSE(first.empty());
  EXPECT_THAT(look(), IsSupersetOf(first));
  EXPECT_THAT(look(), IsSupersetOf(first));
  io.on_access = nullptr;
  run_to<exits::PowerOff>();
  EXPECT_EQ(io.seen.size(), 2U);
}

TEST_F(XenRunnerTest, AnAccessThatCameWithAKickIsToldUntilItIsServed) {
  // mov dx, 0x510; out dx, al; cli; hlt
  load({0xba, 0x10, 0x05, 0xee, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->resume());
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the access is there by then
  runner().kicker().kick();
  const auto exit = runner().run(io);
  TRIVET_ASSERT_OK(exit);
  EXPECT_TRUE(std::holds_alternative<exits::Kicked>(*exit));
  EXPECT_TRUE(io.seen.empty());
  EXPECT_TRUE(readable(runner().wait_fd()));
  run_to<exits::PowerOff>();
  EXPECT_EQ(io.seen.size(), 1U);
}

}  // namespace
}  // namespace trivet::xen::test
