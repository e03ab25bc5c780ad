// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <thread>

#include "support.hpp"

namespace trivet::kvm::test {
namespace {

using RunnerTest = KvmTest;

TEST_F(RunnerTest, ServesPortsOfEveryWidthInOrder) {
  load({0xba, 0x10, 0x00,                                // mov dx, 0x10
        0xb0, 0x12, 0xee,                                // mov al, 0x12; out dx, al
        0xb8, 0x34, 0x12, 0xef,                          // mov ax, 0x1234; out dx, ax
        0x66, 0xb8, 0x78, 0x56, 0x34, 0x12, 0x66, 0xef,  // mov eax, 0x12345678; out dx, eax
        0xec, 0xe6, 0x20,                                // in al, dx; out 0x20, al
        0xf4});
  io.answer = [](const Seen&) { return 0x5a; };
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::pio_out, 0x10, 1, 0x12},
                                        {Seen::pio_out, 0x10, 2, 0x1234},
                                        {Seen::pio_out, 0x10, 4, 0x12345678},
                                        {Seen::pio_in, 0x10, 1, 0x5a},
                                        {Seen::pio_out, 0x20, 1, 0x5a}}));
}

TEST_F(RunnerTest, SplitsStringPortsIntoElements) {
  load({0xba, 0x10, 0x00, 0xbe, 0x00, 0x20, 0xb9, 0x03, 0x00,  // mov dx, 0x10; mov si, 0x2000; mov cx, 3
        0xfc, 0xf3, 0x6f,                                      // cld; rep outsw
        0xbf, 0x00, 0x30, 0xb9, 0x03, 0x00, 0xf3, 0x6c,        // mov di, 0x3000; mov cx, 3; rep insb
        0xf4});
  memory->put(0x2000, {1, 0, 2, 0, 3, 0});
  std::uint64_t next = 0x41;
  io.answer = [&](const Seen&) { return next++; };
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::pio_out, 0x10, 2, 1},
                                        {Seen::pio_out, 0x10, 2, 2},
                                        {Seen::pio_out, 0x10, 2, 3},
                                        {Seen::pio_in, 0x10, 1, 0x41},
                                        {Seen::pio_in, 0x10, 1, 0x42},
                                        {Seen::pio_in, 0x10, 1, 0x43}}));
  EXPECT_EQ(std::memcmp(memory->data() + 0x3000, "ABC", 3), 0);
}

TEST_F(RunnerTest, ServesMemoryAccessesOutsideRegions) {
  load({0xb8, 0x00, 0xf0, 0x8e, 0xd8,  // mov ax, 0xf000; mov ds, ax
        0xa1, 0x10, 0x00,              // mov ax, [0x10]
        0x83, 0x06, 0x20, 0x00, 0x05,  // add word [0x20], 5
        0xa2, 0x30, 0x00,              // mov [0x30], al
        0xf4});
  io.answer = [](const Seen& seen) { return seen.at == 0xf0010 ? 0x1234 : 0x100; };
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::load, 0xf0010, 2, 0x1234},
                                        {Seen::load, 0xf0020, 2, 0x100},
                                        {Seen::store, 0xf0020, 2, 0x105},
                                        {Seen::store, 0xf0030, 1, 0x34}}));
}

TEST_F(RunnerTest, ReadOnlyMemoryReadsAndItsWritesCome) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  const HostPages rom(4096);
  rom.put(0, {0x42});
  RegionSpec spec{{{0x20000}, 4096}, HostMemory{rom.data()}, Access::read_only};
  TRIVET_ASSERT_OK(vm->map(spec));
  memory->put(code_at, {0xb8, 0x00, 0x20, 0x8e, 0xd8,  // mov ax, 0x2000; mov ds, ax
                        0xa0, 0x00, 0x00,              // mov al, [0]
                        0xfe, 0xc0, 0xa2, 0x00, 0x00,  // inc al; mov [0], al
                        0xf4});
  make_vcpu();
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen, (std::vector<Seen>{{Seen::store, 0x20000, 1, 0x43}}));
  EXPECT_EQ(rom.data()[0], std::byte{0x42});
}

TEST_F(RunnerTest, KickBeforeRunReturnsAtOnceAndOnlyOnce) {
  load({0xf4});
  runner().kicker().kick();
  runner().kicker().kick();
  run_to<exits::Kicked>();
  run_to<exits::Halted>();
}

TEST_F(RunnerTest, KickFromTheHandlerFinishesTheAccess) {
  load({0xe4, 0x10, 0xe6, 0x20, 0xf4});  // in al, 0x10; out 0x20, al; hlt
  io.answer = [&](const Seen&) {
    runner().kicker().kick();
    return 0x77;
  };
  run_to<exits::Kicked>();
  const auto registers = vcpu().registers();
  TRIVET_ASSERT_OK(registers);
  EXPECT_EQ(registers->rax & 0xff, 0x77U);
  EXPECT_EQ(registers->rip, code_at + 2);
  TRIVET_EXPECT_OK(vcpu().save(StateElements::all()));
  run_to<exits::Halted>();
}

TEST_F(RunnerTest, KickGetsALoopingGuestOut) {
  load({0xeb, 0xfe});  // jmp $
  std::thread kicker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    runner().kicker().kick();
  });
  run_to<exits::Kicked>();
  kicker.join();
}

TEST_F(RunnerTest, NoKickIsLostUnderStress) {
  load({0xeb, 0xfe});
  constexpr int rounds = 300;  // the conformance suite makes 100,000
  std::atomic<int> returned{0};
  // Each kick waits for its return: a lost one would hang here (and the test's time limit would tell).
  std::thread kicker([&] {
    for (int round = 0; round < rounds; ++round) {
      for (std::atomic<int> wait{(round * 37) % 500}; wait > 0;) wait.fetch_sub(1);  // another moment each time
      runner().kicker().kick();
      while (returned.load() <= round) std::this_thread::yield();
    }
  });
  for (int round = 0; round < rounds; ++round) {
    const auto exit = runner().run(io);
    ASSERT_TRUE(exit && std::holds_alternative<exits::Kicked>(*exit));
    returned.fetch_add(1);
  }
  kicker.join();
}

TEST_F(RunnerTest, ASecondRunAndStateCallsAreRefusedWhileRunning) {
  load({0xe6, 0x10, 0xf4});  // out 0x10, al; hlt
  io.on_access = [&](const Seen&) {
    expect_error(runner().run(io), Errc::bad_state, "run already");
    expect_error(runner().drain(io), Errc::bad_state);
    expect_error(vcpu().registers(), Errc::bad_state, "running");
    expect_error(vcpu().set_registers({}), Errc::bad_state);
    expect_error(vcpu().save({}), Errc::bad_state);
    expect_error(vcpu().restore({}), Errc::bad_state);
    expect_error(vcpu().set_debug({}), Errc::bad_state);
    expect_error(vcpu().inject({13}), Errc::bad_state);
    expect_error(vcpu().translate({0}), Errc::bad_state);
  };
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen.size(), 1U);
}

TEST_F(RunnerTest, TripleFaultIsTold) {
  load({0x0f, 0x0b});  // ud2
  auto system = vcpu().system_registers();
  TRIVET_ASSERT_OK(system);
  make_protected(*system);  // with an empty IDT
  TRIVET_ASSERT_OK(vcpu().set_system_registers(*system));
  run_to<exits::TripleFault>();
}

TEST_F(RunnerTest, DrainFinishesAnAccessWithoutRunningOn) {
  load({0xe4, 0x10, 0xe6, 0x20, 0xf4});  // in al, 0x10; out 0x20, al; hlt
  io.answer = [](const Seen&) { return 0x66; };
  // A kick that the handler makes leaves nothing to drain; what must survive it is the kick that came before.
  runner().kicker().kick();
  TRIVET_EXPECT_OK(runner().drain(io));
  EXPECT_TRUE(io.seen.empty());
  run_to<exits::Kicked>();
  run_to<exits::Halted>();
  EXPECT_EQ(io.seen.back(), (Seen{Seen::pio_out, 0x20, 1, 0x66}));
}

TEST_F(RunnerTest, RunsTwoVcpusAtOnce) {
  VmConfig config{.max_vcpus = 2, .irqchip = IrqchipKind::none};
  ASSERT_NO_FATAL_FAILURE(make_vm(config));
  memory->put(0x1000, {0xff, 0x06, 0x00, 0x30, 0xf4});  // inc word [0x3000]; hlt
  memory->put(0x2000, {0xff, 0x06, 0x02, 0x30, 0xf4});  // inc word [0x3002]; hlt
  make_vcpu(1, 0x2000);
  make_vcpu(0, 0x1000);
  ASSERT_EQ(vm->vcpus().size(), 2U);
  EXPECT_EQ(vm->vcpus()[0]->index(), 0U);
  EXPECT_EQ(runner(1).vcpu(), vm->vcpus()[1]);
  Recorder other;
  std::thread second([&] { EXPECT_TRUE(std::holds_alternative<exits::Halted>(runner(1).run(other).value())); });
  run_to<exits::Halted>(0);
  second.join();
  EXPECT_EQ(std::to_integer<int>(memory->data()[0x3000]), 1);
  EXPECT_EQ(std::to_integer<int>(memory->data()[0x3002]), 1);
}

}  // namespace
}  // namespace trivet::kvm::test
