// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>
#include <trivet/core/result.hpp>
#include <trivet/mshv/system.hpp>

#include "handle.hpp"

namespace trivet::mshv {

/// What a partition on this host has; asked of one that is made for it.
struct HostFacts {
  unsigned physical_address_bits = 36;
  std::vector<CpuidEntry> cpuid;
};

/// Opens the device, and makes sure that it is the interface that this backend speaks. Errors say what a person can
/// do: no device, no permission, another interface (host).
Result<Handle> open_device(const System& system);

/// A new partition. `invalid_argument`... of the kernel: its interface is another one (host).
Result<Handle> create_partition(const Handle& device, bool lapic);

/// Makes a partition with one virtual processor, asks, and drops it.
Result<HostFacts> ask_host(const Handle& device);

}  // namespace trivet::mshv
