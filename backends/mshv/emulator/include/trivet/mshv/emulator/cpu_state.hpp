// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>

#include <trivet/core/registers_x86_64.hpp>

namespace trivet::mshv::emulator {

/// General registers in the processor's own numbering. Source: Intel SDM volume 2, table 2-2.
enum Gp : std::uint8_t { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi };

/// Segment registers in the processor's own numbering. Source: Intel SDM volume 2, table 2-2.
enum SegmentIndex : std::uint8_t { es, cs, ss, ds, fs, gs };

/// What an instruction can read and change of a vCPU, but for its XMM registers, which `Cpu` fetches when wanted. A
/// value.
struct CpuState {
  std::array<std::uint64_t, 16> gp{};  ///< by `Gp`, then r8-r15
  std::uint64_t rip = 0;
  std::uint64_t rflags = 2;
  std::array<Segment, 6> segments{};  ///< by `SegmentIndex`
  Segment tr;                         ///< for the I/O permission bitmap
  Segment ldt;                        ///< for MOV to a segment register
  DescriptorTable gdt;                ///< the same
  std::uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, efer = 0;
  std::uint64_t dr6 = 0xffff0ff0;  ///< a single-step trap sets BS
  std::uint32_t pkru = 0;          ///< only looked at where CR4.PKE is set
};

}  // namespace trivet::mshv::emulator
