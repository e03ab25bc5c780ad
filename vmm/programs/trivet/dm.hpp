// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <string_view>

#include <trivet/vmm/device_model.hpp>

// `trivet dm` is two processes. The worker serves one domain and can do no more than that; the supervisor touches
// nothing that a guest wrote, and starts another worker when the guest reboots, which on Xen makes another domain.
namespace trivet::program {

/// Serves until the guest or a signal ends it; writes its memory in MiB, 8 bytes, to `ready_fd` when it may run,
/// confined from then on. The exit code.
int serve_domain(const vmm::DeviceModelConfig& config, int ready_fd);

/// The whole of `trivet dm`. The exit code.
int supervise(vmm::DeviceModelConfig config);

/// To standard output, at once: who started us waits for a line.
void say(std::string_view line);

}  // namespace trivet::program
