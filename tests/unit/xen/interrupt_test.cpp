// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Messages in every domain, lines where Xen has the controllers.
#include <gmock/gmock.h>

#include "support.hpp"

namespace trivet::xen::test {
namespace {

using ::testing::ElementsAre;

class XenInterruptTest : public XenTest {
 protected:
  static constexpr std::uint64_t idt = 0x5000;

  /// A guest that turns its LAPIC on, tells done_port, and waits; `vector`'s handler says so at port 0x510.
  void load_waiting(IrqchipKind irqchip, std::uint8_t vector, const Code& before = {}) {
    // mov dword [0xfee000f0], 0x1ff; ...; sti; mov dx, 0x500; out dx, al; again: hlt; jmp again
    Code code{0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00};
    code.insert(code.end(), before.begin(), before.end());
    const Code after{0xfb, 0x66, 0xba, 0x00, 0x05, 0xee, 0xf4, 0xeb, 0xfd};
    code.insert(code.end(), after.begin(), after.end());
    ASSERT_NO_FATAL_FAILURE(load32(code, irqchip));
    if (IsSkipped()) return;
    // mov dx, 0x510; out dx, al; mov dword [0xfee000b0], 0; iret
    put(0x4000, {0x66, 0xba, 0x10, 0x05, 0xee, 0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00, 0xcf});
    put(idt + vector * 8U, {0x00, 0x40, 0x08, 0x00, 0x00, 0x8e, 0x00, 0x00});
    put(0x6000, {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0});
    auto system = vcpu().system_registers();
    TRIVET_ASSERT_OK(system);
    system->idt = {idt, 0x7ff};
    system->gdt = {0x6000, 23};
    TRIVET_ASSERT_OK(vcpu().set_system_registers(*system));
  }

  /// Runs until the handler has said so once more.
  void run_to_interrupt() {
    io.on_access = [&](const Seen& access) {
      if (access.at != 0x510) return;
      ++interrupts;
      if (on_interrupt) on_interrupt();
      runner().kicker().kick();
    };
    run_to<exits::Kicked>();
    TRIVET_ASSERT_OK(vm->pause());
  }

  int interrupts = 0;
  std::function<void()> on_interrupt;  ///< as a device does: before the guest's handler ends
};

TEST_F(XenInterruptTest, KnowsTheMessagesThatAreMaskedAsEventChannels) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  const auto& router = *vm->irq_router();
  for (const std::uint32_t data : {0x4300U, 0x700U}) {  // of Linux up to 5.10, and since
    EXPECT_TRUE(router.masked_elsewhere({0xfee00000 | 23U << 12, data, 0})) << data;
    EXPECT_TRUE(router.masked_elsewhere({std::uint64_t{0x100} << 32 | 0xfee00000, data, 0})) << data;
    EXPECT_FALSE(router.masked_elsewhere({0xfee00000, data, 0})) << data << ": no pirq";
    EXPECT_FALSE(router.masked_elsewhere({0xfee01000, data | 0x41, 0})) << data << ": an interrupt vector";
  }
  EXPECT_FALSE(router.masked_elsewhere({0xfee01000, 0, 0})) << "a table that is not written yet";
}

TEST_F(XenInterruptTest, AMessageWakesAHaltedGuest) {
  ASSERT_NO_FATAL_FAILURE(load_waiting(IrqchipKind::split, 0x40));
  if (IsSkipped()) return;
  run_to_mark();
  if (HasFatalFailure()) return;
  auto route = vm->irq_router()->msi_route({0xfee00000, 0x40, 0});
  TRIVET_ASSERT_OK(route);
  TRIVET_ASSERT_OK((*route)->signal());
  ASSERT_NO_FATAL_FAILURE(run_to_interrupt());
  TRIVET_ASSERT_OK(vm->irq_router()->signal_msi({0xfee00000, 0x40, 0}));
  ASSERT_NO_FATAL_FAILURE(run_to_interrupt());
  EXPECT_EQ(interrupts, 2);
  EXPECT_EQ((*route)->trigger_fd(), -1);
  expect_error((*route)->set_level(true), Errc::unsupported, "message");
}

TEST_F(XenInterruptTest, ARouteRaisesItsLatestMessage) {
  ASSERT_NO_FATAL_FAILURE(load_waiting(IrqchipKind::full, 0x51));
  if (IsSkipped()) return;
  run_to_mark();
  if (HasFatalFailure()) return;
  auto route = vm->irq_router()->msi_route({0xfee00000, 0x99, 0});
  TRIVET_ASSERT_OK(route);
  TRIVET_ASSERT_OK((*route)->set_message({0xfee00000, 0x51, 0}));
  TRIVET_ASSERT_OK((*route)->signal());
  ASSERT_NO_FATAL_FAILURE(run_to_interrupt());
}

TEST_F(XenInterruptTest, ALineNeverReachesADomainWithoutControllers) {
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split));
  if (IsSkipped()) return;
  for (const auto trigger : {Trigger::edge, Trigger::level, Trigger::level_resample}) {
    expect_error(vm->irq_router()->line(4, trigger), Errc::unsupported, "lines");
  }
  EXPECT_EQ(vm->irqchip()->kind(), IrqchipKind::split);
  const auto states = vm->irqchip()->save();
  TRIVET_ASSERT_OK(states);
  EXPECT_TRUE(states->empty());
  expect_error(vm->irqchip()->restore({{"ioapic", {}}}), Errc::malformed, "ioapic");
}

TEST_F(XenInterruptTest, LinesOfBothKindsReachTheIoapic) {
  struct Case {
    std::uint32_t gsi;
    Trigger trigger;
  };
  for (const auto& [gsi, trigger] : {Case{4, Trigger::edge}, Case{20, Trigger::level}, Case{47, Trigger::level}}) {
    // mov dword [0xfec00000], 0x10 + 2 gsi; mov dword [0xfec00010], vector | level << 15 | polarity << 13
    const auto index = static_cast<std::uint8_t>(0x10 + 2 * gsi);
    const auto high = static_cast<std::uint8_t>(trigger == Trigger::level ? 0xa0 : 0);
    const Code program{0xc7, 0x05, 0x00, 0x00, 0xc0, 0xfe, index, 0x00, 0x00, 0x00,
                       0xc7, 0x05, 0x10, 0x00, 0xc0, 0xfe, 0x42,  high, 0x00, 0x00};
    ASSERT_NO_FATAL_FAILURE(load_waiting(IrqchipKind::full, 0x42, program));
    if (IsSkipped()) return;
    interrupts = 0;
    run_to_mark();
    if (HasFatalFailure()) return;
    auto line = vm->irq_router()->line(gsi, trigger);
    TRIVET_ASSERT_OK(line);
    on_interrupt = [&, level = trigger == Trigger::level] {
      if (level) TRIVET_EXPECT_OK((*line)->set_level(false));
    };
    TRIVET_ASSERT_OK(trigger == Trigger::edge ? (*line)->signal() : (*line)->set_level(true));
    ASSERT_NO_FATAL_FAILURE(run_to_interrupt());
    EXPECT_EQ(interrupts, 1);
    on_interrupt = nullptr;
    line->reset();
    vm.reset();
  }
}

TEST_F(XenInterruptTest, WrongLinesAreRefusedByName) {
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::full));
  if (IsSkipped()) return;
  expect_error(vm->irq_router()->line(0, Trigger::edge), Errc::out_of_range, "GSI 0");
  expect_error(vm->irq_router()->line(48, Trigger::edge), Errc::out_of_range, "GSI 48");
  expect_error(vm->irq_router()->line(20, Trigger::level_resample), Errc::unsupported, "resample");
  auto edge = vm->irq_router()->line(4, Trigger::edge);
  TRIVET_ASSERT_OK(edge);
  expect_error((*edge)->set_level(true), Errc::unsupported, "edge");
  expect_error(vm->irq_router()->line(4, Trigger::level), Errc::already_exists, "another trigger");
}

TEST_F(XenInterruptTest, ControllersAreSavedAndRestored) {
  ASSERT_NO_FATAL_FAILURE(load({0xeb, 0xfe}, IrqchipKind::full));
  if (IsSkipped()) return;
  auto states = vm->irqchip()->save();
  TRIVET_ASSERT_OK(states);
  bool changed = false;
  for (auto& state : *states) {
    if (state.controller != "ioapic") continue;
    state.registers[16 + 8 * 5] = 0x33;  // the vector of pin 5
    changed = true;
  }
  ASSERT_TRUE(changed);
  TRIVET_ASSERT_OK(vm->irqchip()->restore(*states));
  const auto back = vm->irqchip()->save();
  TRIVET_ASSERT_OK(back);
  for (const auto& state : *back) {
    if (state.controller != "ioapic") continue;
    EXPECT_EQ(state.registers[16 + 8 * 5], 0x33);
  }
  expect_error(vm->irqchip()->restore({{"ioapic", {1, 2}}}), Errc::malformed, "bytes");
  expect_error(vm->irqchip()->restore({{"toaster", {}}}), Errc::malformed, "toaster");
  // The vCPU is still up.
  const auto activity = vcpu().save({StateElement::activity});
  TRIVET_ASSERT_OK(activity);
  EXPECT_EQ(*activity->activity, Activity::running);
}

}  // namespace
}  // namespace trivet::xen::test
