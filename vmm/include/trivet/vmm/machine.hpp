// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/backend_registry.hpp>
#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/vm.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/virtio/balloon.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/vmm/config.hpp>
#include <trivet/vmm/outcome.hpp>

namespace trivet::vmm {

/// What a machine cost so far.
struct MachineStats {
  std::uint64_t first_run_ns = 0;  ///< CLOCK_MONOTONIC just before the first `Runner::run`; 0: not yet
  std::uint64_t runs = 0;          ///< returns of `Runner::run`
  std::uint64_t exits = 0;         ///< those, and every port and memory access
  std::uint64_t unclaimed = 0;     ///< accesses that no device claimed
  std::uint64_t resident_kib = 0;  ///< of this process, without the guest's memory
};

/// A virtio device of the program's own.
struct OwnDevice {
  std::string name;  ///< for logs and errors
  /// Called once, by `Machine::create`, which gives its errors with the name.
  std::function<Result<std::unique_ptr<virtio::Device>>()> make{};
};

/// What the machine needs of its program.
struct MachineOptions {
  ConstBytes builtin_guest;          ///< an ELF to boot where the configuration names no kernel; outlives the machine
  bool terminal_escape = false;      ///< Ctrl-A x on the serial port's input stops the machine
  std::vector<OwnDevice> devices{};  ///< behind those of the configuration
};

/// A whole machine: the root that owns the VM, its memory, its buses and devices, the I/O thread and one thread a
/// runner.
///
/// Thread rule: `create`, `start`, `wait` and destruction from one thread; `pause` and `resume` from any but the
/// machine's own, one at a time; `stop`, `follow_terminals` and `stats` from any.
class Machine {
 public:
  /// Builds everything, runs nothing. Errors name the option, file or device they are about; those of `validate`,
  /// `BackendRegistry::select`, the backend, the loader and the devices.
  static Result<std::unique_ptr<Machine>> create(const Config& config, const BackendRegistry& registry,
                                                 const MachineOptions& options);
  /// Stops, and waits.
  ~Machine();

  /// Lets the guest run. `bad_state` the second time (caller); `limit` when there are no threads (host).
  Result<void> start();

  /// Returns when no vCPU runs; devices stay, and what they still do waits for the guest. `bad_state` when it is not
  /// running (caller).
  Result<void> pause();
  Result<void> resume();

  /// Asks for the end; returns at once.
  void stop() noexcept;

  /// Has the guest's consoles follow the terminals that they are on, whose sizes may have changed: what a program does
  /// on SIGWINCH, though not in its handler. Before `start` it waits for that; after the end nothing happens.
  void follow_terminals();

  /// Waits for the end, then takes down in this order: runners kicked and joined, devices reset, I/O thread ended, last
  /// output written (a reader that does not read gets a second). Later calls give the same outcome.
  Outcome wait();

  [[nodiscard]] MachineStats stats() const;
  /// The backend that was chosen.
  [[nodiscard]] std::string_view hypervisor() const noexcept;
  /// One line for each device, as "block 0: virtio-mmio at 0xd0000000, gsi 16, /path".
  [[nodiscard]] std::vector<std::string> devices() const;

  /// The balloon: target, statistics. Null where the machine has none; lives as long as the machine.
  [[nodiscard]] virtio::Balloon* balloon() noexcept;

  /// For what the machine has no word for; with its own rules.
  [[nodiscard]] Vm& vm() noexcept;
  [[nodiscard]] const memory::MemoryMap& memory() const noexcept;
  [[nodiscard]] boost::asio::any_io_executor executor() const noexcept;

 private:
  struct Impl;
  friend class MachineBuilder;
  explicit Machine(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet::vmm
