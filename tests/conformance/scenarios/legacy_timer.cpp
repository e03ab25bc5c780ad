// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A PC's PICs and PIT: those of the VMM on local APICs alone, and the hypervisor's own beside them, where it has them.
#include <chrono>
#include <condition_variable>
#include <thread>

#include <trivet/vmm/bus.hpp>
#include <trivet/vmm/bus_io.hpp>
#include <trivet/vmm/pic.hpp>
#include <trivet/vmm/pit.hpp>

#include "scenarios.hpp"

namespace conformance {
namespace {

using std::chrono::steady_clock;
using trivet::Cap;
using trivet::IrqchipKind;

constexpr std::uint64_t ticks = 20;
constexpr auto period = std::chrono::milliseconds(10);

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(steady_clock::now().time_since_epoch()).count());
}

/// The VMM's controllers at their ports, and a thread for the timer.
class Legacy {
 public:
  explicit Legacy(trivet::Vcpu& vcpu)
      : pic_([&vcpu](bool asserted) { (void)vcpu.set_interrupt_pin(asserted); }),
        pit_({now_ns, [this] { tick(); }, [this](std::optional<std::uint64_t> at) { wake_at(at); }}),
        timer_([this] { loop(); }) {}
  ~Legacy() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    timer_.join();
  }

  trivet::Result<void> attach() {
    TRIVET_TRY(ports_.insert(trivet::vmm::Pic::master_base, trivet::vmm::Pic::size, pic_.master(), "PIC"));
    TRIVET_TRY(ports_.insert(trivet::vmm::Pic::slave_base, trivet::vmm::Pic::size, pic_.slave(), "second PIC"));
    TRIVET_TRY(ports_.insert(trivet::vmm::Pit::base, trivet::vmm::Pit::size, pit_, "PIT"));
    return ports_.insert(trivet::vmm::Pit::port_b_base, 1, pit_.port_b(), "port B");
  }
  [[nodiscard]] trivet::IoHandler& io() { return io_; }

 private:
  void tick() {
    pic_.set_line(0, false);
    pic_.set_line(0, true);
  }
  void wake_at(std::optional<std::uint64_t> at) {
    const std::lock_guard lock(mutex_);
    wake_at_ = at;
    changed_.notify_one();
  }
  void loop() {
    std::unique_lock lock(mutex_);
    while (!ending_) {
      if (!wake_at_) {
        changed_.wait(lock);
      } else if (now_ns() < *wake_at_) {
        changed_.wait_until(lock, steady_clock::time_point(std::chrono::nanoseconds(*wake_at_)));
      } else {
        wake_at_.reset();
        lock.unlock();
        pit_.wake();
        lock.lock();
      }
    }
  }

  trivet::vmm::Bus ports_{"port", 16};
  trivet::vmm::Bus addresses_{"memory", 64};
  trivet::vmm::Pic pic_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<std::uint64_t> wake_at_;
  bool ending_ = false;
  trivet::vmm::Pit pit_;
  trivet::vmm::BusIo io_{{ports_, addresses_, nullptr, nullptr, nullptr, &pic_}};
  std::thread timer_;
};

enum class Missed : bool { dropped, made_up };

Outcome count_ticks(Machine& machine, Missed missed) {
  machine.mailbox().argument[0] = ticks;
  steady_clock::time_point first, last;
  machine.bus().on_stage = [&](std::uint32_t stage) {
    (stage == 1 ? first : last) = steady_clock::now();
    return false;
  };
  CONFORM_STEP(machine.finish());
  // KVM's own timer makes up for ticks that the guest did not take. The first may come late, and the second soon after.
  if (missed == Missed::made_up) return passed();
  CONFORM(last - first > period * (ticks - 2), "{} ticks of 10 ms in {} us", ticks,
          std::chrono::duration_cast<std::chrono::microseconds>(last - first).count());
  return passed();
}

}  // namespace

Outcome legacy_timer(trivet::Hypervisor& hypervisor) {
  MachineOptions options;
  if (hypervisor.supports(Cap::irqchip_full) != trivet::Support::no &&
      hypervisor.supports(Cap::pit) != trivet::Support::no) {
    options.config.pit = true;
    CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "legacy_timer", options));
    CONFORM_STEP(count_ticks(*machine, Missed::made_up));
    CONFORM_ERROR(machine->vcpu().set_interrupt_pin(true), trivet::Errc::unsupported);
  }
  options.config.pit = false;
  options.config.irqchip = IrqchipKind::split;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "legacy_timer", options));
  Legacy legacy(machine->vcpu());
  CONFORM_OK(legacy.attach());
  machine->bus().legacy = &legacy.io();
  return count_ticks(*machine, Missed::dropped);
}

}  // namespace conformance
