// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "irqchip_x86_64.hpp"

#include <array>
#include <cstring>
#include <string>
#include <string_view>

#include "ioctl.hpp"
#include "layout_x86_64.hpp"

namespace trivet::kvm {
namespace {

constexpr auto restore_operation = "restore interrupt controllers";
constexpr std::string_view pit_name = "pit";

struct Controller {
  std::string_view name;
  std::uint32_t id;
  std::size_t size;
};
constexpr std::array controllers{Controller{"pic_master", KVM_IRQCHIP_PIC_MASTER, sizeof(kvm_pic_state)},
                                 Controller{"pic_slave", KVM_IRQCHIP_PIC_SLAVE, sizeof(kvm_pic_state)},
                                 Controller{"ioapic", KVM_IRQCHIP_IOAPIC, sizeof(kvm_ioapic_state)}};

const Controller* find(std::string_view name) {
  for (const auto& controller : controllers) {
    if (controller.name == name) return &controller;
  }
  return nullptr;
}

}  // namespace

Result<void> KernelIrqchip::make() const {
  switch (context_.config.irqchip) {
    case IrqchipKind::none:
      return {};
    case IrqchipKind::split:
      // The routes below this number are pins of the VMM's IOAPICs: the kernel tells of the end of their interrupts.
      return enable(context_.vm(), KVM_CAP_SPLIT_IRQCHIP, layout::level_routes, "split irqchip");
    case IrqchipKind::full:
      break;
  }
  TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_CREATE_IRQCHIP, void)));
  if (context_.config.pit) {
    kvm_pit_config pit{};
    pit.flags = KVM_PIT_SPEAKER_DUMMY;  // port 0x61 is the PIT's too: Linux calibrates with it
    TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_CREATE_PIT2, kvm_pit_config), &pit));
  }
  return {};
}

Result<void> KernelIrqchip::ensure() {
  if (made_.load(std::memory_order_acquire)) return {};
  const std::scoped_lock lock(mutex_);
  if (made_.load(std::memory_order_relaxed)) return {};
  TRIVET_TRY(make());
  made_.store(true, std::memory_order_release);
  return {};
}

Result<std::vector<IrqchipState>> KernelIrqchip::save() const {
  std::vector<IrqchipState> states;
  if (kind() != IrqchipKind::full) return states;
  if (!made_.load(std::memory_order_acquire)) {
    return Error(Errc::bad_state, "save interrupt controllers", "the VM has no vCPU yet");
  }
  for (const auto& controller : controllers) {
    kvm_irqchip chip{};
    chip.chip_id = controller.id;
    TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_GET_IRQCHIP, kvm_irqchip), &chip, controller.name));
    IrqchipState state{std::string(controller.name), std::vector<std::uint8_t>(controller.size)};
    std::memcpy(state.registers.data(), &chip.chip, controller.size);
    states.push_back(std::move(state));
  }
  if (context_.config.pit) {
    kvm_pit_state2 pit{};
    TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_GET_PIT2, kvm_pit_state2), &pit));
    IrqchipState state{std::string(pit_name), std::vector<std::uint8_t>(sizeof pit)};
    std::memcpy(state.registers.data(), &pit, sizeof pit);
    states.push_back(std::move(state));
  }
  return states;
}

Result<void> KernelIrqchip::restore(const std::vector<IrqchipState>& states) {
  for (const auto& state : states) {
    const auto* controller = kind() == IrqchipKind::full ? find(state.controller) : nullptr;
    const bool pit = kind() == IrqchipKind::full && context_.config.pit && state.controller == pit_name;
    if (controller == nullptr && !pit) {
      return Error(Errc::malformed, restore_operation, "'" + state.controller + "': this VM has no such controller");
    }
    const auto size = pit ? sizeof(kvm_pit_state2) : controller->size;
    if (state.registers.size() != size) {
      return Error(Errc::malformed, restore_operation,
                   "'" + state.controller + "' has " + std::to_string(state.registers.size()) + " bytes, not " +
                       std::to_string(size));
    }
  }
  TRIVET_TRY(ensure());
  for (const auto& state : states) {
    if (const auto* controller = find(state.controller)) {
      kvm_irqchip chip{};
      chip.chip_id = controller->id;
      std::memcpy(&chip.chip, state.registers.data(), controller->size);
      TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_IRQCHIP, kvm_irqchip), &chip, controller->name));
    } else {
      kvm_pit_state2 pit{};
      std::memcpy(&pit, state.registers.data(), sizeof pit);
      TRIVET_TRY(call(context_.vm(), TRIVET_KVM_REQUEST(KVM_SET_PIT2, kvm_pit_state2), &pit));
    }
  }
  return {};
}

}  // namespace trivet::kvm
