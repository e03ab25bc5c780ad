// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

// The hypercalls that the kernel passes through, and the registers and properties they name.
// Source: Hypervisor Top Level Functional Specification; include/hyperv/hvgdk_mini.h and hvhdk.h of Linux.
#include <cstddef>
#include <cstdint>

namespace trivet::mshv::abi {

enum class HypercallCode : std::uint16_t {
  get_partition_property = 0x44,
  set_partition_property = 0x45,
  install_intercept = 0x4d,
  get_vp_registers = 0x50,
  set_vp_registers = 0x51,
  translate_virtual_address = 0x52,
  clear_virtual_interrupt = 0x56,
  register_intercept_result = 0x91,
  assert_virtual_interrupt = 0x94,
  signal_event_direct = 0xc0,
  post_message_direct = 0xc1,
  get_vp_cpuid_values = 0xf4,
};

namespace status {
inline constexpr std::uint16_t success = 0;
inline constexpr std::uint16_t invalid_hypercall_input = 3;
inline constexpr std::uint16_t invalid_parameter = 5;
inline constexpr std::uint16_t access_denied = 6;
inline constexpr std::uint16_t invalid_partition_state = 7;
inline constexpr std::uint16_t operation_denied = 8;
inline constexpr std::uint16_t property_value_out_of_range = 0xa;
inline constexpr std::uint16_t insufficient_memory = 0xb;
inline constexpr std::uint16_t invalid_vp_index = 0xe;
inline constexpr std::uint16_t invalid_register_value = 0x50;
}  // namespace status

struct GetProperty {
  std::uint64_t partition;
  std::uint32_t code;
  std::uint32_t padding;
};
struct SetProperty {
  std::uint64_t partition;
  std::uint32_t code;
  std::uint32_t padding;
  std::uint64_t value;
};
static_assert(sizeof(GetProperty) == 16 && sizeof(SetProperty) == 24);

namespace property {
inline constexpr std::uint32_t synthetic_processor_features = 0x10001;
inline constexpr std::uint32_t time_freeze = 0x30003;
inline constexpr std::uint32_t reference_time = 0x30005;  ///< in 100 ns
inline constexpr std::uint32_t processors_per_socket = 0x50003;
inline constexpr std::uint32_t page_access_tracking = 0x50005;
inline constexpr std::uint32_t unimplemented_msr_action = 0x50017;
inline constexpr std::uint32_t physical_address_width = 0x60006;
inline constexpr std::uint32_t xsave_states = 0x60007;
inline constexpr std::uint32_t max_xsave_size = 0x60008;
inline constexpr std::uint32_t processor_features0 = 0x6000a;
inline constexpr std::uint32_t processor_features1 = 0x6000b;
}  // namespace property
inline constexpr std::uint64_t msr_action_fault = 0;
inline constexpr std::uint64_t msr_action_ignore = 1;

/// 128 bits, as most registers need fewer.
struct RegisterValue {
  std::uint64_t low;
  std::uint64_t high;
};
static_assert(sizeof(RegisterValue) == 16);

struct SegmentRegister {
  std::uint64_t base;
  std::uint32_t limit;
  std::uint16_t selector;
  std::uint16_t attributes;  ///< type 4, S, DPL 2, P, 4 zero, AVL, L, D/B, G
};
static_assert(sizeof(SegmentRegister) == 16 && offsetof(SegmentRegister, attributes) == 14);

struct TableRegister {
  std::uint16_t padding[3];
  std::uint16_t limit;
  std::uint64_t base;
};
static_assert(sizeof(TableRegister) == 16 && offsetof(TableRegister, limit) == 6);

/// GET_VP_REGISTERS; names follow, 4 bytes each. The output is a RegisterValue for each.
/// SET_VP_REGISTERS; RegisterAssignments follow.
struct VpRegisters {
  std::uint64_t partition;
  std::uint32_t vp;
  std::uint8_t vtl;
  std::uint8_t reserved[3];
};
static_assert(sizeof(VpRegisters) == 16);
struct RegisterAssignment {
  std::uint32_t name;
  std::uint32_t reserved1;
  std::uint64_t reserved2;
  RegisterValue value;
};
static_assert(sizeof(RegisterAssignment) == 32 && offsetof(RegisterAssignment, value) == 16);

namespace reg {
inline constexpr std::uint32_t explicit_suspend = 0x0;
inline constexpr std::uint32_t intercept_suspend = 0x1;
inline constexpr std::uint32_t activity = 0x4;  ///< bit 0 waits for a startup IPI, 1 halted, 2 idle
inline constexpr std::uint32_t pending_interruption = 0x10002;
inline constexpr std::uint32_t interrupt_state = 0x10003;  ///< bit 0 shadow, 1 NMIs masked
inline constexpr std::uint32_t pending_event0 = 0x10004;
inline constexpr std::uint32_t deliverability_notifications = 0x10006;
inline constexpr std::uint32_t rax = 0x20000;  ///< then rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8-r15
inline constexpr std::uint32_t rip = 0x20010;
inline constexpr std::uint32_t rflags = 0x20011;
inline constexpr std::uint32_t xmm0 = 0x30000;
inline constexpr std::uint32_t mmx0 = 0x30010;
inline constexpr std::uint32_t fp_control_status = 0x30018;
inline constexpr std::uint32_t xmm_control_status = 0x30019;
inline constexpr std::uint32_t cr0 = 0x40000;
inline constexpr std::uint32_t cr2 = 0x40001;
inline constexpr std::uint32_t cr3 = 0x40002;
inline constexpr std::uint32_t cr4 = 0x40003;
inline constexpr std::uint32_t cr8 = 0x40004;
inline constexpr std::uint32_t xfem = 0x40005;
inline constexpr std::uint32_t dr0 = 0x50000;
inline constexpr std::uint32_t dr6 = 0x50004;
inline constexpr std::uint32_t dr7 = 0x50005;
inline constexpr std::uint32_t es = 0x60000;  ///< then cs, ss, ds, fs, gs
inline constexpr std::uint32_t cs = 0x60001;
inline constexpr std::uint32_t ldtr = 0x60006;
inline constexpr std::uint32_t tr = 0x60007;
inline constexpr std::uint32_t idtr = 0x70000;
inline constexpr std::uint32_t gdtr = 0x70001;
inline constexpr std::uint32_t tsc = 0x80000;
inline constexpr std::uint32_t efer = 0x80001;
inline constexpr std::uint32_t kernel_gs_base = 0x80002;
inline constexpr std::uint32_t apic_base = 0x80003;
inline constexpr std::uint32_t pat = 0x80004;
inline constexpr std::uint32_t sysenter_cs = 0x80005;
inline constexpr std::uint32_t sysenter_eip = 0x80006;
inline constexpr std::uint32_t sysenter_esp = 0x80007;
inline constexpr std::uint32_t star = 0x80008;
inline constexpr std::uint32_t lstar = 0x80009;
inline constexpr std::uint32_t cstar = 0x8000a;
inline constexpr std::uint32_t sfmask = 0x8000b;
inline constexpr std::uint32_t mtrr_cap = 0x8000d;
inline constexpr std::uint32_t mtrr_def_type = 0x8000e;
inline constexpr std::uint32_t mtrr_phys_base0 = 0x80010;
inline constexpr std::uint32_t mtrr_phys_mask0 = 0x80040;
inline constexpr std::uint32_t mtrr_fix64k = 0x80070;  ///< then the two of 16 KiB and the eight of 4 KiB
inline constexpr std::uint32_t tsc_aux = 0x8007b;
inline constexpr std::uint32_t spec_ctrl = 0x80084;
inline constexpr std::uint32_t tsc_deadline = 0x80095;
inline constexpr std::uint32_t tsc_adjust = 0x80096;
}  // namespace reg

/// PENDING_INTERRUPTION: bit 0 pending, 1-3 type, 4 error code, 5-8 instruction length, 16-31 vector, 32-63 the code.
namespace interruption {
inline constexpr unsigned type_shift = 1, length_shift = 5, vector_shift = 16, error_shift = 32;
inline constexpr std::uint64_t pending = 1U << 0;
inline constexpr std::uint64_t has_error_code = 1U << 4;
inline constexpr std::uint64_t external = 0, nmi = 2, exception = 3, software = 4;
}  // namespace interruption

/// PENDING_EVENT0, low half: bit 0 pending, 1-3 type. An exception (0): 8 error code, 16-31 vector, 32-63 the code;
/// high half: the parameter (CR2 or DR6). An external interrupt (5): 8-15 vector.
namespace event {
inline constexpr unsigned vector_shift = 16, error_shift = 32;
inline constexpr std::uint64_t pending = 1U << 0;
inline constexpr std::uint64_t type_mask = 7U << 1;
inline constexpr std::uint64_t external_interrupt = 5U << 1;
inline constexpr unsigned external_vector_shift = 8;
inline constexpr std::uint64_t has_error_code = 1U << 8;
}  // namespace event

/// DELIVERABILITY_NOTIFICATIONS: one INTERRUPTION_DELIVERABLE message when an interrupt can be taken.
namespace deliverability {
inline constexpr std::uint64_t nmi = 1U << 0, interrupt = 1U << 1;
}  // namespace deliverability

namespace activity_bit {
inline constexpr std::uint64_t startup = 1U << 0;
inline constexpr std::uint64_t halt = 1U << 1;
inline constexpr std::uint64_t idle = 1U << 2;
}  // namespace activity_bit

struct InstallIntercept {
  std::uint64_t partition;
  std::uint32_t access;  ///< 1 read, 2 write, 4 execute; 0 takes it away
  std::uint32_t type;
  std::uint64_t parameter;
};
static_assert(sizeof(InstallIntercept) == 24);
inline constexpr std::uint32_t intercept_cpuid = 2;
inline constexpr std::uint32_t intercept_exception = 3;
inline constexpr std::uint32_t intercept_msr_index = 0xc;

/// REGISTER_INTERCEPT_RESULT for CPUID. A result bit is changed where its mask bit is set.
struct CpuidResult {
  std::uint64_t partition;
  std::uint32_t vp;
  std::uint32_t intercept_type;
  std::uint32_t leaf;
  std::uint32_t subleaf;
  std::uint8_t subleaf_specific;
  std::uint8_t always_override;
  std::uint16_t padding;
  std::uint32_t eax, eax_mask, ebx, ebx_mask, ecx, ecx_mask, edx, edx_mask;
};
static_assert(sizeof(CpuidResult) == 64 && offsetof(CpuidResult, eax) == 28 && offsetof(CpuidResult, edx_mask) == 56);
/// Of the hypercall's input, which is packed.
inline constexpr std::size_t cpuid_result_size = 60;

struct AssertInterrupt {
  std::uint64_t partition;
  std::uint32_t type;
  std::uint32_t flags;  ///< bit 0 level, bit 1 logical destination
  std::uint64_t destination;
  std::uint32_t vector;
  std::uint8_t vtl;
  std::uint8_t reserved0;
  std::uint16_t reserved1;
};
static_assert(sizeof(AssertInterrupt) == 32);
namespace interrupt_type {
inline constexpr std::uint32_t fixed = 0, lowest_priority = 1, smi = 2, nmi = 4, init = 5, sipi = 6, external = 7;
}  // namespace interrupt_type

struct CpuidLeaf {
  std::uint32_t eax;
  std::uint32_t ecx;
  std::uint64_t xfem;
  std::uint64_t xss;
};
/// GET_VP_CPUID_VALUES; CpuidLeafs follow. The output is four words for each.
struct CpuidValues {
  std::uint64_t partition;
  std::uint32_t vp;
  std::uint32_t flags;  ///< bit 0 with the processor's own XFEM and XSS, bit 1 with registered results
  std::uint32_t reserved;
  std::uint32_t padding;
};
static_assert(sizeof(CpuidLeaf) == 24 && sizeof(CpuidValues) == 24);
inline constexpr std::uint32_t cpuid_own_xfem = 1, cpuid_registered = 2;

struct TranslateAddress {
  std::uint64_t partition;
  std::uint32_t vp;
  std::uint32_t padding;
  std::uint64_t flags;  ///< 1 read, 2 write, 4 execute, 8 without privilege checks
  std::uint64_t page;
};
struct TranslateResult {
  std::uint32_t code;  ///< 0 success, 1 not present, 2 privilege, 4 no memory there
  std::uint32_t attributes;
  std::uint64_t page;
};
static_assert(sizeof(TranslateAddress) == 32 && sizeof(TranslateResult) == 16);

/// VP_STATE_LAPIC: the local APIC's registers, not at their addresses. The task priority is CR8.
struct LapicState {
  std::uint32_t id, version, ldr, dfr, spurious;
  std::uint32_t isr[8], tmr[8], irr[8];
  std::uint32_t esr, icr_high, icr_low;
  std::uint32_t lvt_timer, lvt_thermal, lvt_perfmon, lvt_lint0, lvt_lint1, lvt_error, lvt_cmci;
  std::uint32_t error_status, initial_count, counter_value, divide_configuration, remote_read;
};
static_assert(sizeof(LapicState) == 4 * (5 + 24 + 3 + 7 + 5) && offsetof(LapicState, lvt_timer) == 128);

}  // namespace trivet::mshv::abi
