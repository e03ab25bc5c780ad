// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "machine.hpp"

#include <cerrno>
#include <sys/mman.h>
#include <utility>

#include "guest_loader.hpp"

namespace conformance {

trivet::VmConfig possible(const trivet::Hypervisor& hypervisor, trivet::VmConfig config) {
  const bool full = hypervisor.supports(trivet::Cap::irqchip_full) != trivet::Support::no;
  if (!full && config.irqchip == trivet::IrqchipKind::full) config.irqchip = trivet::IrqchipKind::split;
  return config;
}

trivet::Result<std::unique_ptr<Machine>> Machine::create(trivet::Hypervisor& hypervisor, std::string scenario,
                                                         const MachineOptions& options) {
  std::unique_ptr<Machine> machine(new Machine(std::move(scenario)));
  TRIVET_TRY(machine->build(hypervisor, options));
  return machine;
}

Machine::~Machine() {
  stop_others();
  vm_.reset();
  for (const auto& pages : pages_) ::munmap(pages.address, pages.size);
}

trivet::Result<void> Machine::build(trivet::Hypervisor& hypervisor, const MachineOptions& options) {
  host_memory_ = hypervisor.supports(trivet::Cap::host_memory) == trivet::Support::yes;
  own_threads_ = hypervisor.supports(trivet::Cap::own_vcpu_threads) == trivet::Support::yes;
  TRIVET_ASSIGN(vm_, hypervisor.create(possible(hypervisor, options.config)));
  TRIVET_TRY(claim_windows());
  TRIVET_ASSIGN(const auto region, map({{0}, trivet_guest::ram_size}));
  ram_ = {region.host, region.range.size};
  bus_.on_result = [this] { hold(); };
  bus_.on_stop = [this](std::uint32_t stage) {
    stopped_at_ = stage;
    hold();
  };
  bus_.on_stage = [](std::uint32_t) { return true; };
  if (!options.make_vcpus) return {};
  for (unsigned i = 0; i < options.config.max_vcpus; ++i) TRIVET_TRY(vm_->create_vcpu(i));
  return load();
}

trivet::Result<void> Machine::claim_windows() {
  using namespace trivet_guest;
  auto* claims = vm_->io_claims();
  if (claims == nullptr) return {};
  TRIVET_TRY(claims->claim_ports(port_text, port_hole - port_text));
  TRIVET_TRY(claim({{mmio_window}, mmio_window_size}));
  TRIVET_TRY(claim({{mmio_doorbell}, 0x1000}));
  return claim({{mmio_posted}, 0x1000});
}

trivet::Result<void> Machine::claim(const trivet::GuestRange& range) {
  auto* claims = vm_->io_claims();
  return claims == nullptr ? trivet::Result<void>{} : claims->claim_memory(range);
}

// From the handler: the guest stops at this access. Where it runs by itself a kick alone would let it go on.
void Machine::hold() {
  if (!own_threads_) {
    if (const auto paused = vm_->pause(); !paused) {
      const std::lock_guard lock(other_mutex_);
      other_failure_ = "pause: " + trivet::to_string(paused.error());
    }
  }
  runner().kicker().kick();
}

trivet::Result<trivet::MappedRegion> Machine::map(trivet::GuestRange range, trivet::Access access, bool log_dirty) {
  trivet::RegionSpec spec{
      .range = range, .source = trivet::HypervisorMemory{}, .access = access, .log_dirty = log_dirty};
  if (host_memory_) {
    void* address = ::mmap(nullptr, range.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) return trivet::Error::from_errno(errno, "mmap", "memory for the guest");
    pages_.push_back({static_cast<std::byte*>(address), range.size});
    spec.source = trivet::HostMemory{static_cast<std::byte*>(address)};
  }
  return vm_->map(spec);
}

trivet_guest::Mailbox& Machine::mailbox() {
  // SAFETY: a page-aligned address inside RAM, which is mapped as long as the VM; Mailbox is plain words.
  return *reinterpret_cast<trivet_guest::Mailbox*>(ram_.subspan(trivet_guest::mailbox_address).data());
}

trivet::Result<void> Machine::load() {
  TRIVET_ASSIGN(const auto entry, load_guest(ram_, "scenario=" + scenario_));
  return set_boot_registers(vcpu(), entry);
}

Stop Machine::explain(const trivet::Exit& exit) {
  std::string text = fmt::format("the guest exited with {}", trivet::name(exit));
  if (const auto* failure = std::get_if<trivet::exits::EmulationFailure>(&exit)) {
    text += fmt::format(" at {:#x}, bytes", failure->instruction_pointer);
    for (std::size_t i = 0; i < failure->length; ++i) text += fmt::format(" {:02x}", failure->bytes[i]);
  }
  return {.kind = Stop::Kind::exit, .exit = exit, .text = std::move(text)};
}

Stop Machine::drive() {
  if (auto resumed = vm_->resume(); !resumed) {
    return {.kind = Stop::Kind::error, .text = trivet::to_string(resumed.error())};
  }
  for (;;) {
    auto exit = runner().run(bus_);
    if (!exit) return {.kind = Stop::Kind::error, .text = "run: " + trivet::to_string(exit.error())};
    const bool kicked = std::holds_alternative<trivet::exits::Kicked>(*exit);
    if (!kicked) return explain(*exit);
    if (bus_.finished()) break;
    if (stopped_at_) break;
    const std::lock_guard lock(other_mutex_);
    if (!other_failure_.empty()) return {.kind = Stop::Kind::error, .text = other_failure_};
  }
  if (auto paused = vm_->pause(); !paused) {
    return {.kind = Stop::Kind::error, .text = trivet::to_string(paused.error())};
  }
  if (auto drained = runner().drain(bus_); !drained) {
    return {.kind = Stop::Kind::error, .text = "drain: " + trivet::to_string(drained.error())};
  }
  if (bus_.finished()) return {.kind = Stop::Kind::finished, .value = bus_.result()};
  return {.kind = Stop::Kind::stage, .value = *std::exchange(stopped_at_, std::nullopt)};
}

Outcome Machine::finish() {
  const Stop stop = drive();
  switch (stop.kind) {
    case Stop::Kind::finished:
      break;
    case Stop::Kind::stage:
      return failed(fmt::format("the guest stopped at stage {} instead of ending", stop.value));
    default:
      return failed(stop.text);
  }
  if (stop.value == 0) return passed();
  return failed(fmt::format("the guest failed at line {} of its scenario {}", stop.value, bus_.text()));
}

Outcome Machine::reach(std::uint32_t stage) {
  const Stop stop = drive();
  if (stop.kind == Stop::Kind::stage && stop.value == stage) return passed();
  if (stop.kind == Stop::Kind::stage) return failed(fmt::format("stage {} came before {}", stop.value, stage));
  if (stop.kind != Stop::Kind::finished) return failed(fmt::format("before stage {}: {}", stage, stop.text));
  return failed(fmt::format("the guest ended with line {} before stage {} {}", stop.value, stage, bus_.text()));
}

void Machine::start_others() {
  stopping_ = false;
  for (unsigned i = 1; i < vm_->runners().size(); ++i) {
    others_.emplace_back([this, i] {
      while (!stopping_) {
        auto exit = runner(i).run(bus_);
        if (exit && std::holds_alternative<trivet::exits::Kicked>(*exit)) continue;
        const std::lock_guard lock(other_mutex_);
        other_failure_ = fmt::format("runner {}: {}", i, exit ? explain(*exit).text : trivet::to_string(exit.error()));
        runner().kicker().kick();
        return;
      }
    });
  }
}

void Machine::stop_others() {
  stopping_ = true;
  for (unsigned i = 1; i <= others_.size(); ++i) runner(i).kicker().kick();
  for (auto& thread : others_) thread.join();
  others_.clear();
}

}  // namespace conformance
