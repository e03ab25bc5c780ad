// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

// What RUN_VP says, and the register page. Source: include/hyperv/hvhdk.h of Linux; TLFS, "Intercepts".
#include <cstddef>
#include <cstdint>

#include "abi.hpp"

namespace trivet::mshv::abi {

enum class MessageType : std::uint32_t {
  none = 0,
  unmapped_gpa = 0x8000'0000,
  gpa_intercept = 0x8000'0001,
  invalid_vp_register = 0x8000'0020,
  unrecoverable_exception = 0x8000'0021,
  hypercall = 0x8000'0050,
  io_port = 0x8001'0000,
  msr = 0x8001'0001,
  cpuid = 0x8001'0002,
  exception = 0x8001'0003,
  apic_eoi = 0x8001'0004,
  halt = 0x8001'0007,
  interruption_deliverable = 0x8001'0008,
  sipi = 0x8001'0009,
};

struct InterceptHeader {
  std::uint32_t vp_index;
  std::uint8_t length_and_cr8;  ///< instruction length in the low four bits
  std::uint8_t access;          ///< 0 read, 1 write, 2 execute
  std::uint16_t execution_state;
  SegmentRegister cs;
  std::uint64_t rip;
  std::uint64_t rflags;
};
static_assert(sizeof(InterceptHeader) == 40 && offsetof(InterceptHeader, access) == 5 &&
              offsetof(InterceptHeader, cs) == 8 && offsetof(InterceptHeader, rip) == 24);
inline constexpr std::uint8_t access_read = 0, access_write = 1, access_execute = 2;
namespace execution {
inline constexpr std::uint16_t cpl_mask = 3, cr0_pe = 1U << 2, cr0_am = 1U << 3, efer_lma = 1U << 4,
                               debug_active = 1U << 5, interruption_pending = 1U << 6, interrupt_shadow = 1U << 12;
}  // namespace execution

struct IoPortMessage {
  InterceptHeader header;
  std::uint16_t port;
  std::uint8_t access_info;  ///< size in the low three bits, bit 3 string, bit 4 repeated
  std::uint8_t byte_count;
  std::uint32_t reserved;
  std::uint64_t rax;
  std::uint8_t bytes[16];
  SegmentRegister ds, es;
  std::uint64_t rcx, rsi, rdi;
};
static_assert(sizeof(IoPortMessage) == 128 && offsetof(IoPortMessage, port) == 40 &&
              offsetof(IoPortMessage, byte_count) == 43 && offsetof(IoPortMessage, rax) == 48 &&
              offsetof(IoPortMessage, bytes) == 56 && offsetof(IoPortMessage, ds) == 72 &&
              offsetof(IoPortMessage, rcx) == 104 && offsetof(IoPortMessage, rdi) == 120);
inline constexpr std::uint8_t io_size_mask = 7, io_string = 1U << 3, io_repeated = 1U << 4;

struct MemoryMessage {
  InterceptHeader header;
  std::uint32_t cache_type;
  std::uint8_t byte_count;
  std::uint8_t access_info;  ///< bit 0 gva is valid, bit 1 gva leads to gpa
  std::uint8_t task_priority;
  std::uint8_t reserved;
  std::uint64_t gva;
  std::uint64_t gpa;
  std::uint8_t bytes[16];
};
static_assert(sizeof(MemoryMessage) == 80 && offsetof(MemoryMessage, byte_count) == 44 &&
              offsetof(MemoryMessage, gva) == 48 && offsetof(MemoryMessage, bytes) == 64);
inline constexpr std::uint8_t gva_valid = 1U << 0, gva_gpa_valid = 1U << 1;

struct MsrMessage {
  InterceptHeader header;
  std::uint32_t number;
  std::uint32_t reserved;
  std::uint64_t rdx, rax;
};
static_assert(sizeof(MsrMessage) == 64);

struct CpuidMessage {
  InterceptHeader header;
  std::uint64_t rax, rcx, rdx, rbx;
  std::uint64_t default_rax, default_rcx, default_rdx, default_rbx;
};
static_assert(sizeof(CpuidMessage) == 104);

struct ExceptionMessage {
  InterceptHeader header;
  std::uint16_t vector;
  std::uint8_t info;  ///< bit 0 with error code, bit 1 by software
  std::uint8_t byte_count;
  std::uint32_t error_code;
  std::uint64_t parameter;
  std::uint64_t reserved;
  std::uint8_t bytes[16];
  SegmentRegister ds, ss;
  std::uint64_t gp[16];
};
static_assert(sizeof(ExceptionMessage) == 240 && offsetof(ExceptionMessage, gp) == 112);

struct DeliverableMessage {
  InterceptHeader header;
  std::uint32_t type;  ///< as PENDING_INTERRUPTION's: 0 external interrupt, 2 NMI
  std::uint32_t reserved;
};
static_assert(sizeof(DeliverableMessage) == 48 && offsetof(DeliverableMessage, type) == 40);

struct EoiMessage {
  std::uint32_t vp_index;
  std::uint32_t vector;
};
struct InvalidRegisterMessage {
  std::uint32_t vp_index;
  std::uint32_t reserved;
};
static_assert(sizeof(EoiMessage) == 8 && sizeof(InvalidRegisterMessage) == 8);

/// Shared with the hypervisor while `valid`: what changed is marked in `dirty`. Control registers are only shown.
struct RegisterPage {
  std::uint16_t version;
  std::uint8_t valid;
  std::uint8_t reserved0;
  std::uint32_t dirty;
  std::uint64_t gp[16];  ///< rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8-r15
  std::uint64_t rip;
  std::uint64_t rflags;
  std::uint64_t reserved1;
  RegisterValue xmm[6];
  SegmentRegister segments[6];  ///< es, cs, ss, ds, fs, gs
  std::uint64_t cr0, cr3, cr4, cr8, efer, dr7;
  std::uint64_t pending_interruption;
  std::uint64_t interrupt_state;
  std::uint64_t emulation_hints;
  std::uint64_t xfem;
  std::uint8_t reserved2[256];
  std::uint64_t interrupt_vectors;
};
static_assert(sizeof(RegisterPage) == 696 && offsetof(RegisterPage, dirty) == 4 && offsetof(RegisterPage, gp) == 8 &&
              offsetof(RegisterPage, rip) == 136 && offsetof(RegisterPage, xmm) == 160 &&
              offsetof(RegisterPage, segments) == 256 && offsetof(RegisterPage, cr0) == 352 &&
              offsetof(RegisterPage, efer) == 384 && offsetof(RegisterPage, pending_interruption) == 400 &&
              offsetof(RegisterPage, xfem) == 424 && offsetof(RegisterPage, interrupt_vectors) == 688);
inline constexpr std::uint16_t register_page_version = 1;
inline constexpr std::uint32_t dirty_gp = 1U << 0, dirty_ip = 1U << 1, dirty_xmm = 1U << 2, dirty_segments = 1U << 3,
                               dirty_flags = 1U << 4;

}  // namespace trivet::mshv::abi
