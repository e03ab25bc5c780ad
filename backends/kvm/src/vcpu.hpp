// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include <trivet/core/exit.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/core/vcpu.hpp>

#include "context.hpp"
#include "kicker.hpp"
#include "mapping.hpp"
#include "memory.hpp"
#include "occupancy.hpp"

namespace trivet::kvm {

class MsrList;

/// One vCPU: its descriptor, its shared page and its state. Its runner (VcpuRunner) lives beside it.
class KvmVcpu final : public Vcpu {
 public:
  static Result<std::unique_ptr<KvmVcpu>> create(const Context& context, const Memory& memory, MsrList& msrs,
                                                 unsigned index);

  [[nodiscard]] unsigned index() const noexcept override { return index_; }
  Result<GeneralRegisters> registers() const override;
  Result<void> set_registers(const GeneralRegisters& registers) override;
  Result<SystemRegisters> system_registers() const override;
  Result<void> set_system_registers(const SystemRegisters& registers) override;
  Result<void> set_cpuid(std::span<const CpuidEntry> entries) override;
  Result<VcpuState> save(StateElements elements) const override;
  Result<void> restore(const VcpuState& state) override;
  Result<std::optional<Translation>> translate(GuestVirtualAddress at) const override;
  Result<void> inject(const Exception& exception) override;
  Result<void> inject_nmi() override;
  Result<void> set_interrupt_pin(bool asserted) noexcept override;
  Result<void> set_debug(const DebugControl& control) override;
  Result<void> answer_msr(std::optional<std::uint64_t> value) override;
  Result<void> answer_hypercall(std::uint64_t value) override;

  // For the runner, on its thread, while it occupies the vCPU.
  [[nodiscard]] int fd() const noexcept { return fd_.value(); }
  // SAFETY: the kernel lays out a kvm_run at the start of the mapping.
  [[nodiscard]] kvm_run& run() const noexcept { return *reinterpret_cast<kvm_run*>(mapping_.data()); }
  [[nodiscard]] RunKicker& kicker() noexcept { return kicker_; }
  [[nodiscard]] Occupancy& occupancy() const noexcept { return occupancy_; }
  /// The ring of posted writes, as this vCPU's mapping shows it; null where the kernel has none.
  [[nodiscard]] kvm_coalesced_mmio_ring* coalesced_ring() const noexcept { return coalesced_ring_; }
  [[nodiscard]] bool interrupt_pin() const noexcept { return interrupt_pin_.load(std::memory_order_seq_cst); }
  /// Makes the next entry deliver `vector`; KVM must be ready for it.
  Result<void> deliver_external(std::uint8_t vector) const;
  /// Queues the NMIs that were asked for while it ran.
  Result<void> flush_nmi() const;

  /// Only one thread touches these at a time: who occupies the vCPU.
  struct Progress {
    bool half_done = false;             ///< an access was served and KVM_RUN has not taken it yet
    bool msr_answer_owed = false;       ///< exits::Msr was given out
    bool ran = false;                   ///< KVM_RUN was called once
    bool software_breakpoints = false;  ///< `set_debug` asked for them
    std::optional<Exit> held;           ///< an exit that `drain` met; the next `run` gives it
  };
  [[nodiscard]] Progress& progress() noexcept { return progress_; }

 private:
  KvmVcpu(const Context& context, const Memory& memory, MsrList& msrs, unsigned index, UniqueFd fd, Mapping mapping);

  /// Keeps runners out while a state call works; not `ok` when one is in.
  class StateCall;
  [[nodiscard]] Error running(const char* operation) const;
  Result<void> settled(const char* operation) const;
  Result<void> check_present(const VcpuState& state) const;

  Result<SystemRegisters> read_system_registers() const;
  Result<void> write_system_registers(const SystemRegisters& registers);
  Result<Xsave> read_xsave() const;
  Result<void> write_xsave(const Xsave& xsave);
  Result<ExtendedControl> read_extended_control() const;
  Result<void> write_extended_control(const ExtendedControl& control);
  Result<LapicRegisters> read_lapic() const;
  Result<void> write_lapic(const LapicRegisters& lapic);
  Result<Activity> read_activity() const;
  Result<void> write_activity(Activity activity);
  Result<PendingEvents> read_events() const;
  Result<void> write_events(const PendingEvents& events);
  Result<DebugRegisters> read_debug_registers() const;
  Result<Tsc> read_tsc() const;
  Result<void> write_tsc_frequency(std::uint32_t khz);
  Result<void> write_cpuid_entries(std::span<const CpuidEntry> entries);

  Result<void> save_into(VcpuState& state, StateElements elements) const;
  Result<void> restore_from(const VcpuState& state);

  const Context& context_;
  const Memory& memory_;
  MsrList& msrs_;
  const unsigned index_;
  UniqueFd fd_;
  Mapping mapping_;
  kvm_coalesced_mmio_ring* coalesced_ring_ = nullptr;
  RunKicker kicker_;
  mutable Occupancy occupancy_;
  mutable std::atomic<bool> nmi_asked_{false};
  std::atomic<bool> interrupt_pin_{false};
  Progress progress_;
};

/// What KVM does with a state element of this VM.
[[nodiscard]] StateSupport state_support(StateElement element, const Context& context) noexcept;

/// In the scope of a state call; check `ok()` first.
class KvmVcpu::StateCall {
 public:
  explicit StateCall(const KvmVcpu& vcpu) noexcept : vcpu_(vcpu), ok_(vcpu.occupancy_.enter_state()) {}
  ~StateCall() {
    if (ok_) vcpu_.occupancy_.leave_state();
  }
  StateCall(const StateCall&) = delete;
  StateCall& operator=(const StateCall&) = delete;
  [[nodiscard]] bool ok() const noexcept { return ok_; }

 private:
  const KvmVcpu& vcpu_;
  bool ok_;
};

}  // namespace trivet::kvm
