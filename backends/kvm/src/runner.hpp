// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <optional>

#include <trivet/core/runner.hpp>

#include "dirty_ring.hpp"
#include "posted_writes.hpp"
#include "vcpu.hpp"

namespace trivet::kvm {

/// Runs one vCPU: KVM_RUN again and again on the caller's thread. Source: Linux Documentation/virt/kvm/api.rst,
/// KVM_RUN.
class VcpuRunner final : public Runner {
 public:
  /// `rings` null: no dirty rings.
  VcpuRunner(KvmVcpu& vcpu, CoalescedWrites& posted, DirtyRings* rings) noexcept
      : vcpu_(vcpu), posted_(posted), rings_(rings) {}

  Result<Exit> run(IoHandler& io) override;
  Result<void> drain(IoHandler& io) override;
  [[nodiscard]] Kicker& kicker() noexcept override { return vcpu_.kicker(); }
  [[nodiscard]] int wait_fd() const noexcept override { return -1; }
  [[nodiscard]] Vcpu* vcpu() noexcept override { return &vcpu_; }

 private:
  using Found = std::optional<Exit>;

  Result<Exit> loop(IoHandler& io);
  /// KVM_RUN until a control exit, or nothing when the kernel was interrupted and the flags want looking at.
  Result<Found> enter(IoHandler& io);
  /// While the interrupt pin is asserted: delivers its interrupt, or has KVM tell when it can be. `known`: KVM_RUN has
  /// said whether it can, since somebody else may have changed the vCPU.
  Result<Found> serve_pin(IoHandler& io, bool known);
  /// Lets KVM finish an access without running the guest. What came up instead, if anything.
  Result<Found> complete(IoHandler& io);
  Result<Found> control(IoHandler& io);
  Result<Found> failed(int os_errno);
  Result<Found> internal_error();
  Result<Found> system_event();

  KvmVcpu& vcpu_;
  CoalescedWrites& posted_;
  DirtyRings* rings_;
};

}  // namespace trivet::kvm
