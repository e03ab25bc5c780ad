// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>

namespace trivet {

/// The parts of a vCPU's state (P7). The numbers are fixed for ever: snapshots name elements by them.
enum class StateElement : std::uint8_t {
  general_registers = 1,
  system_registers = 2,
  xsave = 3,
  extended_control = 4,
  msrs = 5,
  lapic = 6,
  activity = 7,
  events = 8,
  debug_registers = 9,
  tsc = 10,
  cpuid = 11,
};

[[nodiscard]] std::string_view to_string(StateElement element);
[[nodiscard]] std::span<const StateElement> all_state_elements();

/// A set of elements; a value.
class StateElements {
 public:
  constexpr StateElements() = default;
  constexpr StateElements(std::initializer_list<StateElement> elements) {
    for (const auto element : elements) insert(element);
  }
  [[nodiscard]] static StateElements all();

  constexpr void insert(StateElement element) { bits_ |= bit(element); }
  constexpr void erase(StateElement element) { bits_ &= ~bit(element); }
  [[nodiscard]] constexpr bool contains(StateElement element) const { return (bits_ & bit(element)) != 0; }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  friend constexpr bool operator==(StateElements, StateElements) = default;

 private:
  static constexpr std::uint64_t bit(StateElement element) {
    return std::uint64_t{1} << static_cast<unsigned>(element);
  }
  std::uint64_t bits_ = 0;
};

/// What a backend does with one element.
struct StateSupport {
  bool present = false;     ///< can be saved and restored here
  bool portable = false;    ///< a state taken here restores on another hypervisor
  bool comparable = false;  ///< reading back what was restored gives the same bytes
};

/// A vCPU's state: each element that was asked for and is present.
struct VcpuState {
  std::optional<GeneralRegisters> general_registers;
  std::optional<SystemRegisters> system_registers;
  std::optional<Xsave> xsave;
  std::optional<ExtendedControl> extended_control;
  std::optional<std::vector<MsrValue>> msrs;
  std::optional<LapicRegisters> lapic;
  std::optional<Activity> activity;
  std::optional<PendingEvents> events;
  std::optional<DebugRegisters> debug_registers;
  std::optional<Tsc> tsc;
  std::optional<std::vector<CpuidEntry>> cpuid;

  [[nodiscard]] StateElements elements() const;

  friend bool operator==(const VcpuState&, const VcpuState&) = default;
};

}  // namespace trivet
