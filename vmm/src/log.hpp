// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string_view>

namespace trivet::vmm::log {

/// One line to standard error, or to the spdlog logger "trivet" that the program registered before. Any thread; may
/// allocate: never on a hot path.
void warning(std::string_view text) noexcept;

}  // namespace trivet::vmm::log
