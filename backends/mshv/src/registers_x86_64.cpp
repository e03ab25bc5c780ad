// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "registers_x86_64.hpp"

#include <bit>

namespace trivet::mshv {
namespace {

namespace reg = abi::reg;
namespace interruption = abi::interruption;
namespace event = abi::event;

constexpr std::uint8_t shadow_of_sti = 2;

}  // namespace

Segment from_hypervisor(const abi::SegmentRegister& from) {
  const auto bits = from.attributes;
  Segment to;
  to.base = from.base;
  to.limit = from.limit;
  to.selector = from.selector;
  to.type = bits & 0xf;
  to.code_or_data = (bits & 1U << 4) != 0;
  to.privilege = bits >> 5 & 3;
  to.present = (bits & 1U << 7) != 0;
  to.available = (bits & 1U << 12) != 0;
  to.long_mode = (bits & 1U << 13) != 0;
  to.default_big = (bits & 1U << 14) != 0;
  to.granularity = (bits & 1U << 15) != 0;
  to.unusable = !to.present;  // there is no other way to say it
  return to;
}

abi::SegmentRegister to_hypervisor(const Segment& from) {
  const bool present = from.present && !from.unusable;
  const unsigned bits = (from.type & 0xfU) | (from.code_or_data ? 1U << 4 : 0) | (from.privilege & 3U) << 5 |
                        (present ? 1U << 7 : 0) | (from.available ? 1U << 12 : 0) | (from.long_mode ? 1U << 13 : 0) |
                        (from.default_big ? 1U << 14 : 0) | (from.granularity ? 1U << 15 : 0);
  return {from.base, from.limit, from.selector, static_cast<std::uint16_t>(bits)};
}

Segment segment_of(const abi::RegisterValue& value) {
  return from_hypervisor(std::bit_cast<abi::SegmentRegister>(value));
}
abi::RegisterValue value_of(const Segment& segment) {
  return std::bit_cast<abi::RegisterValue>(to_hypervisor(segment));
}
DescriptorTable table_of(const abi::RegisterValue& value) {
  const auto table = std::bit_cast<abi::TableRegister>(value);
  return {table.base, table.limit};
}
abi::RegisterValue value_of(const DescriptorTable& table) {
  return std::bit_cast<abi::RegisterValue>(abi::TableRegister{{}, table.limit, table.base});
}

std::array<std::uint32_t, general_count> general_names() {
  std::array<std::uint32_t, general_count> names{};
  for (std::uint32_t i = 0; i < general_count; ++i) names[i] = reg::rax + i;
  static_assert(reg::rip == reg::rax + 16 && reg::rflags == reg::rax + 17);
  return names;
}

GeneralRegisters general_from(std::span<const abi::RegisterValue, general_count> v) {
  GeneralRegisters to;
  to.rax = v[0].low, to.rcx = v[1].low, to.rdx = v[2].low, to.rbx = v[3].low;
  to.rsp = v[4].low, to.rbp = v[5].low, to.rsi = v[6].low, to.rdi = v[7].low;
  to.r8 = v[8].low, to.r9 = v[9].low, to.r10 = v[10].low, to.r11 = v[11].low;
  to.r12 = v[12].low, to.r13 = v[13].low, to.r14 = v[14].low, to.r15 = v[15].low;
  to.rip = v[16].low, to.rflags = v[17].low;
  return to;
}

std::array<std::uint64_t, general_count> general_values(const GeneralRegisters& f) {
  return {f.rax, f.rcx, f.rdx, f.rbx, f.rsp, f.rbp, f.rsi, f.rdi, f.r8,
          f.r9,  f.r10, f.r11, f.r12, f.r13, f.r14, f.r15, f.rip, f.rflags};
}

std::array<std::uint32_t, system_count> system_names() {
  return {reg::es,   reg::cs,  reg::es + 2, reg::es + 3, reg::es + 4, reg::es + 5, reg::ldtr, reg::tr,       reg::idtr,
          reg::gdtr, reg::cr0, reg::cr2,    reg::cr3,    reg::cr4,    reg::cr8,    reg::efer, reg::apic_base};
}

SystemRegisters system_from(std::span<const abi::RegisterValue, system_count> v) {
  SystemRegisters to;
  to.es = segment_of(v[0]), to.cs = segment_of(v[1]), to.ss = segment_of(v[2]), to.ds = segment_of(v[3]);
  to.fs = segment_of(v[4]), to.gs = segment_of(v[5]), to.ldt = segment_of(v[6]), to.tr = segment_of(v[7]);
  to.idt = table_of(v[8]), to.gdt = table_of(v[9]);
  to.cr0 = v[10].low, to.cr2 = v[11].low, to.cr3 = v[12].low, to.cr4 = v[13].low, to.cr8 = v[14].low;
  to.efer = v[15].low, to.apic_base = v[16].low;
  return to;
}

std::array<abi::RegisterValue, system_count> system_values(const SystemRegisters& from) {
  return {value_of(from.es), value_of(from.cs),  value_of(from.ss), value_of(from.ds),  value_of(from.fs),
          value_of(from.gs), value_of(from.ldt), value_of(from.tr), value_of(from.idt), value_of(from.gdt),
          {from.cr0, 0},     {from.cr2, 0},      {from.cr3, 0},     {from.cr4, 0},      {from.cr8, 0},
          {from.efer, 0},    {from.apic_base, 0}};
}

PendingEvents events_from(std::span<const abi::RegisterValue, 3> values) {
  PendingEvents to;
  const auto now = values[0].low, state = values[1].low, next = values[2].low;
  if ((now & interruption::pending) != 0) {
    const auto type = now >> interruption::type_shift & 7;
    const auto vector = static_cast<std::uint8_t>(now >> interruption::vector_shift);
    switch (type) {
      case interruption::external:
      case interruption::software:
        to.interrupt_injected = true;
        to.interrupt_soft = type == interruption::software;
        to.interrupt_vector = vector;
        break;
      case interruption::nmi:
        to.nmi_injected = true;
        break;
      default:
        to.exception_injected = true;
        to.exception_vector = vector;
        to.exception_has_error_code = (now & interruption::has_error_code) != 0;
        to.exception_error_code = static_cast<std::uint32_t>(now >> interruption::error_shift);
        break;
    }
  }
  if ((next & event::pending) != 0 && (next & event::type_mask) == 0 && !to.exception_injected) {
    to.exception_pending = true;
    to.exception_vector = static_cast<std::uint8_t>(next >> event::vector_shift);
    to.exception_has_error_code = (next & event::has_error_code) != 0;
    to.exception_error_code = static_cast<std::uint32_t>(next >> event::error_shift);
    to.exception_has_payload = values[2].high != 0;
    to.exception_payload = values[2].high;
  }
  if ((next & (event::pending | event::type_mask)) == (event::pending | event::external_interrupt) &&
      !to.interrupt_injected) {
    to.interrupt_injected = true;
    to.interrupt_vector = static_cast<std::uint8_t>(next >> event::external_vector_shift);
  }
  to.interrupt_shadow = (state & 1) != 0 ? shadow_of_sti : std::uint8_t{0};
  to.nmi_masked = (state & 2) != 0;
  return to;
}

std::uint64_t interruption_of(const Exception& exception) {
  std::uint64_t value = interruption::pending | interruption::exception << interruption::type_shift |
                        std::uint64_t{exception.vector} << interruption::vector_shift;
  if (exception.has_error_code) {
    value |= interruption::has_error_code | std::uint64_t{exception.error_code} << interruption::error_shift;
  }
  return value;
}

std::array<abi::RegisterValue, 3> event_values(const PendingEvents& from) {
  std::array<abi::RegisterValue, 3> values{};
  const Exception exception{from.exception_vector, from.exception_has_error_code, from.exception_error_code};
  if (from.exception_injected) {
    values[0].low = interruption_of(exception);
  } else if (from.nmi_injected) {
    values[0].low =
        interruption::pending | interruption::nmi << interruption::type_shift | 2ULL << interruption::vector_shift;
  } else if (from.interrupt_injected) {
    const auto type = from.interrupt_soft ? interruption::software : interruption::external;
    values[0].low = interruption::pending | type << interruption::type_shift |
                    std::uint64_t{from.interrupt_vector} << interruption::vector_shift;
  }
  values[1].low = (from.interrupt_shadow != 0 ? 1U : 0U) | (from.nmi_masked ? 2U : 0U);
  if (from.exception_pending) {
    values[2].low = event::pending | std::uint64_t{from.exception_vector} << event::vector_shift;
    if (from.exception_has_error_code)
      values[2].low |= event::has_error_code | std::uint64_t{from.exception_error_code} << event::error_shift;
    if (from.exception_has_payload) values[2].high = from.exception_payload;
  }
  return values;
}

}  // namespace trivet::mshv
