// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <trivet/core/arch.hpp>
#include <trivet/core/capability.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/succession.hpp>
#include <trivet/core/vm.hpp>

namespace trivet {

/// What an attached VM is wanted for.
struct AttachConfig {
  bool vcpu_state = false;  ///< also read and write vCPU state; `permission` where the hypervisor forbids it
  bool not_ours = false;    ///< only one that another toolstack made; `invalid_argument` for one that Trivet made
};

/// An open hypervisor: makes VMs and says what they can do. Outlives its VMs. Thread rule: any thread.
class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  /// "kvm", "xen", "mshv".
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  [[nodiscard]] virtual Support supports(Cap cap) const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t limit(Limit limit) const noexcept = 0;

  /// The CPUID that a vCPU gets when nobody sets another.
  virtual Result<std::vector<CpuidEntry>> supported_cpuid() const = 0;

  /// `unsupported` names what of the configuration cannot be honoured (caller); `permission`, `limit`, `no_memory`
  /// (host).
  virtual Result<std::unique_ptr<Vm>> create(const VmConfig& config) = 0;

  /// A Vm for one that a toolstack made (P9): memory, I/O claims, interrupts. `unsupported` names Cap::attach where
  /// there is none.
  virtual Result<std::unique_ptr<Vm>> attach(VmId id, const AttachConfig& config) = 0;

  /// Keeps up with a VM that a toolstack made, through its reboots. `not_found`: no such VM, or it has no memory yet;
  /// `unsupported` names Cap::attach where there is none.
  virtual Result<std::unique_ptr<Succession>> follow(VmId id);

  /// Gives up what serving the VM attached here does not take, in the whole process; `create`, `attach` and `follow`
  /// may fail with `permission` from now on. `bad_state`: a VM was made here, which takes all of it (caller).
  virtual Result<void> drop_privileges();
};

}  // namespace trivet
