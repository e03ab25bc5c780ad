// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The default run: look around, say what is there, use it a little.
#pragma once

#include "boot_info.hpp"

namespace guest {

void tour_machine(const BootInfo& info);
/// Returns false where a device did not do what it must.
bool tour_devices();
void tour_exits();
/// Sends back what comes on the serial line, until the end of the line.
void echo_console();

}  // namespace guest
