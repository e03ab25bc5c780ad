// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include <trivet/core/runner.hpp>
#include <trivet/vmm/bus_io.hpp>

#include "run_gate.hpp"

namespace trivet::vmm {

/// Drives one runner on a thread of its own and turns its control exits into the machine's outcome.
class RunnerThread {
 public:
  /// `first_run` is the machine's: the first of all its runners to run notes the time there.
  RunnerThread(Runner& runner, RunGate& gate, const BusIo::Targets& targets,
               std::atomic<std::uint64_t>& first_run) noexcept
      : runner_(runner), gate_(gate), io_(targets), first_run_(first_run) {}

  Result<void> start(unsigned index);
  void join() noexcept;

  [[nodiscard]] std::uint64_t runs() const noexcept { return runs_.load(std::memory_order_relaxed); }
  [[nodiscard]] const BusIo& io() const noexcept { return io_; }

 private:
  void loop() noexcept;
  void handle(const Exit& exit);

  Runner& runner_;
  RunGate& gate_;
  BusIo io_;
  std::atomic<std::uint64_t>& first_run_;
  std::atomic<std::uint64_t> runs_{0};
  std::thread thread_;
};

}  // namespace trivet::vmm
