// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <thread>
#include <unistd.h>

#include "support.hpp"

namespace trivet::mshv {
namespace {

using test::Machine;
using Trace = std::vector<std::string>;

// Ports and devices of all sizes, strings with and without repetition, a read-modify-write, SSE; ends in HLT.
constexpr std::initializer_list<int> mixture{0xb8, 0x34, 0x12,                    // mov ax, 0x1234
                                             0xe6, 0x80,                          // out 0x80, al
                                             0xe7, 0x80,                          // out 0x80, ax
                                             0x66, 0xe5, 0x81,                    // in eax, 0x81
                                             0xba, 0x90, 0x00,                    // mov dx, 0x90
                                             0xbe, 0x00, 0x20,                    // mov si, 0x2000
                                             0xb9, 0x03, 0x00, 0xf3, 0x6e,        // mov cx, 3; rep outsb
                                             0xbf, 0x00, 0x21,                    // mov di, 0x2100
                                             0xb9, 0x02, 0x00, 0xf3, 0x6d,        // mov cx, 2; rep insw
                                             0xb8, 0x00, 0xf0, 0x8e, 0xd8,        // mov ax, 0xf000; mov ds, ax
                                             0x8e, 0xc0,                          // mov es, ax
                                             0xbb, 0x00, 0x20,                    // mov bx, 0x2000: above RAM
                                             0xc6, 0x07, 0x5a,                    // mov byte [bx], 0x5a
                                             0x66, 0x8b, 0x0f,                    // mov ecx, [bx]
                                             0x66, 0x83, 0x07, 0x01,              // add dword [bx], 1
                                             0xbf, 0x10, 0x20, 0xb0, 0x77,        // mov di, 0x2010; mov al, 0x77
                                             0xb9, 0x02, 0x00, 0xf3, 0xaa,        // mov cx, 2; rep stosb
                                             0x89, 0x47, 0x02, 0x89, 0x47, 0x04,  // mov [bx+2], ax; mov [bx+4], ax
                                             0x0f, 0x10, 0x47, 0x20,              // movups xmm0, [bx+0x20]
                                             0x0f, 0x11, 0x47, 0x30,              // movups [bx+0x30], xmm0
                                             0xf4};                               // hlt
const Trace mixture_trace{"out 80 1 34",
                          "out 80 2 1234",
                          "in 81 4",
                          "out 90 1 a1",
                          "out 90 1 a2",
                          "out 90 1 a3",
                          "in 90 2",
                          "in 90 2",
                          "store f2000 1 5a",
                          "load f2000 4",
                          "load f2000 4",
                          "store f2000 4 55667789",
                          "store f2010 1 77",
                          "store f2011 1 77",
                          "store f2002 2 f077",
                          "store f2004 2 f077",
                          "load f2020 8",
                          "load f2028 8",
                          "store f2030 8 1122334455667788",
                          "store f2038 8 1122334455667788"};

void run_mixture(const mshv_sim::Knobs& knobs) {
  Machine machine(knobs);
  machine.ram.put(test::code_at, mixture);
  machine.ram.put(0x2000, {0xa1, 0xa2, 0xa3});
  auto system = Machine::must(machine.vcpu->system_registers());
  system.cr4 |= 0x200;  // SSE
  Machine::must_do(machine.vcpu->set_system_registers(system));
  const auto exit = machine.run();
  EXPECT_TRUE(std::holds_alternative<exits::Halted>(exit)) << name(exit);
  EXPECT_EQ(machine.bus.trace, mixture_trace);
  EXPECT_EQ(*machine.ram.at(0x2100), std::byte{0x88});
  EXPECT_EQ(*machine.ram.at(0x2102), std::byte{0x88});
  EXPECT_EQ(*machine.ram.at(0x2104), std::byte{0x00});
  const auto registers = Machine::must(machine.vcpu->registers());
  EXPECT_EQ(registers.rcx, 0x55660000U);
  EXPECT_EQ(registers.rsi, 0x2003U);
  EXPECT_EQ(registers.rdi, 0x2012U);
  const auto state = Machine::must(machine.vcpu->save({StateElement::xsave}));
  EXPECT_EQ(state.xsave->area[160], 0x88);
}

TEST(MshvRunner, ServesPortsAndDevices) {
  TRIVET_NEEDS_KVM();
  run_mixture({});
}

struct Unkind {
  const char* words;
};
class MshvRunnerOnUnkindHosts : public testing::TestWithParam<Unkind> {};
TEST_P(MshvRunnerOnUnkindHosts, ServesTheSame) {
  TRIVET_NEEDS_KVM();
  mshv_sim::Knobs knobs;
  std::string wrong;
  ASSERT_TRUE(knobs.parse(GetParam().words, wrong)) << wrong;
  run_mixture(knobs);
}
INSTANTIATE_TEST_SUITE_P(Knobs, MshvRunnerOnUnkindHosts,
                         testing::Values(Unkind{"no-bytes"}, Unkind{"no-gva"}, Unkind{"no-length"},
                                         Unkind{"no-register-page"}, Unkind{"flaky-register-page=2"},
                                         Unkind{"again-every=2"}, Unkind{"most-repetitions=3"},
                                         Unkind{"interrupt-every=2"},
                                         Unkind{"no-bytes,no-gva,no-length,flaky-register-page=3,again-every=3,"
                                                "most-repetitions=1,interrupt-every=3"}));

TEST(MshvRunner, GivesTheGuestItsFaults) {
  TRIVET_NEEDS_KVM();
  Machine machine;
  machine.protect();
  // The interrupt table leads nowhere: a fault becomes a double fault, and that a triple one.
  machine.ram.put(test::code_at, {0xa1, 0x00, 0x00, 0x20, 0x00,          // mov eax, [0x200000]: a device
                                  0x8e, 0x1d, 0x00, 0x00, 0x20, 0x00});  // mov ds, [0x200000]: selector 0x7788 is none
  auto system = Machine::must(machine.vcpu->system_registers());
  system.idt.limit = 0;
  Machine::must_do(machine.vcpu->set_system_registers(system));
  const auto exit = machine.run();
  EXPECT_TRUE(std::holds_alternative<exits::TripleFault>(exit)) << name(exit);
  EXPECT_EQ(machine.bus.trace, (Trace{"load 200000 4", "load 200000 2"}));
}

TEST(MshvRunner, ReportsCodeThatLiesNowhere) {
  TRIVET_NEEDS_KVM();
  Machine machine;
  machine.protect();
  machine.ram.put(test::code_at, {0xb8, 0x00, 0x00, 0x30, 0x00, 0xff, 0xe0});  // mov eax, 0x300000; jmp eax
  const auto exit = machine.run();
  const auto* failure = std::get_if<exits::EmulationFailure>(&exit);
  ASSERT_NE(failure, nullptr) << name(exit);
  EXPECT_EQ(failure->instruction_pointer, 0x300000U);
}

TEST(MshvRunner, ReportsWhatItDoesNotEmulate) {
  TRIVET_NEEDS_KVM();
  Machine machine;
  machine.ram.put(test::code_at, {0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0x0f, 0x6f, 0x06, 0x00, 0x20});  // movq mm0, [0xf2000]
  const auto exit = machine.run();
  const auto* failure = std::get_if<exits::EmulationFailure>(&exit);
  ASSERT_NE(failure, nullptr) << name(exit);
  EXPECT_EQ(failure->instruction_pointer, test::code_at + 5);
}

TEST(MshvRunner, EndsOfLevelInterruptsAreTold) {
  TRIVET_NEEDS_KVM();
  Machine machine({}, IrqchipKind::split);
  machine.protect();
  constexpr std::uint8_t vector = 0x40;
  machine.ram.put(0x3000 + vector * 8, {0x00, 0x20, 0x08, 0x00, 0x00, 0x8e, 0x00, 0x00});      // gate to 8:0x2000
  machine.ram.put(test::code_at, {0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00,  // enable the LAPIC
                                  0xfb, 0xe6, 0x80, 0xf3, 0x90, 0xeb, 0xfc});  // sti; out 0x80, al; pause; loop
  machine.ram.put(0x2000, {0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00,  // end of interrupt
                           0xe6, 0x81, 0xe6, 0x82, 0xfb, 0xf3, 0x90, 0xeb, 0xfc});      // out 0x81; out 0x82; sti; wait
  auto* const router = machine.vm->irq_router();
  auto route = Machine::must(router->msi_route({0xfee00000, vector | 1U << 15}));
  int calls = 0;
  machine.bus.on_write = [&](std::uint16_t port) {
    if (port == 0x80) {
      const std::uint64_t one = 1;
      EXPECT_EQ(::write(route->trigger_fd(), &one, sizeof one), 8);
    } else if (port == 0x82 && ++calls == 1) {  // its end is told when the guest goes on behind it
      Machine::must_do(router->signal_msi({0xfee00000, vector | 1U << 15}));
    } else if (port == 0x82) {
      machine.vm->runners().front()->kicker().kick();
    }
  };
  const auto exit = machine.run();
  EXPECT_TRUE(std::holds_alternative<exits::Kicked>(exit)) << name(exit);
  EXPECT_EQ(machine.bus.ended, (std::vector<unsigned>{vector, vector}));
}

TEST(MshvRunner, LosesNoKick) {
  TRIVET_NEEDS_KVM();
  Machine machine;
  machine.ram.put(test::code_at, {0xeb, 0xfe});  // jmp to itself
  constexpr int kicks = 5'000;
  std::atomic<int> ended = 0;
  std::thread runner([&] {
    for (int i = 0; i < kicks; ++i) {
      const auto exit = machine.vm->runners().front()->run(machine.bus);
      if (!exit || !std::holds_alternative<exits::Kicked>(*exit)) return;
      ++ended;
    }
  });
  for (int i = 0; i < kicks; ++i) {
    machine.vm->runners().front()->kicker().kick();
    while (ended <= i) std::this_thread::yield();
  }
  runner.join();
  EXPECT_EQ(ended, kicks);
}

TEST(MshvRunner, RefusesStateCallsWhileItRuns) {
  TRIVET_NEEDS_KVM();
  Machine machine;
  machine.ram.put(test::code_at, {0xe6, 0x80, 0xf4});
  Errc seen{};
  machine.bus.on_write = [&](std::uint16_t) { seen = machine.vcpu->registers().error().code(); };
  (void)machine.run();
  EXPECT_EQ(seen, Errc::bad_state);
}

TEST(MshvDirtyLog, SeesWhatTheEmulatorWrote) {
  TRIVET_NEEDS_KVM();
  Machine machine;
  const test::Ram logged;
  constexpr GuestRange range{{0x20000}, test::ram_size};
  Machine::must_do(machine.vm->map({range, HostMemory{logged.at(0)}, Access::read_write, true}));
  machine.ram.put(test::code_at, {0xb8, 0x00, 0x20, 0x8e, 0xc0,                // mov ax, 0x2000; mov es, ax
                                  0xbf, 0x00, 0x30, 0xba, 0x90, 0x00, 0x6c,    // insb to 0x23000: by the emulator
                                  0x26, 0xc6, 0x06, 0x00, 0x50, 0x01, 0xf4});  // mov byte es:[0x5000], 1
  EXPECT_TRUE(std::holds_alternative<exits::Halted>(machine.run()));
  EXPECT_EQ(Machine::must(machine.vm->dirty_log()->take(range)), DirtyBitmap{1U << 3 | 1U << 5});
  EXPECT_EQ(Machine::must(machine.vm->dirty_log()->take(range)), DirtyBitmap{0});
  Machine::must_do(machine.vm->unmap(range));
}

}  // namespace
}  // namespace trivet::mshv
