// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Guest memory as an instruction sees it: segments, paging, RAM and devices.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <trivet/core/io_handler.hpp>
#include <trivet/mshv/emulator/cpu.hpp>
#include <trivet/mshv/emulator/cpu_state.hpp>

#include "fault.hpp"
#include "paging.hpp"

namespace trivet::mshv::emulator {

/// Where an operand lies: one piece, or two where it crosses a page. Checked and translated.
struct Location {
  std::array<std::uint64_t, 2> physical{};
  std::uint8_t bytes = 0;
  std::uint8_t in_first = 0;
};

/// The accesses of one instruction. What can fault is `locate`; `read`, `write` and `exchange` cannot.
class Access {
 public:
  Access(CpuState& state, Cpu& cpu, IoHandler& io, unsigned physical_address_bits)
      : state_(state), cpu_(cpu), io_(io), physical_address_bits_(physical_address_bits) {}

  /// Checks `bytes` (at most 16) at `offset` of a segment for `intent` (a read-modify-write is a write) and translates
  /// them. `alignment`: what the instruction insists on, with a general protection fault.
  [[nodiscard]] bool locate(SegmentIndex segment, std::uint64_t offset, unsigned bytes, Intent intent,
                            Location& location, unsigned alignment = 1);

  /// For the processor's own tables: no segment, supervisor privilege.
  [[nodiscard]] bool locate_table(std::uint64_t linear, unsigned bytes, Intent intent, Location& location);

  void read(const Location& location, void* to);
  void write(const Location& location, const void* from);

  /// A locked write of at most 8 bytes that must replace `expected`; false where another processor was quicker. Where
  /// it is not one aligned piece of RAM it just writes.
  [[nodiscard]] bool exchange(const Location& location, std::uint64_t expected, std::uint64_t desired);

  bool raise(Vector vector, std::uint32_t error_code = 0) {
    fault_ = {vector, error_code, 0};
    return false;
  }
  [[nodiscard]] const Fault& fault() const { return fault_; }

 private:
  struct Cached {
    std::uint64_t linear = ~std::uint64_t{0};
    std::uint64_t physical = 0;
  };

  bool linear_address(SegmentIndex segment, std::uint64_t offset, unsigned bytes, Intent intent, std::uint64_t& linear);
  bool within_segment(const Segment& segment, std::uint64_t offset, unsigned bytes, Intent intent) const;
  bool locate_linear(std::uint64_t linear, unsigned bytes, Intent intent, Actor actor, Location& location);
  bool page(std::uint64_t linear, Intent intent, Actor actor, std::uint64_t& physical);
  void read_piece(std::uint64_t physical, std::byte* to, std::size_t bytes);
  void write_piece(std::uint64_t physical, const std::byte* from, std::size_t bytes);

  CpuState& state_;
  Cpu& cpu_;
  IoHandler& io_;
  const unsigned physical_address_bits_;
  Fault fault_{};
  std::array<Cached, 2> cached_{};  // the page last read and last written: string instructions stay in theirs
};

}  // namespace trivet::mshv::emulator
