// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "runner_thread.hpp"

#include <fmt/format.h>
#include <iterator>
#include <time.h>
#include <variant>

#include <trivet/core/quiet_thread.hpp>
#include <trivet/core/vcpu.hpp>

namespace trivet::vmm {
namespace {

std::uint64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

std::string describe(const exits::EmulationFailure& failure) {
  std::string bytes;
  for (std::size_t i = 0; i < failure.length && i < failure.bytes.size(); ++i) {
    fmt::format_to(std::back_inserter(bytes), " {:02x}", failure.bytes[i]);
  }
  return fmt::format("the instruction at {:#x} cannot be emulated:{}", failure.instruction_pointer, bytes);
}

/// How an exit ends the machine, for those that do; the exits that must be answered first go elsewhere.
Outcome ending(const Exit& exit) {
  if (std::holds_alternative<exits::Reset>(exit)) return {End::reset, {}, {}};
  if (std::holds_alternative<exits::PowerOff>(exit)) return {End::power_off, {}, {}};
  if (std::holds_alternative<exits::TripleFault>(exit)) return {End::triple_fault, "a vCPU gave up", {}};
  if (std::holds_alternative<exits::Crash>(exit)) return {End::crash, "the guest reported a crash", {}};
  if (std::holds_alternative<exits::Halted>(exit)) {
    return {End::crash, "a vCPU halted where nothing can wake it", {}};
  }
  if (const auto* fault = std::get_if<exits::MemoryFault>(&exit)) {
    return {End::crash,
            fmt::format("a {} of guest memory at {:#x} that cannot be reached", fault->write ? "write" : "read",
                        fault->range.start.value),
            {}};
  }
  if (const auto* entry = std::get_if<exits::EntryFailure>(&exit)) {
    return {End::crash, fmt::format("the processor refused to enter the guest (reason {:#x})", entry->reason), {}};
  }
  if (const auto* failure = std::get_if<exits::EmulationFailure>(&exit)) return {End::crash, describe(*failure), {}};
  return {End::failed,
          {},
          Error(Errc::hypervisor, "run a vCPU", fmt::format("unasked exit '{}'", name(exit)), Blame::host)};
}

}  // namespace

Result<void> RunnerThread::start(unsigned index) {
  const auto name = fmt::format("trivet-run{}", index);
  gate_.enter(1);
  auto thread = quiet_thread(name.c_str(), [this] { loop(); });
  if (!thread) {
    gate_.leave();
    return thread.error();
  }
  thread_ = std::move(*thread);
  return {};
}

void RunnerThread::join() noexcept {
  if (thread_.joinable()) thread_.join();
}

void RunnerThread::loop() noexcept {
  while (gate_.pass()) {
    if (first_run_.load(std::memory_order_relaxed) == 0) {
      std::uint64_t none = 0;
      first_run_.compare_exchange_strong(none, monotonic_ns());
    }
    const auto exit = runner_.run(io_);
    runs_.store(runs_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (!exit) {
      gate_.finish({End::failed, {}, exit.error()});
      break;
    }
    handle(*exit);
  }
  gate_.leave();
}

void RunnerThread::handle(const Exit& exit) {
  if (std::holds_alternative<exits::Kicked>(exit)) return;  // `pass` knows why
  Result<void> answered;
  auto* vcpu = runner_.vcpu();  // null where the runner serves several, which has no such exits
  if (std::holds_alternative<exits::Msr>(exit) && vcpu != nullptr) {
    answered = vcpu->answer_msr(std::nullopt);  // this machine has no MSRs of its own: the access faults
  } else if (std::holds_alternative<exits::Hypercall>(exit) && vcpu != nullptr) {
    constexpr auto not_known = static_cast<std::uint64_t>(-1000);  // "no such hypercall", as Linux guests know it
    answered = vcpu->answer_hypercall(not_known);
  } else {
    gate_.finish(ending(exit));
  }
  if (!answered) gate_.finish({End::failed, {}, answered.error()});
}

}  // namespace trivet::vmm
