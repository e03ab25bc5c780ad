// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>

#include "device.hpp"

namespace trivet::kvm {

inline constexpr std::uint32_t msr_tsc = 0x10;
inline constexpr std::uint32_t msr_tsc_deadline = 0x6e0;

/// The MSRs that make up a vCPU's state here: KVM_GET_MSR_INDEX_LIST without the TSC (StateElement::tsc has it) and
/// without those that the kernel lists but cannot read. Thread rule: any thread.
class MsrList {
 public:
  explicit MsrList(const Device& device) noexcept : device_(device) {}

  Result<std::vector<MsrValue>> read(int vcpu_fd);

  /// In order, but the TSC deadline last: it is dropped unless the TSC and the LAPIC's timer mode are there.
  /// `unsupported` names the MSR that the kernel refuses and its value; a 0 for an MSR that this host does not have is
  /// skipped.
  static Result<void> write(int vcpu_fd, std::span<const MsrValue> values);

 private:
  Result<void> load();

  const Device& device_;
  std::mutex mutex_;
  std::vector<std::uint32_t> indices_;
};

/// One MSR. `unsupported` names it when the kernel refuses.
Result<std::uint64_t> read_msr(int vcpu_fd, std::uint32_t index);
Result<void> write_msr(int vcpu_fd, const MsrValue& value);

}  // namespace trivet::kvm
