// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/backend_registry.hpp>

namespace conformance {

/// Adds every backend of this build; written by CMake from TRIVET_BACKENDS, so that a new one is tested for free.
void add_backends(trivet::BackendRegistry& registry);

}  // namespace conformance
