// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "support.hpp"

namespace trivet::kvm::test {
namespace {

class StateTest : public KvmTest, public ::testing::WithParamInterface<IrqchipKind> {
 protected:
  /// Restores into a fresh VM and expects what it says is comparable to read back the same.
  void expect_round_trip(const VcpuState& state) {
    auto other = hypervisor->create({.irqchip = GetParam()});
    TRIVET_ASSERT_OK(other);
    auto made = (*other)->create_vcpu(0);
    TRIVET_ASSERT_OK(made);
    TRIVET_ASSERT_OK((*made)->restore(state));
    const auto back = (*made)->save(StateElements::all());
    TRIVET_ASSERT_OK(back);
    EXPECT_EQ(back->elements(), state.elements());
    EXPECT_EQ(back->general_registers, state.general_registers);
    EXPECT_EQ(back->system_registers, state.system_registers);
    EXPECT_EQ(back->xsave, state.xsave);
    EXPECT_EQ(back->extended_control, state.extended_control);
    EXPECT_EQ(back->activity, state.activity);
    EXPECT_EQ(back->events, state.events);
    EXPECT_EQ(back->debug_registers, state.debug_registers);
    EXPECT_EQ(back->cpuid, state.cpuid);
    if (state.tsc) {  // where the processor can set it
      EXPECT_GE(back->tsc->value, state.tsc->value);
    }
    EXPECT_EQ(back->msrs->size(), state.msrs->size());
  }
};

TEST_P(StateTest, EveryElementThatIsPresentRoundTrips) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = GetParam()}));
  // Leaves marks in registers, segments and a debug register, then loops.
  memory->put(code_at, {0x66, 0xb8, 0x78, 0x56, 0x34, 0x12,  // mov eax, 0x12345678
                        0xbb, 0x00, 0x12, 0x8e, 0xc3,        // mov bx, 0x1200; mov es, bx
                        0x0f, 0x23, 0xd8,                    // mov dr3, eax
                        0xf9, 0xe6, 0x80, 0xeb, 0xfe});      // stc; out 0x80, al; jmp $
  make_vcpu();
  io.on_access = [&](const Seen&) { runner().kicker().kick(); };
  run_to<exits::Kicked>();
  TRIVET_ASSERT_OK(runner().drain(io));
  auto state = vcpu().save(StateElements::all());
  TRIVET_ASSERT_OK(state);
  for (const auto element : all_state_elements()) {
    EXPECT_EQ(state->elements().contains(element), vm->state_support(element).present) << to_string(element);
  }
  EXPECT_EQ(state->general_registers->rax, 0x12345678U);
  EXPECT_EQ(state->system_registers->es.base, 0x12000U);
  EXPECT_EQ(state->debug_registers->address[3], 0x12345678U);
  EXPECT_EQ(state->general_registers->rflags & 1, 1U);
  EXPECT_FALSE(state->msrs->empty());
  // XMM0, and the header's word that says so (Intel SDM volume 1, 13.4).
  state->xsave->area[160] = 0x5a;
  state->xsave->area[512] |= 3;
  expect_round_trip(*state);
}

TEST_P(StateTest, AStateGoesOnWhereItWasSaved) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = GetParam()}));
  // Counts in ax, tells it each round.
  memory->put(code_at, {0x40, 0xe7, 0x10, 0xeb, 0xfb});  // again: inc ax; out 0x10, ax; jmp again
  make_vcpu();
  io.on_access = [&](const Seen& seen) {
    if (seen.value == 5) runner().kicker().kick();
  };
  run_to<exits::Kicked>();
  const auto state = vcpu().save(StateElements::all());
  TRIVET_ASSERT_OK(state);

  const auto old_memory = std::move(memory);
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = GetParam()}));
  std::memcpy(memory->data(), old_memory->data(), memory->size());
  auto made = vm->create_vcpu(0);
  TRIVET_ASSERT_OK(made);
  TRIVET_ASSERT_OK((*made)->restore(*state));
  io.seen.clear();
  io.on_access = [&](const Seen& seen) {
    if (seen.value == 8) runner().kicker().kick();
  };
  run_to<exits::Kicked>();
  EXPECT_EQ(io.seen,
            (std::vector<Seen>{{Seen::pio_out, 0x10, 2, 6}, {Seen::pio_out, 0x10, 2, 7}, {Seen::pio_out, 0x10, 2, 8}}));
}

TEST_P(StateTest, PendingEventsRoundTrip) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = GetParam()}));
  ASSERT_NO_FATAL_FAILURE(make_vcpu());
  TRIVET_ASSERT_OK(vcpu().inject_nmi());
  TRIVET_ASSERT_OK(vcpu().inject({.vector = 13, .has_error_code = true, .error_code = 0x18}));
  const auto state = vcpu().save(StateElements::all());
  TRIVET_ASSERT_OK(state);
  EXPECT_TRUE(state->events->exception_injected);
  EXPECT_EQ(state->events->exception_vector, 13);
  EXPECT_EQ(state->events->exception_error_code, 0x18U);
  EXPECT_TRUE(state->events->nmi_pending);
  expect_round_trip(*state);
}

TEST_P(StateTest, RefusesWhatNoProcessorHoldsAndWritesNothing) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = GetParam()}));
  ASSERT_NO_FATAL_FAILURE(make_vcpu());
  VcpuState state;
  state.general_registers = GeneralRegisters{};
  state.general_registers->rax = 0x55;
  state.xsave = Xsave{std::vector<std::uint8_t>(100)};
  expect_error(vcpu().restore(state), Errc::malformed, "576");
  EXPECT_NE(vcpu().registers()->rax, 0x55U);
  state.xsave.reset();
  state.msrs = std::vector<MsrValue>{{0x12345678, 1}};
  expect_error(vcpu().restore(state), Errc::unsupported, "0x12345678");
  state.msrs = std::vector<MsrValue>{{0x12345678, 0}, {0x174, 0x77}};  // SYSENTER_CS
  TRIVET_ASSERT_OK(vcpu().restore(state));
  const auto back = vcpu().save({StateElement::msrs});
  TRIVET_ASSERT_OK(back);
  EXPECT_NE(std::find(back->msrs->begin(), back->msrs->end(), MsrValue{0x174, 0x77}), back->msrs->end());
}

TEST_P(StateTest, ATscFrequencyThatTheHostCannotGiveIsNamed) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = GetParam()}));
  ASSERT_NO_FATAL_FAILURE(make_vcpu());
  auto state = vcpu().save({StateElement::tsc});
  TRIVET_ASSERT_OK(state);
  if (!state->tsc || state->tsc->frequency_khz == 0) GTEST_SKIP() << "this kernel does not tell the TSC's frequency";
  TRIVET_EXPECT_OK(vcpu().restore(*state));
  state->tsc->frequency_khz = 1000;
  const auto slow = vcpu().restore(*state);
  if (!slow) expect_error(slow, Errc::unsupported, "1000 kHz");
}

std::string name_of(const ::testing::TestParamInfo<IrqchipKind>& info) {
  constexpr std::array names{"none", "split", "full"};
  return names[static_cast<std::size_t>(info.param)];
}
INSTANTIATE_TEST_SUITE_P(Irqchips, StateTest,
                         ::testing::Values(IrqchipKind::none, IrqchipKind::split, IrqchipKind::full), name_of);

class MoreStateTest : public KvmTest {};

TEST_F(MoreStateTest, OtherVcpusWaitForTheirStartup) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.max_vcpus = 2}));
  make_vcpu(0);
  make_vcpu(1);
  EXPECT_EQ(vcpu(0).save({StateElement::activity})->activity, Activity::running);
  EXPECT_EQ(vcpu(1).save({StateElement::activity})->activity, Activity::wait_for_sipi);
}

TEST_F(MoreStateTest, AnElementThatIsNotPresentIsNamedAndNothingIsWritten) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  make_vcpu();
  VcpuState state;
  state.general_registers = GeneralRegisters{};
  state.lapic = LapicRegisters{};
  expect_error(vcpu().restore(state), Errc::unsupported, "lapic");
  EXPECT_EQ(vcpu().registers()->rip, code_at);
  state.lapic.reset();
  state.activity = Activity::halted;
  expect_error(vcpu().restore(state), Errc::unsupported, "activity");
}

TEST_F(MoreStateTest, CreateVcpuChecksItsIndex) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  make_vcpu();
  expect_error(vm->create_vcpu(0), Errc::already_exists);
  expect_error(vm->create_vcpu(1), Errc::out_of_range, "made for 1");
}

TEST_F(MoreStateTest, TranslatesThroughPageTables) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  make_vcpu();
  EXPECT_EQ((*vcpu().translate({0x1234}))->address, GuestAddress{0x1234});  // no paging yet
  // Four levels at 0x2000-0x5000; page 0x5000 -> 0x7000, read only, for the supervisor.
  for (std::size_t table = 0x2000; table < 0x5000; table += 0x1000) {
    memory->put(table, {0x07, static_cast<std::uint8_t>((table + 0x1000) >> 8), 0, 0});
  }
  memory->put(0x5000 + 5 * 8, {0x01, 0x70, 0, 0});
  auto system = vcpu().system_registers();
  TRIVET_ASSERT_OK(system);
  make_protected(*system);
  system->cs.long_mode = true;
  system->cs.default_big = false;
  system->cr3 = 0x2000;
  system->cr4 = 1 << 5;             // PAE
  system->efer = 1 << 8 | 1 << 10;  // LME, LMA
  system->cr0 |= 1ULL << 31;
  TRIVET_ASSERT_OK(vcpu().set_system_registers(*system));
  const auto found = vcpu().translate({0x5678});
  TRIVET_ASSERT_OK(found);
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->address, GuestAddress{0x7678});
  EXPECT_FALSE((*found)->writable);
  EXPECT_FALSE((*found)->user);
  EXPECT_FALSE(vcpu().translate({0x6000})->has_value());
}

}  // namespace
}  // namespace trivet::kvm::test
