// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "runner.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <unistd.h>

#include <trivet/core/kick_signal.hpp>

#include "hypercall.hpp"
#include "run_window.hpp"

namespace trivet::mshv {
namespace {

constexpr auto run_operation = "run a vCPU";
constexpr auto drain_operation = "drain a vCPU";
constexpr std::uint64_t flag_trap = 1U << 8;

/// Holds the vCPU for a runner.
class Turn {
 public:
  explicit Turn(Occupancy& occupancy) noexcept : occupancy_(occupancy), ok_(occupancy.enter_run()) {}
  ~Turn() {
    if (ok_) occupancy_.leave_run();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  [[nodiscard]] bool ok() const noexcept { return ok_; }

 private:
  Occupancy& occupancy_;
  bool ok_;
};

/// This thread can be kicked out of the guest while it lives.
class Kickable {
 public:
  explicit Kickable(RunKicker& kicker) noexcept : kicker_(kicker) {
    kick_signal::set_thread_hook(hook, &kicker);
    kicker_.begin(::gettid());
  }
  ~Kickable() {
    kicker_.end();
    kick_signal::set_thread_hook(nullptr, nullptr);
  }
  Kickable(const Kickable&) = delete;
  Kickable& operator=(const Kickable&) = delete;

 private:
  // A signal from elsewhere must get the thread out as well.
  static void hook(void* context) noexcept {
    static_cast<RunKicker*>(context)->set_stop(true);
    leave_run(kick_signal::interrupted());
  }
  RunKicker& kicker_;
};

Error busy(const char* operation, unsigned index) {
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index) + " is being run already");
}
Error owed(const char* operation, unsigned index) {
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index) + ": an MSR access waits for its answer");
}

}  // namespace

VpRunner::VpRunner(MshvVcpu& vcpu)
    : vcpu_(vcpu),
      emulator_(emulator::Emulator::Options{.physical_address_bits = vcpu.context().host.physical_address_bits}),
      view_(vcpu.memory()) {}

Result<Exit> VpRunner::run(IoHandler& io) {
  const Turn turn(vcpu_.occupancy());
  if (!turn.ok()) return busy(run_operation, vcpu_.index());
  if (vcpu_.progress().msr) return owed(run_operation, vcpu_.index());
  const Kickable kickable(vcpu_.kicker());
  return loop(io);
}

Result<Exit> VpRunner::loop(IoHandler& io) {
  auto& kicker = vcpu_.kicker();
  const auto& handle = vcpu_.handle();
  while (true) {
    // In this order: RunKicker says why. A kicked run may give a message all the same, so that the flag is looked at
    // after each.
    kicker.set_stop(false);
    if (kicker.take()) return Exit{exits::Kicked{}};
    TRIVET_TRY(vcpu_.flush_nmi());
    TRIVET_TRY(ask_for_window());
    vcpu_.progress().ran = true;
    const int result = handle.system().run(handle.fd(), &message_, kicker.stop());
    if (result == -EINTR || result == -EAGAIN) continue;
    if (result < 0) {
      return Error::from_errno(-result, "MSHV_RUN_VP", "vCPU " + std::to_string(vcpu_.index()));
    }
    TRIVET_ASSIGN(auto found, serve(io));
    if (found) return *found;
  }
}

Result<VpRunner::Found> VpRunner::serve(IoHandler& io) {
  TRIVET_ASSIGN(const auto intercept, decode(message_, vcpu_.index()));
  return std::visit([&](const auto& told) { return on(told, io); }, intercept);
}

Result<VpRunner::Found> VpRunner::on(const intercepts::Port& port, IoHandler& io) {
  const auto& instruction = port.instruction;
  // A scalar access is all in the message; what needs memory, or has something happen behind it, is emulated.
  const bool plain =
      !port.string && instruction.length != 0 && (instruction.rflags & flag_trap) == 0 && !instruction.interrupt_shadow;
  if (!plain) return emulate(instruction, io);
  auto rax = port.rax;
  std::array<std::byte, 8> data{};
  std::memcpy(data.data(), &rax, port.size);
  if (port.write) {
    io.pio_write(port.port, std::span(data).first(port.size));
  } else {
    io.pio_read(port.port, std::span(data).first(port.size));
    if (port.size == 4) rax = 0;  // a 32-bit result clears the upper half
    std::memcpy(&rax, data.data(), port.size);
  }
  auto next = instruction.rip + instruction.length;
  if (!instruction.long_mode_code) next &= 0xffff'ffff;
  if (auto* const page = vcpu_.page(); page != nullptr) {
    page->rip = next;
    page->gp[0] = port.write ? page->gp[0] : rax;
    page->dirty |= abi::dirty_ip | (port.write ? 0 : abi::dirty_gp);
    return Found{};
  }
  const std::array assignments{assign(abi::reg::rip, next), assign(abi::reg::rax, rax)};
  TRIVET_TRY(vcpu_.write(std::span(assignments).first(port.write ? 1 : 2)));
  return Found{};
}

Result<VpRunner::Found> VpRunner::on(const intercepts::Memory& memory, IoHandler& io) {
  if (!memory.fetch) return emulate(memory.instruction, io);
  exits::EmulationFailure failure;  // code that lies nowhere
  failure.instruction_pointer = memory.instruction.rip;
  return Found{failure};
}

Result<VpRunner::Found> VpRunner::on(const intercepts::Msr& msr, IoHandler& /*io*/) {
  vcpu_.progress().msr = msr;
  return Found{exits::Msr{msr.number, msr.write, msr.value}};
}

Result<VpRunner::Found> VpRunner::on(const intercepts::EndOfInterrupt& end, IoHandler& io) {
  io.end_of_interrupt(end.vector);
  return Found{};
}

Result<VpRunner::Found> VpRunner::on(const intercepts::Halt& halt, IoHandler& /*io*/) {
  // Whether RIP stands on the HLT or behind it, nobody says: the byte there does.
  constexpr std::byte hlt{0xf4};
  const std::uint32_t name = abi::reg::rip;
  abi::RegisterValue rip{};
  TRIVET_TRY(vcpu_.read({&name, 1}, {&rip, 1}));
  TRIVET_ASSIGN(const auto at, vcpu_.translate_code(rip.low));
  const std::byte* const code = at ? view_.find(*at, false) : nullptr;
  const bool on_it = halt.instruction.length != 0 && code != nullptr && *code == hlt;
  view_.let_go();
  if (on_it) {
    const auto next = assign(name, rip.low + 1);
    TRIVET_TRY(vcpu_.write({&next, 1}));
  }
  if (vcpu_.context().has_lapic()) return Found{};
  return Found{exits::Halted{}};
}

Result<VpRunner::Found> VpRunner::on(const intercepts::Unrecoverable& /*fault*/, IoHandler& /*io*/) {
  return Found{exits::TripleFault{}};
}
Result<VpRunner::Found> VpRunner::on(const intercepts::InvalidRegister& /*invalid*/, IoHandler& /*io*/) {
  return Found{exits::EntryFailure{}};
}
Result<void> VpRunner::ask_for_window() const {
  auto& progress = vcpu_.progress();
  if (!vcpu_.interrupt_pin() || progress.window_asked) return {};
  const auto wanted = assign(abi::reg::deliverability_notifications, abi::deliverability::interrupt);
  TRIVET_TRY(vcpu_.write({&wanted, 1}));
  progress.window_asked = true;
  return {};
}

Result<VpRunner::Found> VpRunner::on(const intercepts::Deliverable& /*deliverable*/, IoHandler& io) {
  namespace event = abi::event;
  vcpu_.progress().window_asked = false;
  if (!vcpu_.interrupt_pin()) return Found{};
  if (const auto vector = io.acknowledge_interrupt()) {
    const auto taken = assign(abi::reg::pending_event0, event::pending | event::external_interrupt |
                                                            std::uint64_t{*vector} << event::external_vector_shift);
    TRIVET_TRY(vcpu_.write({&taken, 1}));
  }
  return Found{};
}
Result<VpRunner::Found> VpRunner::on(const intercepts::Notice& /*notice*/, IoHandler& /*io*/) {
  return Found{};
}

Result<void> VpRunner::drain(IoHandler& /*io*/) {
  const Turn turn(vcpu_.occupancy());
  if (!turn.ok()) return busy(drain_operation, vcpu_.index());
  if (vcpu_.progress().msr) return owed(drain_operation, vcpu_.index());
  return {};
}

}  // namespace trivet::mshv
