// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>

#include <trivet/core/capability.hpp>

namespace trivet {
namespace {

constexpr auto caps = [] {
  std::array<Cap, static_cast<std::size_t>(Cap::attach) + 1> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Cap>(i);
  return all;
}();

constexpr auto limits = [] {
  std::array<Limit, static_cast<std::size_t>(Limit::dirty_ring_entries) + 1> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<Limit>(i);
  return all;
}();

}  // namespace

std::string_view to_string(Cap cap) {
  switch (cap) {
    case Cap::port_io:
      return "port_io";
    case Cap::irqchip_full:
      return "irqchip_full";
    case Cap::irqchip_split:
      return "irqchip_split";
    case Cap::pit:
      return "pit";
    case Cap::lines:
      return "lines";
    case Cap::resample:
      return "resample";
    case Cap::msi:
      return "msi";
    case Cap::interrupt_ends:
      return "interrupt_ends";
    case Cap::external_interrupts:
      return "external_interrupts";
    case Cap::doorbells:
      return "doorbells";
    case Cap::doorbells_pio:
      return "doorbells_pio";
    case Cap::posted_writes:
      return "posted_writes";
    case Cap::read_only_memory:
      return "read_only_memory";
    case Cap::read_only_code:
      return "read_only_code";
    case Cap::host_memory:
      return "host_memory";
    case Cap::file_memory:
      return "file_memory";
    case Cap::hypervisor_memory:
      return "hypervisor_memory";
    case Cap::fresh_pages:
      return "fresh_pages";
    case Cap::dirty_log:
      return "dirty_log";
    case Cap::dirty_ring:
      return "dirty_ring";
    case Cap::vcpu_state:
      return "vcpu_state";
    case Cap::cpuid:
      return "cpuid";
    case Cap::free_cpuid:
      return "free_cpuid";
    case Cap::single_step:
      return "single_step";
    case Cap::breakpoints:
      return "breakpoints";
    case Cap::software_breakpoints:
      return "software_breakpoints";
    case Cap::nmi:
      return "nmi";
    case Cap::exceptions:
      return "exceptions";
    case Cap::translate:
      return "translate";
    case Cap::clock:
      return "clock";
    case Cap::msr_exits:
      return "msr_exits";
    case Cap::hypercall_exits:
      return "hypercall_exits";
    case Cap::halt_exits:
      return "halt_exits";
    case Cap::own_vcpu_threads:
      return "own_vcpu_threads";
    case Cap::attach:
      return "attach";
  }
  return "unknown";
}

std::string_view to_string(Support support) {
  switch (support) {
    case Support::no:
      return "no";
    case Support::yes:
      return "yes";
    case Support::at_creation:
      return "at_creation";
  }
  return "unknown";
}

std::string_view to_string(Limit limit) {
  switch (limit) {
    case Limit::vcpus:
      return "vcpus";
    case Limit::regions:
      return "regions";
    case Limit::physical_address_bits:
      return "physical_address_bits";
    case Limit::msi_routes:
      return "msi_routes";
    case Limit::dirty_ring_entries:
      return "dirty_ring_entries";
  }
  return "unknown";
}

std::span<const Cap> all_caps() {
  return caps;
}
std::span<const Limit> all_limits() {
  return limits;
}

}  // namespace trivet
