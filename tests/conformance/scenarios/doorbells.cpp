// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Guest writes that become events, and writes that are batched.
#include <unistd.h>

#include "scenarios.hpp"

namespace conformance {
namespace {

using namespace trivet_guest;
using trivet::DoorbellSpec;

constexpr std::uint64_t rounds = 50;

std::uint64_t take(const trivet::Doorbell& doorbell) {
  std::uint64_t count = 0;
  return ::read(doorbell.fd(), &count, sizeof count) == sizeof count ? count : 0;
}

}  // namespace

Outcome doorbell_memory(trivet::Hypervisor& hypervisor) {
  constexpr std::uint64_t matched = mmio_doorbell + 8;
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "doorbell_memory"));
  auto* doorbells = machine->vm().doorbells();
  CONFORM(doorbells != nullptr, "no facet for a capability that is there");
  machine->mailbox().argument[0] = rounds;
  CONFORM_ASSIGN(auto any, doorbells->create({.at = {mmio_doorbell}}));
  CONFORM_ASSIGN(auto one, doorbells->create({.at = {matched}, .size = 4, .value = 1}));
  CONFORM_ASSIGN(auto two, doorbells->create({.at = {matched}, .size = 4, .value = 2}));
  CONFORM_ERROR(doorbells->create({.at = {matched}, .size = 4, .value = 2}), trivet::Errc::already_exists);
  CONFORM_STEP(machine->reach(1));
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {}));  // nothing left the hypervisor
  const std::uint64_t counts[] = {take(*any), take(*one), take(*two)};
  CONFORM(counts[0] == rounds + 1 && counts[1] == rounds && counts[2] == rounds / 2, "rang {} {} {} times", counts[0],
          counts[1], counts[2]);
  CONFORM_STEP(machine->reach(2));
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {store(matched, 4, 3), store(matched, 2, 1)}));
  CONFORM(take(*any) + take(*one) + take(*two) == 0, "a doorbell rang for another value");
  any.reset();
  CONFORM_STEP(machine->finish());
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {store(mmio_doorbell, 4, 7)}));
  // Withdrawn with the value it was made with, so that it can be made again.
  two.reset();
  CONFORM_OK(doorbells->create({.at = {matched}, .size = 4, .value = 2}));
  return passed();
}

Outcome doorbell_port(trivet::Hypervisor& hypervisor) {
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "doorbell_port"));
  auto* doorbells = machine->vm().doorbells();
  CONFORM(doorbells != nullptr, "no facet for a capability that is there");
  machine->mailbox().argument[0] = rounds;
  const DoorbellSpec spec{.space = DoorbellSpec::Space::port, .at = {port_doorbell}, .size = 2, .value = 1};
  CONFORM_ASSIGN(auto one, doorbells->create(spec));
  auto other = spec;
  other.value = 2;
  CONFORM_ASSIGN(auto two, doorbells->create(other));
  CONFORM_STEP(machine->reach(1));
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {}));
  const std::uint64_t counts[] = {take(*one), take(*two)};
  CONFORM(counts[0] == rounds && counts[1] == rounds / 2, "rang {} {} times", counts[0], counts[1]);
  CONFORM_STEP(machine->reach(2));
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {port_out(port_doorbell, 2, 3)}));
  one.reset();
  CONFORM_STEP(machine->finish());
  CONFORM_STEP(match_trace(machine->bus().take_trace(), {port_out(port_doorbell, 2, 1)}));
  CONFORM(take(*two) == 0, "a doorbell rang for another value");
  return passed();
}

Outcome posted_writes(trivet::Hypervisor& hypervisor) {
  constexpr std::uint64_t count = 500;  // more than a batch holds
  CONFORM_ASSIGN(auto machine, Machine::create(hypervisor, "posted_writes"));
  auto* posted = machine->vm().posted_writes();
  CONFORM(posted != nullptr, "no facet for a capability that is there");
  machine->mailbox().argument[0] = count;
  CONFORM_OK(posted->add(trivet::PostedWrites::Space::memory, {{mmio_posted}, 0x1000}));
  CONFORM_STEP(machine->finish());
  std::vector<Expected> wanted;
  for (std::uint64_t i = 0; i < count; ++i) wanted.push_back(store(mmio_posted + (i % 16) * 4, 4, i * 3));
  wanted.push_back(load(mmio_window, 1, pattern(0, 1)));
  for (std::uint64_t i = 0; i < 5; ++i) {
    wanted.push_back(store(mmio_posted, 8, i));
    wanted.push_back(store(mmio_window + 8, 4, i));
  }
  const auto trace = machine->bus().take_trace();
  std::uint64_t batched = 0;
  for (const auto& access : trace) {
    if (access.posted)
      CONFORM(access.at < mmio_window || access.at >= mmio_window + mmio_window_size, "{}", to_string(access));
    batched += access.posted ? 1 : 0;
  }
  CONFORM_STEP(match_trace(trace, wanted));
  CONFORM(batched >= count / 2, "only {} of {} writes were posted", batched, count + 5);
  CONFORM_OK(posted->remove(trivet::PostedWrites::Space::memory, {{mmio_posted}, 0x1000}));
  return passed();
}

}  // namespace conformance
