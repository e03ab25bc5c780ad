// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <functional>
#include <optional>

#include <trivet/core/vcpu.hpp>

#include "context.hpp"
#include "hvm_context_x86_64.hpp"
#include "ioreq_server.hpp"
#include "memory.hpp"
#include "registers_x86_64.hpp"

namespace trivet::xen {

/// One vCPU of a domain that we made. Its state is a part of the domain's HVM context, which is written as a whole:
/// whatever changes one vCPU writes them all back as they were.
class XenVcpu final : public Vcpu {
 public:
  XenVcpu(const Context& context, const IoreqServer& server, Memory& memory, unsigned index) noexcept
      : context_(context), server_(server), memory_(memory), index_(index) {}

  /// The first vCPU at its reset vector; the others stay down, which is how Xen waits for a startup IPI.
  Result<void> set_up();

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
  Result<void> set_debug(const DebugControl& control) override;
  Result<void> answer_msr(std::optional<std::uint64_t> value) override;
  Result<void> answer_hypercall(std::uint64_t value) override;

  /// The guest goes on: what was injected is delivered.
  void forget_injected() noexcept { injected_.reset(); }

 private:
  [[nodiscard]] std::uint16_t instance() const noexcept { return static_cast<std::uint16_t>(index_); }
  Result<void> check_stopped(const char* operation) const;
  Result<void> check_settled(const char* operation) const;
  Result<void> check_state(const VcpuState& state) const;

  /// This vCPU's record; what it will have where it is down.
  Result<hvm_hw_cpu> read_cpu() const;
  /// The whole context, and the least of it that must be written back: what keeps every vCPU that is up.
  struct Contexts {
    HvmContext whole;
    HvmContext out;
  };
  Result<Contexts> read_contexts() const;
  Result<void> write(const HvmContext& context) const;
  /// The same after a change of this vCPU. A record would bring it up: one that is down stays so unless `activity` says
  /// otherwise, with its registers kept here until then.
  Result<void> write_changed(Contexts& contexts, std::optional<Activity> activity);
  Result<void> change_cpu(const std::function<Result<void>(hvm_hw_cpu& cpu)>& change);

  Result<VcpuState> save_from(const HvmContext& context, StateElements elements) const;
  Result<Activity> activity() const;
  Result<void> put_state(Contexts& contexts, const VcpuState& state) const;
  Result<void> put_lapic(Contexts& contexts, const VcpuState& state) const;
  Result<void> wake() const;

  const Context& context_;
  const IoreqServer& server_;
  Memory& memory_;
  const unsigned index_;
  hvm_hw_cpu down_ = reset_state();    // its registers while it is down: Xen has none then
  std::optional<Exception> injected_;  // given to Xen, not yet delivered: no record shows it
};

/// What Xen does with a state element.
[[nodiscard]] StateSupport state_support(StateElement element) noexcept;

}  // namespace trivet::xen
