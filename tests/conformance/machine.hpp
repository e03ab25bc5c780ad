// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A VM with the built-in guest in it and a bus that watches.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <trivet/core/hypervisor.hpp>

#include "outcome.hpp"
#include "test_bus.hpp"

namespace conformance {

/// Why the guest stopped.
struct Stop {
  enum class Kind : std::uint8_t { finished, stage, exit, error } kind = Kind::finished;
  std::uint32_t value = 0;             ///< finished: the result; stage: its number
  std::optional<trivet::Exit> exit{};  ///< exit: which
  std::string text{};                  ///< for people
};

/// With local APICs only where the hypervisor has no more: most scenarios need no other.
[[nodiscard]] trivet::VmConfig possible(const trivet::Hypervisor& hypervisor, trivet::VmConfig config = {});

struct MachineOptions {
  trivet::VmConfig config{};
  bool make_vcpus = true;
};

/// Thread rule: one thread, but for the other runners, which `start_others` gives threads of their own.
class Machine {
 public:
  /// A VM with 16 MiB of RAM and the guest loaded with `scenario=NAME`, not yet running.
  static trivet::Result<std::unique_ptr<Machine>> create(trivet::Hypervisor& hypervisor, std::string scenario,
                                                         const MachineOptions& options = {});
  ~Machine();

  [[nodiscard]] trivet::Vm& vm() { return *vm_; }
  [[nodiscard]] trivet::Vcpu& vcpu(unsigned index = 0) { return *vm_->vcpus()[index]; }
  [[nodiscard]] trivet::Runner& runner(unsigned index = 0) { return *vm_->runners()[index]; }
  [[nodiscard]] TestBus& bus() { return bus_; }
  [[nodiscard]] trivet::Bytes ram() { return ram_; }
  [[nodiscard]] trivet_guest::Mailbox& mailbox();

  /// Fresh RAM and the vCPU at the guest's entry.
  trivet::Result<void> load();

  /// Runs the first runner until the guest ends, reaches a stage that stops, or exits otherwise. Drained: the vCPU's
  /// state may be read then.
  Stop drive();
  /// As `drive`, but the guest must end well.
  Outcome finish();
  /// As `drive`, but the guest must stop at this stage.
  Outcome reach(std::uint32_t stage);

  /// Brings the accesses to a range to the bus, where the hypervisor must be told; those that every scenario may make
  /// are claimed already.
  trivet::Result<void> claim(const trivet::GuestRange& range);
  /// Whether accesses that nobody claims come to the bus.
  [[nodiscard]] bool holes_come() const { return vm_->io_claims() == nullptr; }

  /// Drives the other runners on threads until the machine goes away.
  void start_others();
  void stop_others();

  /// Memory for a region at `range`: the host's, or the hypervisor's where only that exists.
  trivet::Result<trivet::MappedRegion> map(trivet::GuestRange range, trivet::Access access = trivet::Access::read_write,
                                           bool log_dirty = false);

 private:
  explicit Machine(std::string scenario) : scenario_(std::move(scenario)) {}
  trivet::Result<void> build(trivet::Hypervisor& hypervisor, const MachineOptions& options);
  trivet::Result<void> claim_windows();
  void hold();
  Stop explain(const trivet::Exit& exit);

  struct HostPages {
    std::byte* address;
    std::size_t size;
  };

  std::string scenario_;
  std::vector<HostPages> pages_;
  TestBus bus_;
  bool host_memory_ = true;
  bool own_threads_ = true;
  std::unique_ptr<trivet::Vm> vm_;
  trivet::Bytes ram_;
  std::optional<std::uint32_t> stopped_at_;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> others_;
  std::mutex other_mutex_;
  std::string other_failure_;
};

}  // namespace conformance
