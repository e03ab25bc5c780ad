// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string>

#include <trivet/core/backend_registry.hpp>

namespace trivet::vmm {

/// The backends of this process: those linked in, then the plugins of each folder of `TRIVET_BACKEND_PATH` (separated
/// by colons), then those of `<the program's folder>/../lib/trivet`. The first of a name stays. One that does not load
/// is listed with the reason. Any thread.
[[nodiscard]] BackendRegistry find_backends();

/// The table of `trivet backends`: each backend, whether it is usable or why not, its capabilities and limits.
[[nodiscard]] std::string backends_table(const BackendRegistry& registry);
/// The same as one JSON document.
[[nodiscard]] std::string backends_json(const BackendRegistry& registry);

}  // namespace trivet::vmm
