// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "runner.hpp"

#include <algorithm>
#include <cerrno>
#include <string>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

#include <trivet/core/kick_signal.hpp>

#include "io_exits.hpp"
#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

constexpr auto run_operation = "run a vCPU";
constexpr auto drain_operation = "drain a vCPU";

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
  static void hook(void* context) noexcept { static_cast<RunKicker*>(context)->set_immediate_exit(true); }
  RunKicker& kicker_;
};

Error busy(const char* operation, unsigned index) {
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index) + " is being run already");
}

Error owed(const char* operation, unsigned index) {
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index) + ": an MSR access waits for its answer");
}

}  // namespace

Result<Exit> VcpuRunner::run(IoHandler& io) {
  const Turn turn(vcpu_.occupancy());
  if (!turn.ok()) return busy(run_operation, vcpu_.index());
  auto& progress = vcpu_.progress();
  if (progress.msr_answer_owed) return owed(run_operation, vcpu_.index());
  if (progress.held) return *std::exchange(progress.held, std::nullopt);
  progress.ran = true;
  const Kickable kickable(vcpu_.kicker());
  return loop(io);
}

Result<Exit> VcpuRunner::loop(IoHandler& io) {
  auto& kicker = vcpu_.kicker();
  for (bool entered = false;; entered = true) {
    // In this order: RunKicker says why.
    kicker.set_immediate_exit(false);
    if (kicker.take()) {
      TRIVET_ASSIGN(auto found, complete(io));
      if (!found) return Exit{exits::Kicked{}};
      kicker.put_back();
      return *found;
    }
    TRIVET_TRY(vcpu_.flush_nmi());
    TRIVET_ASSIGN(auto before, serve_pin(io, entered));
    if (before) return *before;
    TRIVET_ASSIGN(auto found, enter(io));
    if (found) return *found;
  }
}

Result<VcpuRunner::Found> VcpuRunner::serve_pin(IoHandler& io, bool known) {
  auto& run = vcpu_.run();
  run.request_interrupt_window = 0;
  if (!vcpu_.interrupt_pin()) return Found{};
  if (!known) {
    vcpu_.kicker().set_immediate_exit(true);
    TRIVET_ASSIGN(auto found, enter(io));
    if (found) return found;
    // A kick since then is still to be seen: the runner looks at the flags again before it enters.
  }
  if (run.ready_for_interrupt_injection != 0) {
    if (const auto vector = io.acknowledge_interrupt()) TRIVET_TRY(vcpu_.deliver_external(*vector));
  }
  run.request_interrupt_window = vcpu_.interrupt_pin() ? 1 : 0;  // there may be another
  return Found{};
}

Result<VcpuRunner::Found> VcpuRunner::enter(IoHandler& io) {
  auto& run = vcpu_.run();
  auto& progress = vcpu_.progress();
  auto* const ring = vcpu_.coalesced_ring();
  while (true) {
    const int result = ::ioctl(vcpu_.fd(), KVM_RUN, 0UL);
    const int os_errno = result < 0 ? errno : 0;
    progress.half_done = false;
    // The guest made these before whatever comes now.
    if (ring != nullptr) posted_.drain(ring, io);
    if (os_errno != 0) [[unlikely]]
      return failed(os_errno);
    switch (run.exit_reason) {
      case KVM_EXIT_IO:
        progress.half_done = true;
        serve_port(run, io);
        continue;
      case KVM_EXIT_MMIO:
        progress.half_done = true;
        serve_memory(run, io);
        continue;
      case KVM_EXIT_IRQ_WINDOW_OPEN:
        return Found{};
      default:
        break;
    }
    TRIVET_ASSIGN(auto found, control(io));
    if (found) return found;
  }
}

Result<VcpuRunner::Found> VcpuRunner::failed(int os_errno) {
  if (os_errno == EINTR || os_errno == EAGAIN) return Found{};  // EAGAIN: woken by an INIT or a startup IPI
  const auto& run = vcpu_.run();
  if (os_errno == EFAULT && run.exit_reason == KVM_EXIT_MEMORY_FAULT) {
    // SAFETY: the kernel put this struct at the start of the exit union.
    const auto& fault = *reinterpret_cast<const MemoryFaultExit*>(&run.io);
    return Found{exits::MemoryFault{{{fault.gpa}, fault.size}, false}};
  }
  if (os_errno == EFAULT) {
    return Error::from_errno(os_errno, "KVM_RUN",
                             "guest memory has no page behind it: a file cut short, or memory unmapped");
  }
  return Error::from_errno(os_errno, "KVM_RUN", "vCPU " + std::to_string(vcpu_.index()));
}

Result<VcpuRunner::Found> VcpuRunner::control(IoHandler& io) {
  auto& run = vcpu_.run();
  switch (run.exit_reason) {
    case KVM_EXIT_HLT:
      return Found{exits::Halted{}};
    case KVM_EXIT_SHUTDOWN:
      return Found{exits::TripleFault{}};
    case KVM_EXIT_DEBUG:
      return Found{exits::Debug{run.debug.arch.pc, run.debug.arch.dr6, run.debug.arch.exception == 3}};
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR: {
      vcpu_.progress().msr_answer_owed = true;
      const bool write = run.exit_reason == KVM_EXIT_X86_WRMSR;
      return Found{exits::Msr{run.msr.index, write, write ? run.msr.data : 0}};
    }
    case KVM_EXIT_DIRTY_RING_FULL:
      if (rings_ != nullptr) TRIVET_TRY(rings_->harvest());
      return Found{};
    case KVM_EXIT_IOAPIC_EOI:
      io.end_of_interrupt(run.eoi.vector);
      return Found{};
    case KVM_EXIT_INTR:
    case KVM_EXIT_SET_TPR:  // without a LAPIC in the kernel: nobody wants to know
      return Found{};
    case KVM_EXIT_SYSTEM_EVENT:
      return system_event();
    case KVM_EXIT_FAIL_ENTRY:
      return Found{exits::EntryFailure{run.fail_entry.hardware_entry_failure_reason}};
    case KVM_EXIT_INTERNAL_ERROR:
      return internal_error();
    case KVM_EXIT_UNKNOWN:
      return Error::from_hypervisor(run.hw.hardware_exit_reason, "KVM_RUN", "a hardware exit that KVM does not know");
    default:
      return Error::from_hypervisor(run.exit_reason, "KVM_RUN", "an exit that was never asked for");
  }
}

Result<VcpuRunner::Found> VcpuRunner::system_event() {
  const auto type = vcpu_.run().system_event.type;
  switch (type) {
    case KVM_SYSTEM_EVENT_SHUTDOWN:
      return Found{exits::PowerOff{}};
    case KVM_SYSTEM_EVENT_RESET:
      return Found{exits::Reset{}};
    case KVM_SYSTEM_EVENT_CRASH:
      return Found{exits::Crash{}};
    default:
      return Error::from_hypervisor(type, "KVM_RUN", "a system event that x86 does not have");
  }
}

Result<VcpuRunner::Found> VcpuRunner::internal_error() {
  const auto& run = vcpu_.run();
  if (run.internal.suberror != KVM_INTERNAL_ERROR_EMULATION) {
    return Error::from_hypervisor(run.internal.suberror, "KVM_RUN",
                                  "an internal error of KVM; 2: exception while delivering another, 3: event during an "
                                  "exit, 4: unexpected exit");
  }
  exits::EmulationFailure failure;
  kvm_regs regs{};
  TRIVET_TRY(call(vcpu_.fd(), TRIVET_KVM_REQUEST(KVM_GET_REGS, kvm_regs), &regs));
  failure.instruction_pointer = regs.rip;
  const auto& told = run.emulation_failure;
  // ndata counts 8-byte words: the flags, then the size and the bytes.
  if (told.ndata >= 3 && (told.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0) {
    failure.length = std::min<std::uint8_t>(told.insn_size, sizeof told.insn_bytes);
    std::copy_n(std::begin(told.insn_bytes), failure.length, failure.bytes.begin());
  }
  constexpr std::uint8_t int3 = 0xcc;
  if (vcpu_.progress().software_breakpoints && failure.length > 0 && failure.bytes[0] == int3) {
    // KVM's emulator has no INT3 in protected mode: where it runs the guest, this is how a breakpoint comes.
    return Found{exits::Debug{failure.instruction_pointer, 0, true}};
  }
  return Found{failure};
}

Result<VcpuRunner::Found> VcpuRunner::complete(IoHandler& io) {
  while (vcpu_.progress().half_done) {
    vcpu_.kicker().set_immediate_exit(true);
    TRIVET_ASSIGN(auto found, enter(io));
    if (found) return found;
  }
  return Found{};
}

Result<void> VcpuRunner::drain(IoHandler& io) {
  const Turn turn(vcpu_.occupancy());
  if (!turn.ok()) return busy(drain_operation, vcpu_.index());
  auto& progress = vcpu_.progress();
  if (progress.msr_answer_owed) return owed(drain_operation, vcpu_.index());
  if (auto* const ring = vcpu_.coalesced_ring()) posted_.drain(ring, io);
  TRIVET_ASSIGN(progress.held, progress.held ? Result<Found>(progress.held) : complete(io));
  return {};
}

}  // namespace trivet::kvm
