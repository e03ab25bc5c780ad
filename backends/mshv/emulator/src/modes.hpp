// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Bits of the control registers and flags, and what they say together. Source: Intel SDM volume 3, 2.2, 2.3 and 2.5.
#pragma once

#include <cstdint>

#include <trivet/mshv/emulator/cpu_state.hpp>

#include "decode.hpp"

namespace trivet::mshv::emulator {

inline constexpr std::uint64_t flag_carry = 1ULL << 0;
inline constexpr std::uint64_t flag_parity = 1ULL << 2;
inline constexpr std::uint64_t flag_adjust = 1ULL << 4;
inline constexpr std::uint64_t flag_zero = 1ULL << 6;
inline constexpr std::uint64_t flag_sign = 1ULL << 7;
inline constexpr std::uint64_t flag_trap = 1ULL << 8;
inline constexpr std::uint64_t flag_direction = 1ULL << 10;
inline constexpr std::uint64_t flag_overflow = 1ULL << 11;
inline constexpr std::uint64_t flag_resume = 1ULL << 16;
inline constexpr std::uint64_t flag_vm86 = 1ULL << 17;
inline constexpr std::uint64_t flag_alignment = 1ULL << 18;
inline constexpr std::uint64_t status_flags =
    flag_carry | flag_parity | flag_adjust | flag_zero | flag_sign | flag_overflow;

inline constexpr std::uint64_t cr0_protection = 1ULL << 0;
inline constexpr std::uint64_t cr0_emulation = 1ULL << 2;
inline constexpr std::uint64_t cr0_task_switched = 1ULL << 3;
inline constexpr std::uint64_t cr0_write_protect = 1ULL << 16;
inline constexpr std::uint64_t cr0_alignment_mask = 1ULL << 18;
inline constexpr std::uint64_t cr0_paging = 1ULL << 31;

inline constexpr std::uint64_t cr4_page_size = 1ULL << 4;
inline constexpr std::uint64_t cr4_pae = 1ULL << 5;
inline constexpr std::uint64_t cr4_osfxsr = 1ULL << 9;
inline constexpr std::uint64_t cr4_la57 = 1ULL << 12;
inline constexpr std::uint64_t cr4_smep = 1ULL << 20;
inline constexpr std::uint64_t cr4_smap = 1ULL << 21;
inline constexpr std::uint64_t cr4_pke = 1ULL << 22;

inline constexpr std::uint64_t efer_long_mode_active = 1ULL << 10;
inline constexpr std::uint64_t efer_no_execute = 1ULL << 11;

[[nodiscard]] inline bool is_vm86(const CpuState& state) {
  return (state.rflags & flag_vm86) != 0;
}

/// Protection by descriptors: not in real mode, and not in virtual-8086 mode.
[[nodiscard]] inline bool is_protected(const CpuState& state) {
  return (state.cr0 & cr0_protection) != 0 && !is_vm86(state);
}

[[nodiscard]] inline bool is_long_mode(const CpuState& state) {
  return (state.efer & efer_long_mode_active) != 0;
}

[[nodiscard]] inline bool is_64bit(const CpuState& state) {
  return is_long_mode(state) && state.segments[cs].long_mode;
}

[[nodiscard]] inline CodeSize code_size(const CpuState& state) {
  if (is_64bit(state)) return CodeSize::bits64;
  return state.segments[cs].default_big ? CodeSize::bits32 : CodeSize::bits16;
}

[[nodiscard]] inline unsigned privilege(const CpuState& state) {
  if ((state.cr0 & cr0_protection) == 0) return 0;
  return is_vm86(state) ? 3 : state.segments[ss].privilege;
}

[[nodiscard]] inline unsigned io_privilege(const CpuState& state) {
  return static_cast<unsigned>(state.rflags >> 12) & 3;
}

[[nodiscard]] inline std::uint8_t stack_address_bytes(const CpuState& state) {
  if (is_64bit(state)) return 8;
  return state.segments[ss].default_big ? 4 : 2;
}

}  // namespace trivet::mshv::emulator
