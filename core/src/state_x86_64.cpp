// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>

#include <trivet/core/state_x86_64.hpp>

namespace trivet {
namespace {

constexpr std::array elements{StateElement::general_registers,
                              StateElement::system_registers,
                              StateElement::xsave,
                              StateElement::extended_control,
                              StateElement::msrs,
                              StateElement::lapic,
                              StateElement::activity,
                              StateElement::events,
                              StateElement::debug_registers,
                              StateElement::tsc,
                              StateElement::cpuid};

}  // namespace

std::string_view to_string(StateElement element) {
  switch (element) {
    case StateElement::general_registers:
      return "general_registers";
    case StateElement::system_registers:
      return "system_registers";
    case StateElement::xsave:
      return "xsave";
    case StateElement::extended_control:
      return "extended_control";
    case StateElement::msrs:
      return "msrs";
    case StateElement::lapic:
      return "lapic";
    case StateElement::activity:
      return "activity";
    case StateElement::events:
      return "events";
    case StateElement::debug_registers:
      return "debug_registers";
    case StateElement::tsc:
      return "tsc";
    case StateElement::cpuid:
      return "cpuid";
  }
  return "unknown";
}

std::span<const StateElement> all_state_elements() {
  return elements;
}

StateElements StateElements::all() {
  StateElements set;
  for (const auto element : elements) set.insert(element);
  return set;
}

StateElements VcpuState::elements() const {
  StateElements set;
  const auto note = [&set](StateElement element, const auto& part) {
    if (part) set.insert(element);
  };
  note(StateElement::general_registers, general_registers);
  note(StateElement::system_registers, system_registers);
  note(StateElement::xsave, xsave);
  note(StateElement::extended_control, extended_control);
  note(StateElement::msrs, msrs);
  note(StateElement::lapic, lapic);
  note(StateElement::activity, activity);
  note(StateElement::events, events);
  note(StateElement::debug_registers, debug_registers);
  note(StateElement::tsc, tsc);
  note(StateElement::cpuid, cpuid);
  return set;
}

}  // namespace trivet
