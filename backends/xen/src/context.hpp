// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>

#include <trivet/core/vm.hpp>

#include "domctl.hpp"
#include "handles.hpp"

namespace trivet::xen {

/// What a domain is doing, as far as this process made it.
enum class Phase : std::uint8_t {
  paused,
  running,
  ended,  ///< it shut itself down and the runner told so; its vCPUs stand still
};

/// What the parts of one VM share; fixed once the VM is made, but for the phase.
struct Context {
  const Domctl* domctl;  ///< null for a domain that we only attached to
  DomainId domain;
  Handles handles;  ///< good for this domain only
  VmConfig config;
  unsigned vcpus;
  mutable std::atomic<Phase> phase{Phase::paused};

  [[nodiscard]] bool attached() const noexcept { return domctl == nullptr; }
  [[nodiscard]] bool has_lines() const noexcept { return !attached() && config.irqchip == IrqchipKind::full; }
  [[nodiscard]] xendevicemodel_handle* device_model() const noexcept { return handles.device_model.get(); }
  [[nodiscard]] xenforeignmemory_handle* foreign_memory() const noexcept { return handles.foreign_memory.get(); }
  [[nodiscard]] xenevtchn_handle* event_channels() const noexcept { return handles.event_channels.get(); }
};

/// What a domain is told to shut down with when it triple faults: SHUTDOWN_watchdog, which no guest that we make gives
/// itself, so that it can be told from a reboot.
inline constexpr unsigned triple_fault_reason = SHUTDOWN_watchdog;

}  // namespace trivet::xen
