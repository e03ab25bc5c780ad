// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "decoder.hpp"
#include "partition.hpp"
#include "registers.hpp"

namespace trivet::mshv_sim {

/// A virtual processor. Its descriptor is a memfd of three pages: registers, intercept message, GHCB.
class Vp {
 public:
  static std::shared_ptr<Vp> create(std::shared_ptr<Partition> partition, unsigned index, int& error);
  ~Vp();
  Vp(const Vp&) = delete;
  Vp& operator=(const Vp&) = delete;

  [[nodiscard]] int pages_fd() const { return pages_.value(); }
  [[nodiscard]] unsigned index() const { return index_; }
  [[nodiscard]] Partition& partition() const { return *partition_; }

  int run(mshv::abi::Message* message, const sigset_t& waiting_mask);
  int state(mshv::abi::VpState& request, bool write);
  int hypercall(mshv::abi::RootHypercall& call);

  /// For the partition: one batch of registers, around which the register page is kept.
  RegisterFile open_registers();
  bool close_registers(RegisterFile& file);
  std::recursive_mutex& lock() { return mutex_; }
  kvm_sregs sregs() const;

 private:
  Vp(std::shared_ptr<Partition> partition, unsigned index, int vcpu_fd);
  bool set_up(std::size_t run_size, int& error);

  // Each makes the message, or nothing when the guest goes on; a negative errno when KVM failed.
  int enter(mshv::abi::Message& message, bool& done);
  int look_at_window(mshv::abi::Message& message, bool& done);
  void tell_window(mshv::abi::Message& message);
  int port(mshv::abi::Message& message);
  int memory(mshv::abi::Message& message);
  int msr(mshv::abi::Message& message, bool& done);
  int internal_error(mshv::abi::Message& message);

  struct Before;
  void remember(Before& before);
  /// `dropped`: bytes of further writes to devices that came of it.
  bool complete(std::size_t& dropped);
  void roll_back(const Before& before, const kvm_regs& regs);
  std::optional<Instruction> instruction_at(const Before& before, std::uint64_t rip) const;
  std::optional<Instruction> find_writer(Before& before, const std::uint8_t* data, bool to_port) const;
  bool wrote(const Before& before, const Instruction& instruction, const std::uint8_t* data, bool to_port) const;
  std::size_t fetch(const Before& before, std::uint64_t rip, std::span<std::uint8_t> bytes) const;
  void fill_header(mshv::abi::InterceptHeader& header, const Before& before, unsigned length,
                   std::uint8_t access) const;
  void describe(mshv::abi::Message& message, mshv::abi::MessageType type, const void* payload, std::size_t size) const;
  std::uint64_t address_of(const Before& before, const Instruction& instruction, std::uint64_t gpa, bool& valid) const;

  void take_page();
  void show_page();
  int apply_cpuid();
  int lapic(std::uint8_t* buffer, bool write) const;
  int xsave(std::uint8_t* buffer, std::uint32_t size, bool write) const;

  std::shared_ptr<Partition> partition_;
  const unsigned index_;
  UniqueFd vcpu_;
  UniqueFd pages_;
  kvm_run* run_ = nullptr;
  std::size_t run_size_ = 0;
  std::uint8_t* page_ = nullptr;
  mshv::abi::RegisterPage* registers_ = nullptr;
  std::recursive_mutex mutex_;
  std::uint64_t mask_ = 0;
  unsigned cpuid_version_ = 0;
  unsigned runs_ = 0;
  std::uint64_t tsc_ahead_ = 0;
  std::vector<std::uint8_t> synthetic_;  // pages that are only kept: SIMP, SIEFP, timers
};

}  // namespace trivet::mshv_sim
