// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/result.hpp>
#include <trivet/vmm/platform_info.hpp>

namespace trivet::vmm::acpi {

/// Whether tables can say all that `platform` asks; errors as `acpi_tables`.
Result<void> check_platform(const PlatformInfo& platform);

}  // namespace trivet::vmm::acpi
