// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msrs_x86_64.hpp"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace trivet::xen {
namespace {

/// An MSR that is a field of a record.
struct Field {
  std::uint32_t index;
  RecordType record;
  std::size_t offset;
};

// Source: xen/arch-x86/hvm/save.h; Intel SDM volume 4 and AMD APM volume 2, appendix A, for the numbers.
constexpr std::array fields{
    Field{0x3b, RecordType::tsc_adjust, offsetof(hvm_tsc_adjust, tsc_adjust)},
    Field{0x174, RecordType::cpu, offsetof(hvm_hw_cpu, sysenter_cs)},
    Field{0x175, RecordType::cpu, offsetof(hvm_hw_cpu, sysenter_esp)},
    Field{0x176, RecordType::cpu, offsetof(hvm_hw_cpu, sysenter_eip)},
    Field{0x277, RecordType::mtrr, offsetof(hvm_hw_mtrr, msr_pat_cr)},
    Field{0x2ff, RecordType::mtrr, offsetof(hvm_hw_mtrr, msr_mtrr_def_type)},
    Field{0x6e0, RecordType::lapic, offsetof(hvm_hw_lapic, tdt_msr)},
    Field{0xc0000081, RecordType::cpu, offsetof(hvm_hw_cpu, msr_star)},
    Field{0xc0000082, RecordType::cpu, offsetof(hvm_hw_cpu, msr_lstar)},
    Field{0xc0000083, RecordType::cpu, offsetof(hvm_hw_cpu, msr_cstar)},
    Field{0xc0000084, RecordType::cpu, offsetof(hvm_hw_cpu, msr_syscall_mask)},
    Field{0xc0000102, RecordType::cpu, offsetof(hvm_hw_cpu, shadow_gs)},
    Field{0xc0000103, RecordType::cpu, offsetof(hvm_hw_cpu, msr_tsc_aux)},
};
constexpr std::uint32_t first_variable_mtrr = 0x200;
constexpr std::array<std::uint32_t, NUM_FIXED_MSR> fixed_mtrrs{0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                                               0x26b, 0x26c, 0x26d, 0x26e, 0x26f};
// Elements of their own hold these, segments the bases; the capabilities are the processor's and not written.
constexpr std::array<std::uint32_t, 6> elsewhere{0x10, 0x1b, 0xfe, 0xc0000080, 0xc0000100, 0xc0000101};

std::vector<Field> all_fields() {
  std::vector<Field> all(fields.begin(), fields.end());
  for (std::uint32_t i = 0; i < 2 * MTRR_VCNT; ++i) {
    all.push_back({first_variable_mtrr + i, RecordType::mtrr, offsetof(hvm_hw_mtrr, msr_mtrr_var) + i * 8});
  }
  for (std::size_t i = 0; i < fixed_mtrrs.size(); ++i) {
    all.push_back({fixed_mtrrs[i], RecordType::mtrr, offsetof(hvm_hw_mtrr, msr_mtrr_fixed) + i * 8});
  }
  return all;
}

// The list: a count, 4 bytes of padding, then entries of index, padding, value.
constexpr std::size_t list_header = 8;
constexpr std::size_t list_entry = 16;
// What Xen keeps in the list: it refuses any other. Source: Xen, hvm_save_cpu_msrs.
constexpr std::array<std::uint32_t, 9> listed{0x48,       0x140,      0xd90,      0xda0,     0xc001011f,
                                              0xc0011019, 0xc001101a, 0xc001101b, 0xc0011027};

std::vector<MsrValue> list_of(const HvmContext& context, std::uint16_t instance) {
  std::vector<MsrValue> values;
  const auto* record = context.find(RecordType::msrs, instance);
  if (record == nullptr || record->bytes.size() < list_header) return values;
  std::uint32_t count = 0;
  std::memcpy(&count, record->bytes.data(), sizeof count);
  const auto room = (record->bytes.size() - list_header) / list_entry;
  for (std::size_t i = 0; i < std::min<std::size_t>(count, room); ++i) {
    MsrValue value;
    const auto* entry = record->bytes.data() + list_header + i * list_entry;
    std::memcpy(&value.index, entry, sizeof value.index);
    std::memcpy(&value.value, entry + 8, sizeof value.value);
    values.push_back(value);
  }
  return values;
}

void put_list(HvmContext& out, std::uint16_t instance, std::span<const MsrValue> values) {
  std::vector<std::uint8_t> bytes(list_header + values.size() * list_entry);
  const auto count = static_cast<std::uint32_t>(values.size());
  std::memcpy(bytes.data(), &count, sizeof count);
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto* entry = bytes.data() + list_header + i * list_entry;
    std::memcpy(entry, &values[i].index, sizeof values[i].index);
    std::memcpy(entry + 8, &values[i].value, sizeof values[i].value);
  }
  out.put(RecordType::msrs, instance, std::move(bytes));
}

/// The record in `out`, brought there from `whole`; null where neither has it.
std::vector<std::uint8_t>* record_for(HvmContext& out, const HvmContext& whole, RecordType type, std::uint16_t instance,
                                      std::vector<std::uint8_t>& bytes) {
  const auto* record = out.find(type, instance);
  if (record == nullptr) record = whole.find(type, instance);
  if (record == nullptr) return nullptr;
  bytes = record->bytes;
  return &bytes;
}

Error no_place(const MsrValue& value) {
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "Xen has no place for MSR 0x%" PRIx32 " = 0x%" PRIx64, value.index,
                value.value);
  return Error(Errc::unsupported, "restore MSRs", text.data(), Blame::host);
}

}  // namespace

std::vector<MsrValue> msrs_of(const HvmContext& context, std::uint16_t instance) {
  std::vector<MsrValue> values;
  for (const auto& field : all_fields()) {
    const auto* record = context.find(field.record, instance);
    if (record == nullptr || record->bytes.size() < field.offset + sizeof(std::uint64_t)) continue;
    MsrValue value{field.index, 0};
    std::memcpy(&value.value, record->bytes.data() + field.offset, sizeof value.value);
    values.push_back(value);
  }
  const auto list = list_of(context, instance);
  values.insert(values.end(), list.begin(), list.end());
  return values;
}

Result<void> put_msrs(HvmContext& out, const HvmContext& whole, std::uint16_t instance,
                      std::span<const MsrValue> values) {
  const auto known = all_fields();
  std::vector<MsrValue> list;
  for (const auto& value : values) {
    if (std::find(elsewhere.begin(), elsewhere.end(), value.index) != elsewhere.end()) continue;
    const auto field =
        std::find_if(known.begin(), known.end(), [&](const Field& one) { return one.index == value.index; });
    if (field == known.end()) {
      if (std::find(listed.begin(), listed.end(), value.index) != listed.end()) {
        list.push_back(value);
      } else if (value.value != 0) {
        return no_place(value);
      }
      continue;
    }
    std::vector<std::uint8_t> bytes;
    auto* record = record_for(out, whole, field->record, instance, bytes);
    if (record == nullptr || record->size() < field->offset + sizeof value.value) {
      if (value.value != 0) return no_place(value);
      continue;
    }
    std::memcpy(record->data() + field->offset, &value.value, sizeof value.value);
    out.put(field->record, instance, std::move(bytes));
  }
  if (!list.empty()) put_list(out, instance, list);
  return {};
}

}  // namespace trivet::xen
