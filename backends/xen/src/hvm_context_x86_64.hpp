// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Xen's HVM context: a header, records by type and instance, an end. Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <trivet/core/result.hpp>

#include "abi.hpp"

namespace trivet::xen {

/// The types of records that we look into. Source: xen/arch-x86/hvm/save.h.
enum class RecordType : std::uint16_t {
  end = 0,
  header = 1,
  cpu = 2,
  pic = 3,
  ioapic = 4,
  lapic = 5,
  lapic_registers = 6,
  pci_wires = 7,
  isa_wires = 8,
  pci_links = 9,
  pit = 10,
  rtc = 11,
  hpet = 12,
  pm_timer = 13,
  mtrr = 14,
  xsave = 16,
  tsc_adjust = 19,
  msrs = 20,
};

/// A context, in memory of our own. Unknown records are kept as they are.
class HvmContext {
 public:
  struct Record {
    RecordType type{};
    std::uint16_t instance = 0;  ///< the vCPU, for those that belong to one
    std::vector<std::uint8_t> bytes;
  };

  HvmContext() = default;

  /// `malformed` names what is wrong and where: no header, one that is cut off, a record that is there twice, bytes
  /// after the end.
  static Result<HvmContext> parse(std::span<const std::uint8_t> bytes);

  [[nodiscard]] std::vector<std::uint8_t> serialise() const;

  [[nodiscard]] const std::vector<Record>& records() const noexcept { return records_; }
  [[nodiscard]] const Record* find(RecordType type, std::uint16_t instance) const noexcept;
  /// Replaces one or adds it at the end.
  void put(RecordType type, std::uint16_t instance, std::vector<std::uint8_t> bytes);
  void erase(RecordType type, std::uint16_t instance);

  /// A record as its struct; shorter ones (older Xen) are filled with zeros, longer ones cut. Nothing found: false.
  template <class T>
  bool get(RecordType type, std::uint16_t instance, T& to) const noexcept {
    const auto* record = find(type, instance);
    if (record == nullptr) return false;
    to = T{};
    if (!record->bytes.empty()) std::memcpy(&to, record->bytes.data(), std::min(sizeof to, record->bytes.size()));
    return true;
  }
  template <class T>
  void put(RecordType type, std::uint16_t instance, const T& from) {
    std::vector<std::uint8_t> bytes(sizeof from);
    std::memcpy(bytes.data(), &from, sizeof from);
    put(type, instance, std::move(bytes));
  }

 private:
  std::vector<Record> records_;  // without the end
};

}  // namespace trivet::xen
