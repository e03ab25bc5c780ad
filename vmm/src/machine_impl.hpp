// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include <trivet/core/hypervisor.hpp>
#include <trivet/vmm/acpi_fixed_hardware.hpp>
#include <trivet/vmm/acpi_registers.hpp>
#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/debug_port.hpp>
#include <trivet/vmm/event_loop.hpp>
#include <trivet/vmm/fw_cfg.hpp>
#include <trivet/vmm/i8042.hpp>
#include <trivet/vmm/ioapic.hpp>
#include <trivet/vmm/machine.hpp>
#include <trivet/vmm/panic_port.hpp>
#include <trivet/vmm/rtc.hpp>

#include "interval_timer.hpp"
#include "platform_choice.hpp"
#include "run_gate.hpp"
#include "runner_thread.hpp"
#include "serial_console.hpp"
#include "virtio_devices.hpp"

namespace trivet::vmm {

/// The order is the order of life: what stands below uses what stands above and goes first.
struct Machine::Impl final : PowerControl {
  explicit Impl(const Config& wanted) : config(wanted) {}

  void power_off() noexcept override { gate.finish({End::power_off, {}, {}}); }
  void reset() noexcept override { gate.finish({End::reset, {}, {}}); }
  void crash() noexcept override { gate.finish({End::crash, "it reported a crash", {}}); }

  void kick_all() {
    if (!vm) return;
    for (auto* runner : vm->runners()) runner->kicker().kick();
  }

  Config config;
  RunGate gate{[this] { kick_all(); }};
  std::unique_ptr<Hypervisor> hypervisor;
  std::shared_ptr<memory::MemoryMap> memory;
  std::unique_ptr<EventLoop> loop;
  Bus ports{"port", 16};
  Bus addresses{"memory", 64};
  std::unique_ptr<Vm> vm;
  // Where the hypervisor has only local APICs.
  std::unique_ptr<Pic> pic;
  std::unique_ptr<IoApic> ioapic;
  std::unique_ptr<IntervalTimer> interval_timer;
  AcpiRegisters acpi_registers{*this};
  I8042 i8042{*this};
  PanicPort panic_port{*this};
  Rtc rtc;
  std::unique_ptr<SerialConsole> serial;
  // With firmware.
  AcpiFixedHardware acpi_fixed_hardware{*this};
  std::unique_ptr<FwCfg> fw_cfg;
  std::unique_ptr<OutputStream> debug_output;  // where it is wanted
  std::unique_ptr<DebugPort> debug_port;
  PlatformChoice platform;
  std::unique_ptr<PciHost> pci;  // where the devices are on PCI
  std::unique_ptr<VirtioDevices> virtio;
  std::atomic<std::uint64_t> first_run{0};
  std::vector<std::unique_ptr<RunnerThread>> runners;
  bool started = false;
  bool down = false;
};

}  // namespace trivet::vmm
