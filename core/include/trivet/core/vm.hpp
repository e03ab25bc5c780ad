// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <trivet/core/arch.hpp>
#include <trivet/core/clock.hpp>
#include <trivet/core/dirty_log.hpp>
#include <trivet/core/doorbell.hpp>
#include <trivet/core/io_claims.hpp>
#include <trivet/core/irq_router.hpp>
#include <trivet/core/irqchip.hpp>
#include <trivet/core/msr_intercepts.hpp>
#include <trivet/core/posted_writes.hpp>
#include <trivet/core/region.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/runner.hpp>
#include <trivet/core/vcpu.hpp>

namespace trivet {

/// How a VM is made. What a backend cannot honour is `unsupported` at creation, naming it; never dropped.
struct VmConfig {
  std::string name = "trivet";
  unsigned max_vcpus = 1;
  IrqchipKind irqchip = IrqchipKind::full;
  bool pit = false;                      ///< an interval timer in the hypervisor
  bool halt_exits = false;               ///< HLT exits; only with IrqchipKind::none
  std::uint32_t dirty_ring_entries = 0;  ///< 0: bitmap; else a power of two
};

/// A virtual machine: memory, vCPUs, runners and the facets that this backend has.
///
/// Owns its vCPUs, runners and facets; destroy what they gave out (lines, doorbells) first. Destroying it ends the
/// guest, if this process made it. Thread rule: any thread unless a call says otherwise; `create_vcpu` from one thread
/// at a time.
class Vm {
 public:
  virtual ~Vm() = default;

  /// Maps memory into the guest (P6); also while vCPUs run. Do it before the first `create_vcpu` where you can: it is
  /// much cheaper then. `already_exists` when it overlaps a mapped region, `invalid_argument` when not page aligned,
  /// `unsupported` names the Cap of a source or access that is missing (caller); `limit`, `no_memory` (host).
  virtual Result<MappedRegion> map(const RegionSpec& spec) = 0;

  /// Takes exactly one mapped region away; also while vCPUs run. `not_found` otherwise.
  virtual Result<void> unmap(const GuestRange& range) = 0;

  /// Where an attached VM's guest has memory inside `within`, as its toolstack gave it, by ascending address; whoever
  /// maps it with `HypervisorMemory` need not know the toolstack's layout. Looks at the first page of each 2 MiB: what
  /// begins inside a piece that does not start with memory is not found. `unsupported` for a VM that this process made,
  /// which knows what it mapped (caller); `io`, `hypervisor` (host).
  virtual Result<std::vector<GuestRange>> populated(const GuestRange& within) const {
    (void)within;
    return Error::unsupported("look for a guest's memory", "attach: the VM is not another's");
  }

  /// Makes vCPU `index` (< max_vcpus, each once). It starts in the architecture's reset state: vCPU 0 runnable, on x86
  /// with an interrupt controller the others waiting for a startup IPI. The guest sees the host's supported CPUID until
  /// `set_cpuid`.
  virtual Result<Vcpu*> create_vcpu(unsigned index) = 0;

  /// Those made so far, by index.
  [[nodiscard]] virtual std::span<Vcpu* const> vcpus() const noexcept = 0;

  /// How the guest's platform tables name vCPU `index`; on x86 its initial APIC id. Also before it is made.
  [[nodiscard]] virtual std::uint32_t processor_id(unsigned index) const noexcept { return index; }

  /// What must be driven (P2); complete when all vCPUs are made.
  [[nodiscard]] virtual std::span<Runner* const> runners() const noexcept = 0;

  /// Where the hypervisor schedules vCPUs (no Cap::own_vcpu_threads): starts or goes on, and stops them all. Elsewhere
  /// the runners are the guest and both do nothing. A made VM is paused.
  virtual Result<void> resume() = 0;
  virtual Result<void> pause() = 0;

  /// What this backend does with a state element (P7).
  [[nodiscard]] virtual StateSupport state_support(StateElement element) const noexcept = 0;

  // Facets (P5): null where absent.
  [[nodiscard]] virtual IrqRouter* irq_router() noexcept = 0;
  [[nodiscard]] virtual Irqchip* irqchip() noexcept = 0;
  [[nodiscard]] virtual Doorbells* doorbells() noexcept = 0;
  [[nodiscard]] virtual IoClaims* io_claims() noexcept { return nullptr; }
  [[nodiscard]] virtual DirtyLog* dirty_log() noexcept = 0;
  [[nodiscard]] virtual Clock* clock() noexcept = 0;
  [[nodiscard]] virtual PostedWrites* posted_writes() noexcept = 0;
  [[nodiscard]] virtual MsrIntercepts* msr_intercepts() noexcept = 0;
};

}  // namespace trivet
