// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Everything that takes libxenctrl or libxenguest, whose ABI is that of one release of Xen, behind neutral types.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

#include "handles.hpp"

namespace trivet::xen {

/// 16 bytes that a domain's maker chose; xl shows them as the domain's UUID.
using DomainHandle = std::array<std::uint8_t, 16>;

/// What Xen knows of a domain.
struct DomainInfo {
  DomainId id = 0;
  bool hvm = false;  ///< PVH or HVM rather than PV
  bool dying = false;
  bool paused = false;
  bool shut_down = false;
  unsigned shutdown_reason = 0;  ///< SHUTDOWN_* of xen/sched.h, when shut down
  unsigned vcpus_online = 0;     ///< those with a state; 0 until the domain is built
  DomainHandle handle{};
};

/// What a domain is made with.
struct DomainSpec {
  DomainHandle handle{};
  unsigned vcpus = 1;
  bool full_emulation = false;  ///< HVM: IOAPIC, PICs, timers too; else LAPICs only (PVH)
};

struct VcpuInfo {
  bool online = false;   ///< was started
  bool blocked = false;  ///< waits for an interrupt (HLT)
};

/// The control interface. Thread rule: any thread. Errors are the host's; `not_found`: no such domain.
/// Source: xenctrl.h, xenguest.h, xen/domctl.h.
class Domctl {
 public:
  /// `permission`: not the control domain; `unsupported`: Xen is another release than the libraries.
  static Result<Domctl> open();
  Domctl(Domctl&&) noexcept;
  Domctl& operator=(Domctl&&) noexcept;
  ~Domctl();

  /// "4.17.7".
  [[nodiscard]] std::string version() const;

  /// Nothing where there is no such domain.
  Result<std::optional<DomainInfo>> info(DomainId domain) const;
  Result<std::vector<DomainInfo>> list() const;

  /// A domain with its vCPUs, paused, without memory.
  Result<DomainId> create(const DomainSpec& spec) const;
  Result<void> destroy(DomainId domain) const;
  Result<void> pause(DomainId domain) const;
  Result<void> unpause(DomainId domain) const;
  /// As if the guest had asked for it, once its accesses under way are answered.
  Result<void> shut_down(DomainId domain, unsigned reason) const;
  /// Undoes a shutdown: the vCPUs go on where they stopped.
  Result<void> undo_shut_down(DomainId domain) const;
  /// The same for a guest that starts again: its event channels and grants are gone.
  Result<void> soft_reset(DomainId domain) const;

  // domctl_memory.cpp
  /// Bytes that no domain has, nor is promised.
  Result<std::uint64_t> free_memory() const;
  Result<void> set_paging_pool(DomainId domain, std::uint64_t bytes) const;
  Result<void> set_max_memory(DomainId domain, std::uint64_t bytes) const;
  /// Puts memory at each of `frames`, 2^order pages each. How many were done, and why no more.
  struct Populated {
    std::size_t extents = 0;
    std::optional<Error> error;
  };
  Populated populate(DomainId domain, std::span<const std::uint64_t> frames, unsigned order) const;
  /// What the guest gave up already is passed over.
  Result<void> depopulate(DomainId domain, std::span<const std::uint64_t> frames, unsigned order) const;
  Result<void> start_dirty_log(DomainId domain) const;
  Result<void> stop_dirty_log(DomainId domain) const;
  /// Dirty bits of frames 0 to `frames` - 1, and starts again.
  Result<std::vector<std::uint64_t>> take_dirty_log(DomainId domain, std::uint64_t frames) const;

  // domctl_x86_64.cpp
  /// What of the recipe x86 needs besides: the default CPUID, a native TSC, what a triple fault is told as.
  Result<void> set_up_x86(DomainId domain, unsigned triple_fault_reason) const;
  /// The whole HVM context: xen/hvm/save.h.
  Result<std::vector<std::uint8_t>> context(DomainId domain) const;
  Result<void> set_context(DomainId domain, std::span<const std::uint8_t> context) const;
  /// One record of it; false where the domain has none (a vCPU that is down).
  Result<bool> read_record(DomainId domain, std::uint16_t type, std::uint16_t instance,
                           std::span<std::uint8_t> to) const;
  Result<VcpuInfo> vcpu_info(DomainId domain, unsigned vcpu) const;
  Result<void> trigger_nmi(DomainId domain, unsigned vcpu) const;
  /// What a domain sees when nobody sets another.
  Result<std::vector<CpuidEntry>> default_cpuid() const;
  Result<std::vector<CpuidEntry>> cpuid(DomainId domain) const;
  /// `invalid_argument`: Xen refuses the set; `bad_state`: the domain has run.
  Result<void> set_cpuid(DomainId domain, std::span<const CpuidEntry> entries) const;

 private:
  struct Impl;  // libxenctrl's handle
  explicit Domctl(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet::xen
