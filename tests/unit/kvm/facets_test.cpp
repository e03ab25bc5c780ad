// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <unistd.h>

#include "support.hpp"

namespace trivet::kvm::test {
namespace {

std::uint64_t take(int fd) {
  std::uint64_t count = 0;
  return ::read(fd, &count, sizeof count) == sizeof count ? count : 0;
}

using DoorbellTest = KvmTest;

TEST_F(DoorbellTest, RingsWithoutExitAndOnlyForItsOwnWrites) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  using Space = DoorbellSpec::Space;
  auto any = vm->doorbells()->create({Space::memory, {0xf0000}, 0, {}});
  auto seven = vm->doorbells()->create({Space::memory, {0xf0010}, 2, 7});
  auto eight = vm->doorbells()->create({Space::memory, {0xf0010}, 2, 8});
  auto port = vm->doorbells()->create({Space::port, {0x90}, 1, {}});
  for (const auto* bell : {&any, &seven, &eight, &port}) TRIVET_ASSERT_OK(*bell);
  memory->put(code_at, {0xb8, 0x00, 0xf0, 0x8e, 0xd8,                      // mov ax, 0xf000; mov ds, ax
                        0xa2, 0x00, 0x00, 0xa3, 0x00, 0x00,                // mov [0], al; mov [0], ax
                        0xc7, 0x06, 0x10, 0x00, 0x07, 0x00,                // mov word [0x10], 7
                        0xc7, 0x06, 0x10, 0x00, 0x08, 0x00,                // mov word [0x10], 8
                        0xc7, 0x06, 0x10, 0x00, 0x09, 0x00,                // mov word [0x10], 9: nobody's
                        0xe6, 0x90, 0xe6, 0x91,                            // out 0x90, al; out 0x91, al: nobody's
                        0xf4, 0xc7, 0x06, 0x10, 0x00, 0x07, 0x00, 0xf4});  // hlt; mov word [0x10], 7; hlt
  make_vcpu();
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::store, 0xf0010, 2, 9}, {Seen::pio_out, 0x91, 1, 0}}));
  EXPECT_EQ(take((*any)->fd()), 2U);
  EXPECT_EQ(take((*seven)->fd()), 1U);
  EXPECT_EQ(take((*eight)->fd()), 1U);
  EXPECT_EQ(take((*port)->fd()), 1U);
  // One goes; its twin with the other value stays.
  seven->reset();
  io.seen.clear();
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::store, 0xf0010, 2, 7}}));
  expect_error(vm->doorbells()->create({Space::memory, {0xf0010}, 2, 8}), Errc::already_exists);
  TRIVET_EXPECT_OK(vm->doorbells()->create({Space::memory, {0xf0010}, 2, 7}));
}

TEST_F(DoorbellTest, RefusesWhatCannotRing) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  using Space = DoorbellSpec::Space;
  auto& bells = *vm->doorbells();
  expect_error(bells.create({Space::memory, {0xf0000}, 3, {}}), Errc::invalid_argument, "1, 2, 4 or 8");
  expect_error(bells.create({Space::port, {0x90}, 8, {}}), Errc::invalid_argument, "1, 2 or 4");
  expect_error(bells.create({Space::memory, {0xf0000}, 0, 1}), Errc::invalid_argument, "size");
  expect_error(bells.create({Space::memory, {0xf0000}, 1, 256}), Errc::invalid_argument, "wider");
  expect_error(bells.create({Space::port, {0x10000}, 1, {}}), Errc::out_of_range, "0xffff");
  expect_error(bells.create({Space::port, {0xffff}, 2, {}}), Errc::out_of_range, "0xffff");
  expect_error(bells.create({Space::memory, {~0ULL}, 2, {}}), Errc::out_of_range, "wraps");
}

using PostedTest = KvmTest;

TEST_F(PostedTest, PostedWritesComeInOrderBeforeWhateverComesLater) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  auto* posted = vm->posted_writes();
  ASSERT_NE(posted, nullptr);
  using Space = DoorbellSpec::Space;
  TRIVET_ASSERT_OK(posted->add(Space::memory, {{0xf0000}, 0x1000}));
  TRIVET_ASSERT_OK(posted->add(Space::port, {{0x90}, 1}));
  memory->put(code_at,
              {0xb8, 0x00, 0xf0, 0x8e, 0xd8,                                      // mov ax, 0xf000; mov ds, ax
               0xc6, 0x06, 0x10, 0x00, 0x01, 0xc7, 0x06, 0x20, 0x00, 0x02, 0x00,  // [0x10] = 1; word [0x20] = 2
               0xb0, 0x03, 0xe6, 0x90,                                            // out 0x90, 3
               0xe6, 0x91,                                                        // out 0x91: not posted
               0xc6, 0x06, 0x30, 0x00, 0x04, 0xf4});                              // [0x30] = 4; hlt
  make_vcpu();
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::posted, 0xf0010, 1, 1},
                                        {Seen::posted, 0xf0020, 2, 2},
                                        {Seen::pio_out, 0x90, 1, 3},
                                        {Seen::pio_out, 0x91, 1, 3},
                                        {Seen::posted, 0xf0030, 1, 4}}));
  expect_error(posted->add(Space::memory, {{0xf0800}, 0x10}), Errc::already_exists);
  expect_error(posted->remove(Space::memory, {{0xf0000}, 0x10}), Errc::not_found);
  expect_error(posted->add(Space::port, {{0x10000}, 1}), Errc::out_of_range);
  expect_error(posted->add(Space::memory, {{0xf0000}, 0}), Errc::invalid_argument);
  TRIVET_EXPECT_OK(posted->remove(Space::memory, {{0xf0000}, 0x1000}));
}

TEST_F(PostedTest, AFullRingLosesNothing) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  TRIVET_ASSERT_OK(vm->posted_writes()->add(DoorbellSpec::Space::memory, {{0xf0000}, 0x1000}));
  // 1000 writes of cx to [0]: several rings full.
  memory->put(code_at, {0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xb9, 0xe8, 0x03, 0x89, 0x0e, 0x00, 0x00, 0xe2, 0xfa, 0xf4});
  make_vcpu();
  run_to<exits::Halted>();
  ASSERT_EQ(io.seen.size(), 1000U);
  for (std::size_t i = 0; i < 1000; ++i) EXPECT_EQ(io.seen[i].value, 1000 - i);
}

using MsrTest = KvmTest;

TEST_F(MsrTest, ChosenMsrsExitAndTakeTheAnswer) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  auto* intercepts = vm->msr_intercepts();
  ASSERT_NE(intercepts, nullptr);
  const MsrRange both{0x174, 1};
  const MsrRange writes{0x175, 1, false, true};
  const std::array ranges{both, writes};
  TRIVET_ASSERT_OK(intercepts->set(ranges));
  memory->put(code_at, {0x66, 0xb9, 0x74, 0x01, 0x00, 0x00,  // mov ecx, 0x174
                        0x0f, 0x32, 0xe7, 0x10,              // rdmsr; out 0x10, ax
                        0x0f, 0x30,                          // wrmsr
                        0x41, 0x0f, 0x32, 0xf4});            // inc cx; rdmsr (not intercepted); hlt
  make_vcpu();
  auto exit = runner().run(io);
  TRIVET_ASSERT_OK(exit);
  ASSERT_TRUE(std::holds_alternative<exits::Msr>(*exit)) << name(*exit);
  EXPECT_EQ(std::get<exits::Msr>(*exit).index, 0x174U);
  EXPECT_FALSE(std::get<exits::Msr>(*exit).write);
  expect_error(runner().run(io), Errc::bad_state, "answer");
  expect_error(runner().drain(io), Errc::bad_state, "answer");
  expect_error(vcpu().save({}), Errc::bad_state, "answer");
  TRIVET_ASSERT_OK(vcpu().answer_msr(0x4321));
  expect_error(vcpu().save({}), Errc::bad_state, "drain");
  expect_error(vcpu().answer_msr(1), Errc::bad_state, "no MSR access");
  exit = runner().run(io);
  TRIVET_ASSERT_OK(exit);
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::pio_out, 0x10, 2, 0x4321}}));
  ASSERT_TRUE(std::holds_alternative<exits::Msr>(*exit)) << name(*exit);
  EXPECT_TRUE(std::get<exits::Msr>(*exit).write);
  EXPECT_EQ(std::get<exits::Msr>(*exit).value & 0xffff, 0x4321U);
  TRIVET_ASSERT_OK(vcpu().answer_msr(0));
  TRIVET_ASSERT_OK(runner().drain(io));
  TRIVET_EXPECT_OK(vcpu().save(StateElements::all()));
  run_to<exits::Halted>();
  // None any more.
  TRIVET_ASSERT_OK(intercepts->set({}));
  start_at(vcpu(), code_at);
  run_to<exits::Halted>();
}

TEST_F(MsrTest, AnAnswerOfNothingFaultsTheGuest) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  const std::array ranges{MsrRange{0x174, 1}};
  TRIVET_ASSERT_OK(vm->msr_intercepts()->set(ranges));
  memory->put(13 * 4, {0x00, 0x20, 0, 0});  // #GP -> 0x2000: hlt
  memory->put(0x2000, {0xf4});
  memory->put(code_at, {0x66, 0xb9, 0x74, 0x01, 0x00, 0x00, 0x0f, 0x32, 0xeb, 0xfe});
  make_vcpu();
  run_to<exits::Msr>();
  TRIVET_ASSERT_OK(vcpu().answer_msr(std::nullopt));
  run_to<exits::Halted>();
  EXPECT_EQ(vcpu().registers()->rip, 0x2001U);
}

TEST_F(MsrTest, RefusesWhatKvmDoesNotFilter) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  auto& intercepts = *vm->msr_intercepts();
  const std::vector<MsrRange> many(17, MsrRange{0x174, 1});
  expect_error(intercepts.set(many), Errc::limit, "16");
  expect_error(intercepts.set(std::array{MsrRange{0x7ff, 2}}), Errc::unsupported, "x2APIC");
  expect_error(intercepts.set(std::array{MsrRange{0x174, 0}}), Errc::invalid_argument);
  expect_error(intercepts.set(std::array{MsrRange{0x174, 1, false, false}}), Errc::invalid_argument);
  expect_error(intercepts.set(std::array{MsrRange{0xffffffff, 2}}), Errc::invalid_argument, "wraps");
  expect_error(intercepts.set(std::array{MsrRange{0x10000, 0x3001}}), Errc::limit, "12288");
}

using DebugTest = KvmTest;

TEST_F(DebugTest, StepsOneInstructionAtATime) {
  load({0x40, 0x40, 0x40, 0xf4});  // inc ax, three times
  TRIVET_ASSERT_OK(vcpu().set_debug({.single_step = true}));
  for (std::uint64_t step = 1; step <= 3; ++step) {
    const auto exit = runner().run(io);
    TRIVET_ASSERT_OK(exit);
    ASSERT_TRUE(std::holds_alternative<exits::Debug>(*exit)) << name(*exit);
    const auto& debug = std::get<exits::Debug>(*exit);
    EXPECT_EQ(debug.instruction_pointer, code_at + step);
    EXPECT_FALSE(debug.software_breakpoint);
    EXPECT_EQ(vcpu().registers()->rax, step);
  }
  TRIVET_ASSERT_OK(vcpu().set_debug({}));
  run_to<exits::Halted>();
}

TEST_F(DebugTest, SoftwareBreakpointsExit) {
  load({0x40, 0xcc, 0xf4});  // inc eax; int3
  if (hypervisor->supports(Cap::software_breakpoints) == Support::no) {
    expect_error(vcpu().set_debug({.software_breakpoints = true}), Errc::unsupported, "software_breakpoints");
    return;
  }
  auto system = vcpu().system_registers();
  TRIVET_ASSERT_OK(system);
  make_protected(*system);
  TRIVET_ASSERT_OK(vcpu().set_system_registers(*system));
  TRIVET_ASSERT_OK(vcpu().set_debug({.software_breakpoints = true}));
  const auto exit = runner().run(io);
  TRIVET_ASSERT_OK(exit);
  ASSERT_TRUE(std::holds_alternative<exits::Debug>(*exit)) << name(*exit);
  EXPECT_TRUE(std::get<exits::Debug>(*exit).software_breakpoint);
  EXPECT_EQ(std::get<exits::Debug>(*exit).instruction_pointer, code_at + 1);
}

TEST_F(DebugTest, HardwareBreakpointsExit) {
  load({0x40, 0x40, 0x40, 0xf4});
  DebugControl control{.hardware_breakpoints = true};
  if (hypervisor->supports(Cap::breakpoints) == Support::no) {
    expect_error(vcpu().set_debug(control), Errc::unsupported, "breakpoints");
    return;
  }
  control.address[0] = code_at + 2;
  control.dr7 = 0x403;  // breakpoint 0, on execution
  TRIVET_ASSERT_OK(vcpu().set_debug(control));
  const auto exit = runner().run(io);
  TRIVET_ASSERT_OK(exit);
  ASSERT_TRUE(std::holds_alternative<exits::Debug>(*exit)) << name(*exit);
  EXPECT_EQ(std::get<exits::Debug>(*exit).instruction_pointer, code_at + 2);
  EXPECT_EQ(std::get<exits::Debug>(*exit).dr6 & 1, 1U);
}

TEST_F(DebugTest, AnInjectedExceptionIsDelivered) {
  load({0xeb, 0xfe});
  memory->put(6 * 4, {0x00, 0x20, 0, 0});  // #UD -> 0x2000: hlt
  memory->put(0x2000, {0xf4});
  expect_error(vcpu().inject({2}), Errc::invalid_argument, "vector 2");
  expect_error(vcpu().inject({32}), Errc::invalid_argument, "vector 32");
  TRIVET_ASSERT_OK(vcpu().inject({6}));
  expect_error(vcpu().inject({6}), Errc::bad_state, "pending");
  run_to<exits::Halted>();
  EXPECT_EQ(vcpu().registers()->rip, 0x2001U);
}

using ClockTest = KvmTest;

TEST_F(ClockTest, GoesOnFromWhereItWasSetOrCatchesUp) {
  ASSERT_NO_FATAL_FAILURE(make_vm({}));
  make_vcpu();
  auto* clock = vm->clock();
  ASSERT_NE(clock, nullptr);
  const auto saved = clock->save();
  TRIVET_ASSERT_OK(saved);
  EXPECT_NE(saved->realtime_ns, 0U);
  constexpr std::uint64_t hour = 3600ULL * 1'000'000'000;
  constexpr std::uint64_t minute = hour / 60;
  TRIVET_ASSERT_OK(clock->restore({hour, 0}, ClockRestore::frozen));
  auto now = clock->save();
  TRIVET_ASSERT_OK(now);
  EXPECT_GE(now->guest_ns, hour);
  EXPECT_LT(now->guest_ns, hour + minute);
  TRIVET_ASSERT_OK(clock->restore({hour, saved->realtime_ns - hour}, ClockRestore::catch_up));
  now = clock->save();
  TRIVET_ASSERT_OK(now);
  EXPECT_GE(now->guest_ns, 2 * hour);
  EXPECT_LT(now->guest_ns, 2 * hour + minute);
  expect_error(clock->restore({hour, 0}, ClockRestore::catch_up), Errc::invalid_argument, "wall clock");
}

}  // namespace
}  // namespace trivet::kvm::test
