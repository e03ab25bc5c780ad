// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The guest's half of the conformance suite: one function a scenario, in one file, with one line in the table.
#pragma once

#include "boot_info.hpp"
#include "cpu.hpp"
#include "finish.hpp"
#include "text.hpp"
#include "trivet_guest/protocol.hpp"

namespace guest {

using ScenarioFunction = void (*)(const BootInfo& info);

struct Scenario {
  Text name;
  ScenarioFunction run;
};

/// Null where no scenario has that name.
const Scenario* find_scenario(Text name);

/// The page shared with the host.
inline volatile trivet_guest::Mailbox& mailbox() {
  return *reinterpret_cast<volatile trivet_guest::Mailbox*>(trivet_guest::mailbox_address);
}
/// Tells the host that a stage is reached; the host acts before this returns.
inline void sync(std::uint32_t stage) {
  out32(trivet_guest::port_sync, stage);
}

/// Writes one word of RAM that the host reads or a region holds; never merged or dropped.
template <typename T>
volatile T& word(std::uint64_t at) {
  return *reinterpret_cast<volatile T*>(at);
}

}  // namespace guest
