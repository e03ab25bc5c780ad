// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// P4: no kick is ever lost. The kicker waits for each kick to end a run, so that a lost one is a hang that the
// watchdog turns into a failure.
#include <atomic>
#include <chrono>
#include <csignal>
#include <pthread.h>
#include <sched.h>
#include <thread>

#include "scenarios.hpp"

namespace conformance {
namespace {

using trivet::exits::Kicked;

constexpr int kicks = 100'000;
constexpr int signal_kicks = 10'000;

// Runs until `stop`; counts the runs that a kick ended.
Outcome count_kicks(Machine& machine, std::atomic<int>& ended, const std::atomic<bool>& stop) {
  while (!stop) {
    CONFORM_ASSIGN(const auto exit, machine.runner().run(machine.bus()));
    CONFORM(std::holds_alternative<Kicked>(exit), "run ended with {}", trivet::name(exit));
    ended.fetch_add(1);
    ended.notify_one();
    (void)machine.bus().take_trace();
  }
  return passed();
}

// The first and the last processor this process may use; the same one where there is only one.
struct Processors {
  int first = -1;
  int last = -1;
};
const Processors& processors() {
  static const Processors found = [] {
    Processors result;
    cpu_set_t set;
    if (::sched_getaffinity(0, sizeof set, &set) != 0) return result;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(static_cast<unsigned>(cpu), &set)) continue;
      if (result.first < 0) result.first = cpu;
      result.last = cpu;
    }
    return result;
  }();
  return found;
}
bool one_processor() {
  return processors().first == processors().last;
}

void stay_on(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  (void)::sched_setaffinity(0, sizeof set, &set);
}

// The kicker gets a processor of its own; where there is only one, the right to interrupt the runner there (for root).
// Else the two would take turns by the tick. Only for speed.
void become_kicker() {
  stay_on(processors().last);
  const sched_param urgent{.sched_priority = 1};
  if (one_processor()) (void)::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &urgent);
}

// Until the guest has counted on, or the runner has failed. Sleeps, so that the guest gets the processor.
void await_guest(Machine& machine, const std::atomic<int>& ended) {
  const std::atomic_ref count(machine.mailbox().count);
  const auto before = count.load();
  while (count.load() == before && ended.load() >= 0) std::this_thread::sleep_for(std::chrono::microseconds(20));
}

// A wait that differs from kick to kick, so that they land before the run, on its way in, and inside the guest: there
// for certain once in 64, as on a fast machine all others may come before it. With one processor the runner moves only
// while this thread sleeps. A guest that runs by itself is not what a kick meets, only the runner's loop is; it gets
// the processor once in 64 kicks, and keeps it for a slice of its hypervisor's.
void wait_a_little(int i, Machine& machine, const std::atomic<int>& ended, bool guest_apart) {
  if (i % 64 == 1) return await_guest(machine, ended);
  if (guest_apart) return;
  if (one_processor()) {
    if (i % 4 != 0) std::this_thread::sleep_for(std::chrono::microseconds(i * 7 % 90));
    return;
  }
  static constexpr std::array<unsigned, 8> spins{0, 0, 20, 100, 300, 1000, 3000, 10};
  const std::atomic<unsigned> target = spins[static_cast<unsigned>(i) % spins.size()] + static_cast<unsigned>(i % 37);
  for (unsigned spin = 0; spin < target; ++spin) std::atomic_signal_fence(std::memory_order_seq_cst);
}

// Until `wanted` runs have ended; below zero is a runner that failed. Spins for about as long as a kick takes.
void await(const std::atomic<int>& ended, int wanted) {
  const int spins = one_processor() ? 0 : 20'000;
  for (int spin = 0;; ++spin) {
    const int seen = ended.load();
    if (seen < 0 || seen >= wanted) return;
    if (spin >= spins) ended.wait(seen);
  }
}

std::atomic<trivet::Kicker*> kicked_by_signal = nullptr;
void kick_from_signal(int) {
  if (auto* kicker = kicked_by_signal.load()) kicker->kick();
}

}  // namespace

Outcome kick_stress(trivet::Hypervisor& hypervisor) {
  const bool apart = hypervisor.supports(trivet::Cap::own_vcpu_threads) == trivet::Support::no;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "kick_target"));
  CONFORM_OK(machine->vm().resume());
  std::atomic<int> ended = 0;
  std::atomic<bool> stop = false;
  Outcome outcome = passed();
  std::jthread runner([&] {
    stay_on(processors().first);
    outcome = count_kicks(*machine, ended, stop);
    if (!failed(outcome)) return;
    ended = -1;
    ended.notify_one();
  });
  become_kicker();
  for (int i = 1; i <= kicks; ++i) {
    wait_a_little(i, *machine, ended, apart);
    machine->runner().kicker().kick();
    await(ended, i);
    if (ended.load() != i) break;
  }
  const auto counted = ended.load();
  stop = true;
  machine->runner().kicker().kick();
  runner.join();
  CONFORM_STEP(outcome);
  CONFORM(counted == kicks, "{} runs ended for {} kicks", counted, kicks);
  return passed(fmt::format("{} kicks, none lost", kicks));
}

// From a signal handler on the very thread that runs the vCPU, and from a third thread's handler.
Outcome kick_signal(trivet::Hypervisor& hypervisor) {
  const bool apart = hypervisor.supports(trivet::Cap::own_vcpu_threads) == trivet::Support::no;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "kick_target"));
  CONFORM_OK(machine->vm().resume());
  struct sigaction action {};
  action.sa_handler = kick_from_signal;
  action.sa_flags = SA_RESTART;
  CONFORM(::sigaction(SIGUSR1, &action, nullptr) == 0, "sigaction");
  kicked_by_signal = &machine->runner().kicker();
  std::atomic<int> ended = 0;
  std::atomic<bool> stop = false;
  Outcome outcome = passed();
  std::jthread runner([&] {
    stay_on(processors().first);
    outcome = count_kicks(*machine, ended, stop);
    if (!failed(outcome)) return;
    ended = -1;
    ended.notify_one();
  });
  const auto runner_thread = runner.native_handle();
  become_kicker();
  for (int i = 1; i <= signal_kicks; ++i) {
    wait_a_little(i, *machine, ended, apart);
    ::pthread_kill(i % 2 == 0 ? runner_thread : ::pthread_self(), SIGUSR1);
    await(ended, i);
    if (ended.load() != i) break;
  }
  const auto counted = ended.load();
  stop = true;
  machine->runner().kicker().kick();
  runner.join();
  kicked_by_signal = nullptr;
  CONFORM_STEP(outcome);
  CONFORM(counted == signal_kicks, "{} runs ended for {} kicks", counted, signal_kicks);
  return passed(fmt::format("{} kicks, none lost", signal_kicks));
}

// A kick before the run ends it before the guest does anything; several count as one; the next run goes on.
Outcome kick_before_run(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "kick_target"));
  auto& runner = machine->runner();
  for (int i = 0; i < 3; ++i) runner.kicker().kick();
  CONFORM_ASSIGN(const auto first, runner.run(machine->bus()));
  CONFORM(std::holds_alternative<Kicked>(first), "run ended with {}", trivet::name(first));
  CONFORM(machine->mailbox().count == 0, "the guest ran although kicked before");
  CONFORM_OK(machine->vm().resume());
  // Draining takes no kick away.
  runner.kicker().kick();
  CONFORM_OK(runner.drain(machine->bus()));
  CONFORM_ASSIGN(const auto second, runner.run(machine->bus()));
  CONFORM(std::holds_alternative<Kicked>(second), "run ended with {}", trivet::name(second));
  std::atomic_ref(machine->mailbox().go).store(1);
  return machine->finish();
}

Outcome kick_halted(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "kick_halted"));
  // A hypervisor that runs the guest by itself takes a halt with interrupts off for its end.
  const bool off = hypervisor.supports(trivet::Cap::own_vcpu_threads) == trivet::Support::yes;
  machine->mailbox().argument[0] = off ? 0 : 1;
  CONFORM_STEP(machine->reach(1));
  CONFORM_OK(machine->vm().resume());
  for (int i = 0; i < 20; ++i) {
    std::jthread kicker([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      machine->runner().kicker().kick();
    });
    CONFORM_ASSIGN(const auto exit, machine->runner().run(machine->bus()));
    CONFORM(std::holds_alternative<Kicked>(exit), "run ended with {}", trivet::name(exit));
    CONFORM(!machine->bus().finished(), "the guest went on after HLT: line {}", machine->bus().result());
  }
  return passed();
}

}  // namespace conformance
