// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/core/io_handler.hpp>
#include <trivet/mshv/emulator/cpu.hpp>
#include <trivet/mshv/emulator/cpu_state.hpp>
#include <trivet/mshv/emulator/outcome.hpp>

namespace trivet::mshv::emulator {

/// Executes one instruction of a guest on behalf of a hypervisor that only reports what it stumbled over.
///
/// One per vCPU: it keeps what it decoded. `run` allocates nothing, takes no lock and throws nothing.
/// Thread rule: one thread at a time.
class Emulator {
 public:
  /// Of the guest's processor, and how long a run may be.
  struct Options {
    unsigned physical_address_bits = 46;  ///< what lies above in a page table entry is reserved; 32-52
    std::uint32_t repeat_limit = 1024;    ///< iterations of a repeated string instruction in one `run`; at least 1
  };

  explicit Emulator(const Options& options);
  Emulator() : Emulator(Options{}) {}
  ~Emulator();
  Emulator(const Emulator&) = delete;
  Emulator& operator=(const Emulator&) = delete;

  /// Executes the instruction at `state.rip`: fetches it (from `prefetched` where that holds enough of it, which
  /// then must be the bytes at RIP), checks and translates as the processor would, makes its accesses in the
  /// processor's order and changes `state`. With an exception nothing is changed but what the architecture says: CR2,
  /// DR6, accessed and dirty bits, the progress of a repeated instruction.
  Outcome run(CpuState& state, Cpu& cpu, IoHandler& io, ConstBytes prefetched = {});

  /// What it executes: mnemonics in lower case, sorted; for tables.
  [[nodiscard]] static std::vector<std::string_view> instructions();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet::mshv::emulator
