// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "irqchip_x86_64.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "hvm_context_x86_64.hpp"

namespace trivet::xen {
namespace {

constexpr auto save_operation = "save interrupt controllers";
constexpr auto restore_operation = "restore interrupt controllers";

struct Controller {
  std::string_view name;
  RecordType type;
  std::uint16_t instance;
};
constexpr std::array controllers{
    Controller{"pic_master", RecordType::pic, 0},      Controller{"pic_slave", RecordType::pic, 1},
    Controller{"ioapic", RecordType::ioapic, 0},       Controller{"pit", RecordType::pit, 0},
    Controller{"pci_wires", RecordType::pci_wires, 0}, Controller{"isa_wires", RecordType::isa_wires, 0},
    Controller{"pci_links", RecordType::pci_links, 0}, Controller{"rtc", RecordType::rtc, 0},
    Controller{"hpet", RecordType::hpet, 0},           Controller{"pm_timer", RecordType::pm_timer, 0}};

Result<void> check_paused(const Context& context, const char* operation) {
  if (context.phase != Phase::running) return {};
  return Error(Errc::bad_state, operation, "the VM is running; pause it first");
}

}  // namespace

Result<std::vector<IrqchipState>> DomainIrqchip::save() const {
  std::vector<IrqchipState> states;
  if (kind() != IrqchipKind::full) return states;
  TRIVET_TRY(check_paused(context_, save_operation));
  TRIVET_ASSIGN(const auto bytes, context_.domctl->context(context_.domain));
  TRIVET_ASSIGN(const auto context, HvmContext::parse(bytes));
  for (const auto& controller : controllers) {
    const auto* record = context.find(controller.type, controller.instance);
    if (record != nullptr) states.push_back({std::string(controller.name), record->bytes});
  }
  return states;
}

Result<void> DomainIrqchip::restore(const std::vector<IrqchipState>& states) {
  TRIVET_TRY(check_paused(context_, restore_operation));
  if (kind() != IrqchipKind::full && states.empty()) return {};
  TRIVET_ASSIGN(const auto bytes, context_.domctl->context(context_.domain));
  TRIVET_ASSIGN(const auto whole, HvmContext::parse(bytes));
  HvmContext out;
  for (const auto& record : whole.records()) {
    // A vCPU without its record is taken down.
    const bool keeps =
        record.type == RecordType::header || record.type == RecordType::cpu || record.type == RecordType::xsave;
    if (keeps) out.put(record.type, record.instance, record.bytes);
  }
  for (const auto& state : states) {
    const auto found = std::find_if(controllers.begin(), controllers.end(),
                                    [&](const Controller& one) { return one.name == state.controller; });
    const auto* now =
        found != controllers.end() && kind() == IrqchipKind::full ? whole.find(found->type, found->instance) : nullptr;
    if (now == nullptr) {
      return Error(Errc::malformed, restore_operation, "'" + state.controller + "': this VM has no such controller");
    }
    if (now->bytes.size() != state.registers.size()) {
      return Error(Errc::malformed, restore_operation,
                   "'" + state.controller + "' has " + std::to_string(state.registers.size()) + " bytes, not " +
                       std::to_string(now->bytes.size()));
    }
    out.put(found->type, found->instance, state.registers);
  }
  return context_.domctl->set_context(context_.domain, out.serialise());
}

}  // namespace trivet::xen
