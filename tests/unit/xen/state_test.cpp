// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// vCPU state: what is written is read back, what is saved goes on in another domain.
#include <gmock/gmock.h>

#include "support.hpp"

namespace trivet::xen::test {
namespace {

using ::testing::ElementsAre;

using XenStateTest = XenTest;

TEST_F(XenStateTest, AVcpuStartsInTheResetState) {
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split, 2));
  if (IsSkipped()) return;
  for (unsigned i = 0; i < 2; ++i) {
    const auto made = vm->create_vcpu(i);
    TRIVET_ASSERT_OK(made);
    const auto system = (*made)->system_registers();
    TRIVET_ASSERT_OK(system);
    const auto registers = (*made)->registers();
    TRIVET_ASSERT_OK(registers);
    EXPECT_EQ(system->cs.base + registers->rip, 0xfffffff0U);
    EXPECT_EQ(system->cr0 & 0x80000001, 0U);
    EXPECT_EQ(system->apic_base & 0xfffff900, i == 0 ? 0xfee00900U : 0xfee00800U);
    const auto state = (*made)->save({StateElement::activity});
    TRIVET_ASSERT_OK(state);
    EXPECT_EQ(*state->activity, i == 0 ? Activity::running : Activity::wait_for_sipi);
  }
  expect_error(vm->create_vcpu(1), Errc::already_exists, "1");
  expect_error(vm->create_vcpu(2), Errc::out_of_range, "2");
}

TEST_F(XenStateTest, EveryElementIsReadBackAsWritten) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  const auto saved = vcpu().save(StateElements::all());
  TRIVET_ASSERT_OK(saved);
  for (const auto element : all_state_elements()) {
    EXPECT_EQ(saved->elements().contains(element), vm->state_support(element).present) << to_string(element);
  }
  VcpuState changed = *saved;
  auto& general = *changed.general_registers;
  general = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0x1000, 0x202};
  changed.system_registers->cr2 = 0x1234;
  changed.system_registers->cr8 = 3;
  changed.system_registers->gdt = {0x5000, 0x7f};
  changed.debug_registers = DebugRegisters{{0x10, 0x20, 0x30, 0x40}, 0xffff0ff0, 0x400};
  changed.xsave->area[160] = 0x5a;  // XMM0
  changed.events->interrupt_injected = true;
  changed.events->interrupt_vector = 0x41;
  for (auto& msr : *changed.msrs) {
    if (msr.index == 0xc0000082) msr.value = 0xffff800000001000;
    if (msr.index == 0x174) msr.value = 0x10;
    if (msr.index == 0x277) msr.value = 0x0007010600070106;
  }
  changed.cpuid.reset();
  changed.tsc->value = std::uint64_t{1} << 50;
  TRIVET_ASSERT_OK(vcpu().restore(changed));
  const auto back = vcpu().save(StateElements::all());
  TRIVET_ASSERT_OK(back);
  EXPECT_EQ(*back->general_registers, general);
  EXPECT_EQ(*back->system_registers, *changed.system_registers);
  EXPECT_EQ(*back->debug_registers, *changed.debug_registers);
  EXPECT_EQ(*back->xsave, *changed.xsave);
  EXPECT_EQ(*back->extended_control, *changed.extended_control);
  EXPECT_EQ(*back->events, *changed.events);
  EXPECT_EQ(*back->msrs, *changed.msrs);
  EXPECT_GE(back->tsc->value, changed.tsc->value);
  EXPECT_LT(back->tsc->value, changed.tsc->value * 2);
  EXPECT_EQ(*back->cpuid, *saved->cpuid);
}

TEST_F(XenStateTest, ImpossibleStatesAreRefused) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  VcpuState state;
  state.xsave.emplace().area.resize(100);
  expect_error(vcpu().restore(state), Errc::malformed, "576");
  state = {};
  state.extended_control = ExtendedControl{2};
  expect_error(vcpu().restore(state), Errc::malformed, "x87");
  state = {};
  state.general_registers = GeneralRegisters{};
  state.general_registers->rflags = 0;
  expect_error(vcpu().restore(state), Errc::malformed, "rflags");
  state = {};
  state.activity = Activity::init_received;
  expect_error(vcpu().restore(state), Errc::unsupported, "activity");
  auto system = vcpu().system_registers();
  TRIVET_ASSERT_OK(system);
  system->cr4 = ~std::uint64_t{0};
  expect_error(vcpu().set_system_registers(*system), Errc::malformed, "Xen refuses");
}

TEST_F(XenStateTest, AGuestGoesOnInAnotherDomain) {
  // mov ecx, 0x111; mov dx, 0x500; out dx, al; mov [0x2000], ecx; cli; hlt
  load32({0xb9, 0x11, 0x01, 0x00, 0x00, 0x66, 0xba, 0x00, 0x05, 0xee, 0x89, 0x0d, 0x00, 0x20, 0x00, 0x00, 0xfa, 0xf4});
  if (HasFatalFailure() || IsSkipped()) return;
  run_to_mark();
  if (HasFatalFailure()) return;
  const auto state = vcpu().save(StateElements::all());
  TRIVET_ASSERT_OK(state);
  const std::vector<std::byte> memory(ram, ram + ram_size);
  vm.reset();
  ASSERT_NO_FATAL_FAILURE(make_vm());
  std::memcpy(ram, memory.data(), memory.size());
  ASSERT_NO_FATAL_FAILURE(make_vcpu());
  TRIVET_ASSERT_OK(vcpu().restore(*state));
  run_to<exits::PowerOff>();
  EXPECT_EQ(word(0x2000), 0x111U);
}

TEST_F(XenStateTest, SettingOneVcpuLeavesTheOthersUp) {
  // vCPU 1: again: inc dword [0x2000]; jmp again
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split, 2));
  if (IsSkipped()) return;
  put(0x1000, {0xeb, 0xfe});
  put(0x3000, {0xff, 0x05, 0x00, 0x20, 0x00, 0x00, 0xeb, 0xf8});
  ASSERT_NO_FATAL_FAILURE(make_vcpu(0));
  ASSERT_NO_FATAL_FAILURE(make_vcpu(1, 0x3000));
  ASSERT_NO_FATAL_FAILURE(enter_protected_mode(vcpu(1)));
  VcpuState up;
  up.activity = Activity::running;
  TRIVET_ASSERT_OK(vcpu(1).restore(up));
  auto registers = vcpu(0).registers();
  TRIVET_ASSERT_OK(registers);
  registers->rax = 7;
  TRIVET_ASSERT_OK(vcpu(0).set_registers(*registers));
  TRIVET_ASSERT_OK(vm->resume());
  while (word(0x2000) == 0) std::this_thread::yield();
  TRIVET_ASSERT_OK(vm->pause());
  VcpuState down;
  down.activity = Activity::wait_for_sipi;
  TRIVET_ASSERT_OK(vcpu(1).restore(down));
  const auto after = vcpu(1).save({StateElement::activity});
  TRIVET_ASSERT_OK(after);
  EXPECT_EQ(*after->activity, Activity::wait_for_sipi);
}

TEST_F(XenStateTest, ChangingAWaitingVcpuDoesNotStartIt) {
  // vCPU 1, were it up: again: inc dword [0x2000]; jmp again
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split, 2));
  if (IsSkipped()) return;
  put(0x1000, {0xeb, 0xfe});
  put(0x3000, {0xff, 0x05, 0x00, 0x20, 0x00, 0x00, 0xeb, 0xf8});
  ASSERT_NO_FATAL_FAILURE(make_vcpu(0));
  ASSERT_NO_FATAL_FAILURE(make_vcpu(1, 0x3000));
  ASSERT_NO_FATAL_FAILURE(enter_protected_mode(vcpu(1)));
  VcpuState firmware;
  firmware.msrs = std::vector<MsrValue>{{0x2ff, 0xc06}};
  TRIVET_ASSERT_OK(vcpu(1).restore(firmware));
  const auto state = vcpu(1).save({StateElement::activity, StateElement::general_registers, StateElement::msrs});
  TRIVET_ASSERT_OK(state);
  EXPECT_EQ(*state->activity, Activity::wait_for_sipi);
  EXPECT_EQ(state->general_registers->rip, 0x3000U);
  EXPECT_THAT(*state->msrs, testing::Contains(testing::AllOf(testing::Field(&MsrValue::index, 0x2ffU),
                                                             testing::Field(&MsrValue::value, 0xc06U))));
  TRIVET_ASSERT_OK(vm->resume());
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  TRIVET_ASSERT_OK(vm->pause());
  EXPECT_EQ(word(0x2000), 0U);
  VcpuState up;
  up.activity = Activity::running;
  TRIVET_ASSERT_OK(vcpu(1).restore(up));
  TRIVET_ASSERT_OK(vm->resume());
  while (word(0x2000) == 0) std::this_thread::yield();
  TRIVET_ASSERT_OK(vm->pause());
}

TEST_F(XenStateTest, AHaltedVcpuIsWokenByItsNewState) {
  // sti; hlt; jmp -3
  load({0xfb, 0xf4, 0xeb, 0xfd});
  if (HasFatalFailure() || IsSkipped()) return;
  put(0x3000, {0xba, 0x10, 0x05, 0xee, 0xfa, 0xf4});
  TRIVET_ASSERT_OK(vm->resume());
  for (int i = 0;; ++i) {
    ASSERT_LT(i, 1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    TRIVET_ASSERT_OK(vm->pause());
    const auto state = vcpu().save({StateElement::activity});
    TRIVET_ASSERT_OK(state);
    if (*state->activity == Activity::halted) break;
    TRIVET_ASSERT_OK(vm->resume());
  }
  auto state = vcpu().save({StateElement::general_registers, StateElement::lapic});
  TRIVET_ASSERT_OK(state);
  VcpuState next;
  next.general_registers = state->general_registers;
  next.general_registers->rip = 0x3000;
  next.general_registers->rflags = 2;
  next.activity = Activity::running;
  TRIVET_ASSERT_OK(vcpu().restore(next));
  const auto after = vcpu().save({StateElement::lapic, StateElement::activity});
  TRIVET_ASSERT_OK(after);
  EXPECT_EQ(*after->activity, Activity::running);
  EXPECT_EQ(*after->lapic, *state->lapic);
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x510, 1, 0}));
}

TEST_F(XenStateTest, AnInjectedExceptionIsDelivered) {
  // handler: mov dx, 0x510; out dx, al; cli; hlt
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  put(0x4000, {0xba, 0x10, 0x05, 0xee, 0xfa, 0xf4});
  put(6 * 4, {0x00, 0x40, 0x00, 0x00});  // real mode's vector 6: invalid opcode
  expect_error(vcpu().inject({32, false, 0}), Errc::invalid_argument, "32");
  expect_error(vcpu().inject({2, false, 0}), Errc::invalid_argument, "2");
  TRIVET_ASSERT_OK(vcpu().inject({6, false, 0}));
  expect_error(vcpu().inject({6, false, 0}), Errc::bad_state, "pending");
  const auto saved = vcpu().save({StateElement::events});
  TRIVET_ASSERT_OK(saved);
  EXPECT_TRUE(saved->events->exception_injected);
  EXPECT_EQ(saved->events->exception_vector, 6);
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x510, 1, 0}));
}

TEST_F(XenStateTest, ANonMaskableInterruptIsDelivered) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  put(0x4000, {0xba, 0x10, 0x05, 0xee, 0xfa, 0xf4});
  put(2 * 4, {0x00, 0x40, 0x00, 0x00});
  TRIVET_ASSERT_OK(vcpu().inject_nmi());
  run_to<exits::PowerOff>();
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x510, 1, 0}));
}

TEST_F(XenStateTest, AddressesAreTranslatedThroughTheGuestsTables) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  auto same = vcpu().translate({0x1234});
  TRIVET_ASSERT_OK(same);
  ASSERT_TRUE(same->has_value());
  EXPECT_EQ((*same)->address.value, 0x1234U);
  ASSERT_NO_FATAL_FAILURE(enter_protected_mode(vcpu()));
  // 32-bit tables: 0x400000 to a page at 0x7000, read-only.
  put(0x5000 + 4, {0x07, 0x60, 0x00, 0x00});
  put(0x6000, {0x05, 0x70, 0x00, 0x00});
  auto system = vcpu().system_registers();
  TRIVET_ASSERT_OK(system);
  system->cr3 = 0x5000;
  system->cr0 |= 0x80000000;
  TRIVET_ASSERT_OK(vcpu().set_system_registers(*system));
  const auto there = vcpu().translate({0x400123});
  TRIVET_ASSERT_OK(there);
  ASSERT_TRUE(there->has_value());
  EXPECT_EQ((*there)->address.value, 0x7123U);
  EXPECT_FALSE((*there)->writable);
  EXPECT_TRUE((*there)->user);
  const auto nothing = vcpu().translate({0x800000});
  TRIVET_ASSERT_OK(nothing);
  EXPECT_FALSE(nothing->has_value());
}

TEST_F(XenStateTest, CpuidIsTheDomainsAndSettableBeforeItRuns) {
  // mov eax, 0x80000002; cpuid; mov [0x2000], eax; mov dx, 0x500; out dx, al; jmp $
  load32({0xb8, 0x02, 0x00, 0x00, 0x80, 0x0f, 0xa2, 0xa3, 0x00, 0x20, 0x00, 0x00, 0x66, 0xba, 0x00, 0x05, 0xee, 0xeb,
          0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  auto entries = hypervisor->supported_cpuid();
  TRIVET_ASSERT_OK(entries);
  bool found = false;
  for (auto& entry : *entries) {
    if (entry.leaf != 0x80000002) continue;
    entry.eax = 0x76697254;  // "Triv"
    found = true;
  }
  ASSERT_TRUE(found);
  TRIVET_ASSERT_OK(vcpu().set_cpuid(*entries));
  run_to_mark();
  if (HasFatalFailure()) return;
  EXPECT_EQ(word(0x2000), 0x76697254U);
  entries->front().eax = 0xd;
  for (auto& entry : *entries) entry.ebx ^= entry.leaf == 0x80000002 ? 1 : 0;
  expect_error(vcpu().set_cpuid(*entries), Errc::bad_state, "has run");
}

TEST_F(XenStateTest, WhatXenDoesNotHaveIsNamed) {
  load({0xeb, 0xfe});
  if (HasFatalFailure() || IsSkipped()) return;
  TRIVET_EXPECT_OK(vcpu().set_debug({}));
  DebugControl step;
  step.single_step = true;
  expect_error(vcpu().set_debug(step), Errc::unsupported, "single_step");
  expect_error(vcpu().answer_msr(0), Errc::unsupported, "msr_exits");
  expect_error(vcpu().answer_hypercall(0), Errc::unsupported, "hypercall_exits");
  EXPECT_EQ(vm->doorbells(), nullptr);
  EXPECT_EQ(vm->clock(), nullptr);
  EXPECT_EQ(vm->posted_writes(), nullptr);
  EXPECT_EQ(vm->msr_intercepts(), nullptr);
}

}  // namespace
}  // namespace trivet::xen::test
