// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/mshv_sim/simulator.hpp>

#include "abi_messages.hpp"
#include "guest_memory.hpp"
#include "kvm.hpp"

namespace trivet::mshv_sim {

class Vp;

struct CpuidEntry {
  std::uint32_t leaf = 0, subleaf = 0;
  bool significant = false;
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// A partition: a virtual machine of KVM with local APICs only. Thread rule: any thread.
class Partition {
 public:
  /// `flags` as CREATE_PARTITION; null and a negative errno in `error`.
  static std::shared_ptr<Partition> create(int kvm_fd, std::uint64_t flags, const Knobs& knobs, int& error);

  int initialize();
  int set_memory(const mshv::abi::GuestMemory& request);
  int irqfd(const mshv::abi::IrqFd& request);
  int ioeventfd(const mshv::abi::IoEventFd& request) const;
  int set_routing(const mshv::abi::MsiRoute* routes, std::uint32_t count);
  int access_bitmap(const mshv::abi::AccessBitmap& request);
  /// ROOT_HVCALL; `vp` is the one whose descriptor was used, or null.
  int hypercall(mshv::abi::RootHypercall& call, Vp* vp);

  /// The guest ended a level interrupt. True when somebody resamples it: then no message tells.
  bool end_of_interrupt(unsigned vector);

  [[nodiscard]] int vm() const { return vm_.value(); }
  [[nodiscard]] int kvm() const { return kvm_fd_; }
  [[nodiscard]] bool initialized() const { return initialized_; }
  [[nodiscard]] bool has_lapic() const { return (flags_ & mshv::abi::partition_flag::lapic) != 0; }
  [[nodiscard]] const GuestMemory& memory() const { return memory_; }
  [[nodiscard]] const Knobs& knobs() const { return knobs_; }
  [[nodiscard]] bool mutated(Mutation mutation) const { return knobs_.mutation == mutation; }
  [[nodiscard]] bool unknown_msrs_ignored() const;

  void add(const std::shared_ptr<Vp>& vp);
  [[nodiscard]] std::shared_ptr<Vp> vp(std::uint32_t index) const;
  /// Its descriptor is closed: those of its processors keep it alive, and not it them.
  void forget_vps();

  /// What that virtual processor's CPUID says: the host's, its own numbers, and what was registered.
  std::vector<CpuidEntry> cpuid(unsigned vp) const;
  [[nodiscard]] unsigned cpuid_version() const { return cpuid_version_; }
  [[nodiscard]] std::uint64_t xsave_states() const { return xsave_states_; }
  [[nodiscard]] std::uint32_t xsave_size() const;

 private:
  Partition(int kvm_fd, int vm_fd, std::uint64_t flags, const Knobs& knobs);
  void load_cpuid();
  void add_hypervisor_leaves(std::vector<CpuidEntry>& entries) const;

  struct Irq {
    int fd;
    int resample_fd;
    std::uint32_t gsi;
  };

  std::uint16_t dispatch(mshv::abi::RootHypercall& call, std::uint8_t* in, std::uint8_t* out, Vp* vp);
  std::uint16_t get_property(const std::uint8_t* in, std::uint8_t* out) const;
  std::uint16_t set_property(const std::uint8_t* in);
  std::uint16_t registers(mshv::abi::RootHypercall& call, std::uint8_t* in, std::uint8_t* out, bool write);
  std::uint16_t translate(const std::uint8_t* in, std::uint8_t* out) const;
  std::uint16_t assert_interrupt(const std::uint8_t* in);
  std::uint16_t register_result(const std::uint8_t* in);
  std::uint16_t cpuid_values(mshv::abi::RootHypercall& call, const std::uint8_t* in, std::uint8_t* out) const;
  std::uint16_t install_intercept(const std::uint8_t* in);
  int update_routes();
  void want_end_of(std::uint32_t data);
  [[nodiscard]] std::uint64_t reference_time() const;

  const int kvm_fd_;
  UniqueFd vm_;
  const std::uint64_t flags_;
  const Knobs knobs_;
  GuestMemory memory_;
  std::atomic<bool> initialized_{false};
  bool has_hyperv_ = false;  // KVM has the synthetic features
  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::shared_ptr<Vp>> vps_;
  std::map<std::uint32_t, mshv::abi::MsiRoute> routes_;
  std::vector<Irq> irqs_;
  std::set<unsigned> ended_vectors_;  // of level interrupts
  std::map<std::uint32_t, std::uint64_t> properties_;
  std::vector<CpuidEntry> host_cpuid_;
  std::vector<mshv::abi::CpuidResult> results_;
  std::atomic<unsigned> cpuid_version_{1};
  std::set<std::pair<std::uint32_t, std::uint32_t>> msr_intercepts_;  // number, access
  std::uint64_t xsave_states_ = 3;
  std::chrono::steady_clock::time_point started_;
  std::uint64_t time_offset_ = 0, frozen_at_ = 0;  // in 100 ns
  std::atomic<unsigned> calls_{0};
};

}  // namespace trivet::mshv_sim
