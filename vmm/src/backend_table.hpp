// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/backend_registry.hpp>

namespace trivet::vmm {

/// Adds every backend that this build links in.
void add_linked_backends(BackendRegistry& registry);

}  // namespace trivet::vmm
