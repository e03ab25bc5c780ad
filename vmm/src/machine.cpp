// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <chrono>
#include <fmt/format.h>

#include <trivet/vmm/layout_x86_64.hpp>

#include "machine_impl.hpp"
#include "memory_usage.hpp"

namespace trivet::vmm {

Machine::Machine(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

Machine::~Machine() {
  stop();
  (void)wait();
}

Result<void> Machine::start() {
  auto& it = *impl_;
  if (it.started) return Error(Errc::bad_state, "start the machine", "it was started before");
  it.started = true;
  TRIVET_TRY(it.loop->start());
  it.gate.resume();
  TRIVET_TRY(it.vm->resume());
  for (unsigned i = 0; i < it.runners.size(); ++i) {
    const auto started = it.runners[i]->start(i);
    if (!started) {
      stop();
      return started.error();
    }
  }
  return {};
}

Result<void> Machine::pause() {
  auto& it = *impl_;
  if (!it.started || it.gate.outcome() || it.gate.paused()) {
    return Error(Errc::bad_state, "pause the machine", "it is not running");
  }
  TRIVET_TRY(it.vm->pause());
  it.gate.pause();
  return {};
}

Result<void> Machine::resume() {
  auto& it = *impl_;
  if (!it.started || it.gate.outcome() || !it.gate.paused()) {
    return Error(Errc::bad_state, "resume the machine", "it is not paused");
  }
  TRIVET_TRY(it.vm->resume());
  it.gate.resume();
  return {};
}

void Machine::stop() noexcept {
  impl_->gate.finish({End::stopped, {}, {}});
}

void Machine::follow_terminals() {
  auto& it = *impl_;
  it.loop->post([&it] { it.virtio->follow_terminals(); });
}

Outcome Machine::wait() {
  constexpr auto reader_may_take = std::chrono::seconds(1);
  auto& it = *impl_;
  auto outcome = it.gate.wait();
  if (it.down) return outcome;
  it.down = true;
  (void)it.vm->pause();                                  // a guest that needs no runner to run would go on
  for (const auto& runner : it.runners) runner->join();  // `finish` has kicked them
  if (it.virtio) it.loop->run_and_wait([&] { it.virtio->reset(); });
  it.loop->stop();
  if (it.serial) it.serial->flush(reader_may_take);
  if (it.debug_output) it.debug_output->flush(reader_may_take);
  return outcome;
}

MachineStats Machine::stats() const {
  const auto& it = *impl_;
  MachineStats stats;
  stats.first_run_ns = it.first_run.load();
  for (const auto& runner : it.runners) {
    stats.runs += runner->runs();
    stats.exits += runner->runs() + runner->io().accesses();
    stats.unclaimed += runner->io().unclaimed();
  }
  stats.resident_kib = resident_kib(*it.memory->snapshot()).value_or(0);
  return stats;
}

std::string_view Machine::hypervisor() const noexcept {
  return impl_->hypervisor->name();
}

std::vector<std::string> Machine::devices() const {
  auto lines = impl_->virtio->descriptions();
  const auto interrupt = impl_->platform.lines ? fmt::format("gsi {}", layout::com1_gsi) : "polled";
  lines.insert(lines.begin(), fmt::format("serial: 16550A at port {:#x}, {}", layout::com1_port, interrupt));
  return lines;
}

virtio::Balloon* Machine::balloon() noexcept {
  return impl_->virtio->balloon();
}
Vm& Machine::vm() noexcept {
  return *impl_->vm;
}
const memory::MemoryMap& Machine::memory() const noexcept {
  return *impl_->memory;
}
boost::asio::any_io_executor Machine::executor() const noexcept {
  return impl_->loop->executor();
}

}  // namespace trivet::vmm
