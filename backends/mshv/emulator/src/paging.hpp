// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// From linear to guest physical addresses. Source: Intel SDM volume 3, chapter 4.
#pragma once

#include <cstdint>

#include <trivet/mshv/emulator/cpu.hpp>
#include <trivet/mshv/emulator/cpu_state.hpp>

#include "fault.hpp"

namespace trivet::mshv::emulator {

enum class Intent : std::uint8_t { read, write, fetch };

/// Who wants an access: the program at its privilege, or the processor for itself (descriptor tables, task state).
enum class Actor : std::uint8_t { program, processor };

struct PageWalk {
  const CpuState& state;
  Cpu& cpu;
  unsigned physical_address_bits;
};

inline constexpr std::uint64_t page_mask = 0xfff;

enum class Marking : bool { no, yes };

/// Translates `linear`, checking as the mode says and, if told to, marking entries accessed and dirty. False: `fault`
/// holds the page fault.
[[nodiscard]] bool translate(const PageWalk& walk, std::uint64_t linear, Intent intent, Actor actor, Marking marking,
                             std::uint64_t& physical, Fault& fault);

}  // namespace trivet::mshv::emulator
