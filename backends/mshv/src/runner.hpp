// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>

#include <trivet/core/runner.hpp>
#include <trivet/mshv/emulator/emulator.hpp>

#include "vcpu.hpp"

namespace trivet::mshv {

/// Runs one vCPU: MSHV_RUN_VP again and again on the caller's thread, and does what the hypervisor leaves to us: port
/// accesses from the message alone, everything else by the instruction emulator. Nothing is ever half done: an
/// instruction is finished before the next run.
class VpRunner final : public Runner {
 public:
  explicit VpRunner(MshvVcpu& vcpu);

  Result<Exit> run(IoHandler& io) override;
  Result<void> drain(IoHandler& io) override;
  [[nodiscard]] Kicker& kicker() noexcept override { return vcpu_.kicker(); }
  [[nodiscard]] int wait_fd() const noexcept override { return -1; }
  [[nodiscard]] Vcpu* vcpu() noexcept override { return &vcpu_; }

 private:
  using Found = std::optional<Exit>;
  class Cpu;

  Result<Exit> loop(IoHandler& io);
  Result<Found> serve(IoHandler& io);

  Result<Found> on(const intercepts::Port& port, IoHandler& io);
  Result<Found> on(const intercepts::Memory& memory, IoHandler& io);
  Result<Found> on(const intercepts::Msr& msr, IoHandler& io);
  Result<Found> on(const intercepts::EndOfInterrupt& end, IoHandler& io);
  Result<Found> on(const intercepts::Halt& halt, IoHandler& io);
  Result<Found> on(const intercepts::Unrecoverable& fault, IoHandler& io);
  Result<Found> on(const intercepts::InvalidRegister& invalid, IoHandler& io);
  Result<Found> on(const intercepts::Deliverable& deliverable, IoHandler& io);
  Result<Found> on(const intercepts::Notice& notice, IoHandler& io);

  /// While the interrupt pin is asserted: has the hypervisor tell when an interrupt can be taken.
  Result<void> ask_for_window() const;
  Result<Found> emulate(const intercepts::Instruction& instruction, IoHandler& io);
  Result<void> load(emulator::CpuState& state, bool everything) const;
  Result<void> load_from_page(emulator::CpuState& state, const abi::RegisterPage& page) const;
  Result<void> store(const emulator::CpuState& before, const emulator::CpuState& after) const;
  Result<void> finish(const intercepts::Instruction& instruction, const emulator::Outcome& outcome) const;

  MshvVcpu& vcpu_;
  emulator::Emulator emulator_;
  Memory::View view_;
  abi::Message message_{};
};

}  // namespace trivet::mshv
