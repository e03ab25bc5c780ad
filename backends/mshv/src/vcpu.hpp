// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <memory>

#include <trivet/core/io_handler.hpp>
#include <trivet/core/vcpu.hpp>
#include <trivet/mshv/emulator/emulator.hpp>

#include "context.hpp"
#include "kicker.hpp"
#include "memory.hpp"
#include "message.hpp"
#include "msrs_x86_64.hpp"
#include "occupancy.hpp"

namespace trivet::mshv {

/// One virtual processor: its descriptor, its register page and its state. Its runner (VpRunner) lives beside it.
///
/// The driver holds a lock through RUN_VP, so that any other call would wait for the guest: state calls are refused
/// before they get there.
class MshvVcpu final : public Vcpu {
 public:
  static Result<std::unique_ptr<MshvVcpu>> create(const Context& context, Memory& memory, MsrList& msrs,
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
  [[nodiscard]] const Handle& handle() const noexcept { return handle_; }
  [[nodiscard]] const Context& context() const noexcept { return context_; }
  [[nodiscard]] Memory& memory() noexcept { return memory_; }
  [[nodiscard]] RunKicker& kicker() noexcept { return kicker_; }
  [[nodiscard]] Occupancy& occupancy() const noexcept { return occupancy_; }
  /// While it is valid; else null.
  [[nodiscard]] abi::RegisterPage* page() const noexcept;
  [[nodiscard]] bool interrupt_pin() const noexcept { return interrupt_pin_.load(std::memory_order_seq_cst); }
  /// Asserts the NMI that was asked for while it was stopped, or ran.
  Result<void> flush_nmi() const;

  Result<void> read(std::span<const std::uint32_t> names, std::span<abi::RegisterValue> values) const {
    return read_registers_of(names, values);
  }
  Result<void> write(std::span<const abi::RegisterAssignment> assignments) const;
  /// Where the code at `rip` lies; nothing where nothing is mapped.
  Result<std::optional<GuestAddress>> translate_code(std::uint64_t rip) const;

  /// Only one thread touches these at a time: who occupies the vCPU.
  struct Progress {
    std::optional<intercepts::Msr> msr;  ///< exits::Msr was given out, and not answered
    bool ran = false;                    ///< RUN_VP was called once
    bool window_asked = false;           ///< the hypervisor will tell when an interrupt can be taken
  };
  [[nodiscard]] Progress& progress() noexcept { return progress_; }

 private:
  MshvVcpu(const Context& context, Memory& memory, MsrList& msrs, unsigned index, Handle handle);

  /// Keeps runners out while a state call works; not `ok` when one is in.
  class StateCall;
  [[nodiscard]] Error running(const char* operation) const;
  Result<void> settled(const char* operation) const;
  Result<void> check_present(const VcpuState& state) const;

  Result<void> read_registers_of(std::span<const std::uint32_t> names, std::span<abi::RegisterValue> values) const;
  Result<std::uint64_t> read_one(std::uint32_t name) const;
  Result<void> write_one(std::uint32_t name, std::uint64_t value) const;

  Result<GeneralRegisters> read_general() const;
  Result<void> write_general(const GeneralRegisters& registers);
  Result<SystemRegisters> read_system() const;
  Result<void> write_system(const SystemRegisters& registers);
  Result<Xsave> read_xsave() const;
  Result<void> write_xsave(const Xsave& xsave);
  Result<LapicRegisters> read_lapic() const;
  Result<void> write_lapic(const LapicRegisters& lapic);
  Result<Activity> read_activity() const;
  Result<void> write_activity(Activity activity);
  Result<PendingEvents> read_events() const;
  Result<void> write_events(const PendingEvents& events);
  Result<DebugRegisters> read_debug_registers() const;
  Result<void> write_debug_registers(const DebugRegisters& registers);
  Result<void> write_cpuid_entries(std::span<const CpuidEntry> entries);
  Result<void> vp_state(abi::VpStateType type, std::span<std::uint8_t> buffer, bool write) const;

  Result<void> save_into(VcpuState& state, StateElements elements) const;
  Result<void> restore_from(const VcpuState& state);

  const Context& context_;
  Memory& memory_;
  MsrList& msrs_;
  const unsigned index_;
  Handle handle_;
  Page page_;
  RunKicker kicker_;
  mutable Occupancy occupancy_;
  mutable std::atomic<bool> nmi_asked_{false};
  std::atomic<bool> interrupt_pin_{false};
  Progress progress_;
};

/// What this backend does with a state element of this VM.
[[nodiscard]] StateSupport state_support(StateElement element, const Context& context) noexcept;

/// In the scope of a state call; check `ok()` first.
class MshvVcpu::StateCall {
 public:
  explicit StateCall(const MshvVcpu& vcpu) noexcept : vcpu_(vcpu), ok_(vcpu.occupancy_.enter_state()) {}
  ~StateCall() {
    if (ok_) vcpu_.occupancy_.leave_state();
  }
  StateCall(const StateCall&) = delete;
  StateCall& operator=(const StateCall&) = delete;
  [[nodiscard]] bool ok() const noexcept { return ok_; }

 private:
  const MshvVcpu& vcpu_;
  bool ok_;
};

}  // namespace trivet::mshv
