// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>

#include "abi_messages.hpp"
#include "kvm.hpp"

namespace trivet::mshv_sim {

[[nodiscard]] mshv::abi::SegmentRegister to_message(const kvm_segment& segment);
[[nodiscard]] std::uint64_t& gp_reference(kvm_regs& regs, unsigned index);  ///< in the processor's order

/// The registers of a virtual processor by their names in the hypercalls, read from KVM when first asked for and
/// written back by `flush`. One batch is one object.
class RegisterFile {
 public:
  /// `tsc_ahead`: how far the TSC that was set is ahead of KVM's, where KVM cannot set it (a guest does not see it).
  RegisterFile(int vcpu_fd, bool wrong_segments, std::uint64_t& tsc_ahead, kvm_run& run)
      : fd_(vcpu_fd), wrong_segments_(wrong_segments), tsc_ahead_(tsc_ahead), run_(run) {}

  /// False for a register that is not known here, or a value that KVM refuses.
  bool get(std::uint32_t name, mshv::abi::RegisterValue& value);
  bool set(std::uint32_t name, const mshv::abi::RegisterValue& value);
  bool flush();

  kvm_regs& regs() { return load(regs_, KVM_GET_REGS); }
  kvm_sregs& sregs() { return load(sregs_, KVM_GET_SREGS); }
  kvm_fpu& fpu() { return load(fpu_, KVM_GET_FPU); }
  kvm_vcpu_events& events() { return load(events_, KVM_GET_VCPU_EVENTS); }
  kvm_debugregs& debug() { return load(debug_, KVM_GET_DEBUGREGS); }
  void changed_regs() { regs_changed_ = true; }
  void changed_sregs() { sregs_changed_ = true; }
  void changed_fpu() { fpu_changed_ = true; }

 private:
  template <class T>
  T& load(std::optional<T>& cached, unsigned long request) {
    if (!cached) {
      cached.emplace();
      if (kvm_call(fd_, request, &*cached) < 0) failed_ = true;
    }
    return *cached;
  }
  kvm_segment* segment(std::uint32_t name);
  std::uint64_t* control(std::uint32_t name);
  bool get_event(std::uint32_t name, mshv::abi::RegisterValue& value);
  bool set_event(std::uint32_t name, const mshv::abi::RegisterValue& value);
  bool get_float(std::uint32_t name, mshv::abi::RegisterValue& value);
  bool set_float(std::uint32_t name, const mshv::abi::RegisterValue& value);
  bool get_other(std::uint32_t name, mshv::abi::RegisterValue& value);
  bool set_other(std::uint32_t name, const mshv::abi::RegisterValue& value);
  bool read_msr(std::uint32_t index, std::uint64_t& value) const;
  bool write_msr(std::uint32_t index, std::uint64_t value) const;
  bool write_tsc(std::uint64_t value);

  const int fd_;
  const bool wrong_segments_;
  std::uint64_t& tsc_ahead_;
  kvm_run& run_;
  bool failed_ = false;
  std::optional<kvm_regs> regs_;
  std::optional<kvm_sregs> sregs_;
  std::optional<kvm_fpu> fpu_;
  std::optional<kvm_vcpu_events> events_;
  std::optional<kvm_debugregs> debug_;
  bool regs_changed_ = false, sregs_changed_ = false, fpu_changed_ = false, events_changed_ = false,
       debug_changed_ = false, wake_ = false;
};

}  // namespace trivet::mshv_sim
