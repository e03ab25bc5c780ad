// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <poll.h>
#include <set>
#include <unistd.h>

#include <trivet/core/event.hpp>

#include "support.hpp"

namespace trivet::kvm::test {
namespace {

bool readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return ::poll(&wait, 1, 5000) == 1;
}

/// Guests in real mode with one handler for each vector in use.
class InterruptTest : public KvmTest {
 protected:
  static constexpr std::uint16_t handlers_at = 0x4000;
  // sti; again: hlt; jmp again
  inline static const Code wait_code{0xfb, 0xf4, 0xeb, 0xfd};
  // The PICs at vectors 0x20 and 0x28, nothing masked; tells 0 (an edge before this is lost), then waits.
  inline static const Code pic_code{0xb0, 0x11, 0xe6, 0x20, 0xe6, 0xa0, 0xb0, 0x20, 0xe6, 0x21, 0xb0, 0x28, 0xe6, 0xa1,
                                    0xb0, 0x04, 0xe6, 0x21, 0xb0, 0x02, 0xe6, 0xa1, 0xb0, 0x01, 0xe6, 0x21, 0xe6, 0xa1,
                                    0xb0, 0x00, 0xe6, 0x21, 0xe6, 0xa1, 0xe6, 0x80, 0xfb, 0xf4, 0xeb, 0xfd};

  /// `vector` tells its number at port 0x80, ends the interrupt at the LAPIC (fs) or the PICs, returns.
  void handle(std::uint8_t vector, bool lapic) {
    const auto at = static_cast<std::uint16_t>(handlers_at + vector * 32);
    memory->put(vector * 4U, {static_cast<std::uint8_t>(at & 0xff), static_cast<std::uint8_t>(at >> 8), 0, 0});
    Code code{0xb0, vector, 0xe6, 0x80};
    const Code end = lapic ? Code{0x64, 0x66, 0xc7, 0x06, 0xb0, 0x00, 0x00, 0x00, 0x00, 0x00}
                           : Code{0xb0, 0x20, 0xe6, 0xa0, 0xe6, 0x20};
    code.insert(code.end(), end.begin(), end.end());
    code.push_back(0xcf);  // iret
    memory->put(at, code);
  }

  void boot(IrqchipKind kind, const Code& code, unsigned vcpus = 1) {
    ASSERT_NO_FATAL_FAILURE(make_vm({.max_vcpus = vcpus, .irqchip = kind}));
    memory->put(code_at, code);
    for (unsigned index = 0; index < vcpus; ++index) {
      make_vcpu(index);
      auto state = vcpu(index).save({StateElement::lapic, StateElement::system_registers});
      TRIVET_ASSERT_OK(state);
      state->lapic->page[0xf0] = 0xff;  // spurious vector, and software enable
      state->lapic->page[0xf1] = 0x01;
      state->lapic->page[0x350] = 0x00;  // LINT0 in ExtINT mode
      state->lapic->page[0x351] = 0x07;
      state->lapic->page[0x352] = 0x00;
      state->system_registers->fs.base = 0xfee00000;
      state->activity = Activity::running;
      TRIVET_ASSERT_OK(vcpu(index).restore(*state));
    }
    // Back when the guest has told as many vectors as were asked for.
    io.on_access = [this](const Seen& seen) {
      if (seen.at != 0x80) return;
      told.push_back(static_cast<std::uint8_t>(seen.value));
      if (told.size() == wanted) runner().kicker().kick();
    };
  }

  void run_for(std::size_t vectors) {
    told.clear();
    wanted = vectors;
    run_to<exits::Kicked>();
  }

  void await_pics() {
    run_for(1);
    ASSERT_EQ(told, Code{0});
    told.clear();
  }

  static MsiMessage message(std::uint8_t vector, bool level = false) {
    return {0xfee00000, vector | (level ? 0xc000U : 0U)};
  }

  std::vector<std::uint8_t> told;
  std::size_t wanted = 0;
};

TEST_F(InterruptTest, AnEdgeLineRaisesOneInterruptEach) {
  ASSERT_NO_FATAL_FAILURE(boot(IrqchipKind::full, pic_code));
  handle(0x25, false);
  handle(0x2b, false);
  auto five = vm->irq_router()->line(5, Trigger::edge);
  auto eleven = vm->irq_router()->line(11, Trigger::edge);
  TRIVET_ASSERT_OK(five);
  TRIVET_ASSERT_OK(eleven);
  await_pics();
  std::thread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    TRIVET_EXPECT_OK((*five)->signal());
  });
  run_for(1);
  device.join();
  EXPECT_EQ(told, Code{0x25});
  // Through the descriptor, as vhost does.
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const std::uint64_t one = 1;
    EXPECT_EQ(::write((*eleven)->trigger_fd(), &one, sizeof one), 8);
  });
  run_for(1);
  other.join();
  EXPECT_EQ(told, Code{0x2b});
  expect_error((*five)->set_level(true), Errc::unsupported, "edge");
}

TEST_F(InterruptTest, ALevelLineComesAgainUntilItFalls) {
  // Edge or level of the PICs is in their ELCR: port 0x4d1 bit 2 for line 10.
  Code code{0xba, 0xd1, 0x04, 0xb0, 0x04, 0xee};
  code.insert(code.end(), pic_code.begin(), pic_code.end());
  ASSERT_NO_FATAL_FAILURE(boot(IrqchipKind::full, code));
  handle(0x2a, false);
  auto line = vm->irq_router()->line(10, Trigger::level);
  auto shared = vm->irq_router()->line(10, Trigger::level);
  TRIVET_ASSERT_OK(line);
  TRIVET_ASSERT_OK(shared);
  expect_error(vm->irq_router()->line(10, Trigger::edge), Errc::already_exists, "GSI 10");
  EXPECT_EQ((*line)->trigger_fd(), -1);
  await_pics();
  TRIVET_EXPECT_OK((*line)->set_level(true));
  TRIVET_EXPECT_OK((*shared)->set_level(true));
  run_for(3);
  EXPECT_EQ(told, (Code{0x2a, 0x2a, 0x2a}));
  TRIVET_EXPECT_OK((*line)->set_level(false));  // the other holds it still
  run_for(2);
  shared->reset();  // a line that goes lets go
  // Whatever came is over once the guest only waits: a kick gets it out, and nothing more is told.
  told.clear();
  wanted = 100;
  std::thread kicker([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    runner().kicker().kick();
  });
  run_to<exits::Kicked>();
  kicker.join();
  EXPECT_LE(told.size(), 1U);
}

TEST_F(InterruptTest, AResampleLineTellsOfTheEnd) {
  if (hypervisor->supports(Cap::resample) == Support::no) GTEST_SKIP() << "resample: no";
  Code code{0xba, 0xd1, 0x04, 0xb0, 0x04, 0xee};
  code.insert(code.end(), pic_code.begin(), pic_code.end());
  ASSERT_NO_FATAL_FAILURE(boot(IrqchipKind::full, code));
  handle(0x2a, false);
  auto line = vm->irq_router()->line(10, Trigger::level_resample);
  TRIVET_ASSERT_OK(line);
  ASSERT_GE((*line)->resample_fd(), 0);
  await_pics();
  std::thread device([&] { TRIVET_EXPECT_OK((*line)->signal()); });
  wanted = 100;
  std::thread kicker([&] {
    EXPECT_TRUE(readable((*line)->resample_fd()));
    runner().kicker().kick();
  });
  run_to<exits::Kicked>();
  device.join();
  kicker.join();
  ASSERT_FALSE(told.empty());
  EXPECT_EQ(told[0], 0x2a);
}

TEST_F(InterruptTest, LinesAreCheckedAndNamed) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = IrqchipKind::full}));
  expect_error(vm->irq_router()->line(24, Trigger::edge), Errc::out_of_range, "GSI 24");
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = IrqchipKind::split}));
  expect_error(vm->irq_router()->line(5, Trigger::edge), Errc::unsupported, "lines");
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = IrqchipKind::none}));
  EXPECT_EQ(vm->irq_router(), nullptr);
  EXPECT_EQ(vm->irqchip(), nullptr);
}

TEST_F(InterruptTest, ThePinBringsAnInterruptOnceItCanBeTaken) {
  ASSERT_NO_FATAL_FAILURE(boot(IrqchipKind::split, wait_code));
  handle(0x21, true);
  handle(0x22, true);
  std::uint8_t next = 0x21;
  io.on_acknowledge = [&]() -> std::optional<std::uint8_t> {
    if (next > 0x22) TRIVET_EXPECT_OK(vcpu(0).set_interrupt_pin(false));
    if (next > 0x23) ADD_FAILURE() << "the pin is low";
    return next > 0x22 ? (++next, std::nullopt) : std::optional(next++);
  };
  TRIVET_ASSERT_OK(vcpu(0).set_interrupt_pin(true));  // interrupts are off at first
  run_for(2);
  EXPECT_EQ(told, (Code{0x21, 0x22}));
  // Out of HLT, from another thread.
  next = 0x22;
  std::thread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    TRIVET_EXPECT_OK(vcpu(0).set_interrupt_pin(false));
    TRIVET_EXPECT_OK(vcpu(0).set_interrupt_pin(true));
  });
  run_for(1);
  device.join();
  EXPECT_EQ(told, Code{0x22});
}

TEST_F(InterruptTest, AVectorThatWasTakenIsPartOfTheState) {
  ASSERT_NO_FATAL_FAILURE(boot(IrqchipKind::split, wait_code));
  handle(0x21, true);
  io.on_acknowledge = [&]() -> std::optional<std::uint8_t> {
    TRIVET_EXPECT_OK(vcpu(0).set_interrupt_pin(false));
    runner().kicker().kick();  // before the guest can take it
    return 0x21;
  };
  TRIVET_ASSERT_OK(vcpu(0).set_interrupt_pin(true));
  run_to<exits::Kicked>();
  auto state = vcpu(0).save({StateElement::events, StateElement::general_registers});
  TRIVET_ASSERT_OK(state);
  EXPECT_TRUE(state->events->interrupt_injected);
  EXPECT_EQ(state->events->interrupt_vector, 0x21);
  TRIVET_ASSERT_OK(vcpu(0).restore(*state));
  run_for(1);
  EXPECT_EQ(told, Code{0x21});
}

TEST_F(InterruptTest, ThePinIsThereWithLocalApicsOnly) {
  for (const auto kind : {IrqchipKind::full, IrqchipKind::none}) {
    ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = kind}));
    make_vcpu(0);
    expect_error(vcpu(0).set_interrupt_pin(true), Errc::unsupported, "external_interrupts");
  }
}

class MessageTest : public InterruptTest, public ::testing::WithParamInterface<IrqchipKind> {};

TEST_P(MessageTest, RoutesAreObjectsOfTheirOwn) {
  ASSERT_NO_FATAL_FAILURE(boot(GetParam(), wait_code));
  for (const std::uint8_t vector : Code{0x41, 0x51, 0x61}) handle(vector, true);
  auto& router = *vm->irq_router();
  auto first = router.msi_route(message(0x41));
  auto second = router.msi_route(message(0x51));
  TRIVET_ASSERT_OK(first);
  TRIVET_ASSERT_OK(second);
  TRIVET_ASSERT_OK((*second)->signal());
  run_for(1);
  EXPECT_EQ(told, Code{0x51});
  TRIVET_ASSERT_OK((*first)->signal());
  run_for(1);
  EXPECT_EQ(told, Code{0x41});
  // Reprogrammed, as a guest does with its MSI-X table.
  TRIVET_ASSERT_OK((*first)->set_message(message(0x61)));
  const std::uint64_t one = 1;
  EXPECT_EQ(::write((*first)->trigger_fd(), &one, sizeof one), 8);
  run_for(1);
  EXPECT_EQ(told, Code{0x61});
  // The first's place is used again; the second is not disturbed.
  first->reset();
  auto third = router.msi_route(message(0x41));
  TRIVET_ASSERT_OK(third);
  TRIVET_ASSERT_OK((*second)->signal());
  TRIVET_ASSERT_OK((*third)->signal());
  run_for(2);
  EXPECT_EQ(told, (Code{0x51, 0x41}));  // by priority
  TRIVET_ASSERT_OK(router.signal_msi(message(0x61)));
  run_for(1);
  EXPECT_EQ(told, Code{0x61});
  expect_error((*third)->set_level(true), Errc::unsupported, "message");
}

INSTANTIATE_TEST_SUITE_P(Irqchips, MessageTest, ::testing::Values(IrqchipKind::split, IrqchipKind::full));

TEST_F(InterruptTest, ASplitChipTellsOfTheEndOfALevelInterrupt) {
  ASSERT_NO_FATAL_FAILURE(boot(IrqchipKind::split, wait_code));
  handle(0x51, true);
  // As an IOAPIC's pin: an empty entry first, then what the guest programs.
  auto route = vm->irq_router()->msi_route(message(0x41));
  TRIVET_ASSERT_OK(route);
  TRIVET_ASSERT_OK((*route)->set_message(message(0x51, true)));
  TRIVET_ASSERT_OK((*route)->signal());
  run_for(1);
  // Then its end, and no second one.
  wanted = 100;
  for (int round = 0; round < 50 && (round == 0 || io.ended.empty()); ++round) {
    std::thread kicker([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      runner().kicker().kick();
    });
    run_to<exits::Kicked>();
    kicker.join();
  }
  EXPECT_EQ(told, Code{0x51});
  EXPECT_EQ(io.ended, Code{0x51});
}

TEST_F(InterruptTest, AnNmiReachesARunningGuest) {
  ASSERT_NO_FATAL_FAILURE(boot(IrqchipKind::full, {0xeb, 0xfe}));  // jmp $
  handle(2, true);
  std::thread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    TRIVET_EXPECT_OK(vcpu().inject_nmi());
  });
  run_for(1);
  device.join();
  EXPECT_EQ(told, Code{2});
}

TEST_F(InterruptTest, LevelRoutesEndWhereTheKernelsTableEnds) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = IrqchipKind::split}));
  std::vector<std::unique_ptr<MsiRoute>> routes;
  for (int i = 0; i < 240; ++i) {
    auto route = vm->irq_router()->msi_route(message(0x41, true));
    TRIVET_ASSERT_OK(route);
    routes.push_back(std::move(*route));
  }
  expect_error(vm->irq_router()->msi_route(message(0x41, true)), Errc::limit, "240");
  TRIVET_EXPECT_OK(vm->irq_router()->msi_route(message(0x41)));
  TRIVET_ASSERT_OK(routes.front()->set_message(message(0x41)));
  TRIVET_EXPECT_OK(vm->irq_router()->msi_route(message(0x41, true)));
}

TEST_F(InterruptTest, ControllersRoundTrip) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = IrqchipKind::full, .pit = true}));
  make_vcpu();
  auto states = vm->irqchip()->save();
  TRIVET_ASSERT_OK(states);
  std::set<std::string> names;
  for (const auto& state : *states) names.insert(state.controller);
  EXPECT_EQ(names, (std::set<std::string>{"ioapic", "pic_master", "pic_slave", "pit"}));
  for (auto& state : *states) {
    if (state.controller == "pic_master") state.registers[3] = 0x5a;  // imr
  }
  TRIVET_ASSERT_OK(vm->irqchip()->restore(*states));
  const auto back = vm->irqchip()->save();
  TRIVET_ASSERT_OK(back);
  for (std::size_t i = 0; i < states->size(); ++i) {
    if ((*states)[i].controller == "pit") continue;  // it counts
    EXPECT_EQ((*back)[i], (*states)[i]);
  }
  (*states)[0].controller = "hpet";
  expect_error(vm->irqchip()->restore(*states), Errc::malformed, "hpet");
  (*states)[0].controller = "ioapic";
  (*states)[0].registers.resize(3);
  expect_error(vm->irqchip()->restore(*states), Errc::malformed, "3 bytes");
}

}  // namespace
}  // namespace trivet::kvm::test
