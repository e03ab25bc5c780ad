// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Application processors: started with INIT and SIPI, then parked until given work.
#pragma once

#include <cstddef>
#include <cstdint>

#include "boot_info.hpp"

namespace guest {

/// What an application processor does; `number` counts from 1. It parks for good on return.
using ApWork = void (*)(std::uint32_t number);

/// Starts every processor in `apic_ids` but this one and returns how many came up within the time allowed.
std::size_t start_processors(const BootInfo& info, const std::uint32_t* apic_ids, std::size_t count, ApWork work);

}  // namespace guest
