// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

namespace trivet::memory {

/// What an access wants.
enum class Permission : std::uint8_t { read, write };

}  // namespace trivet::memory
