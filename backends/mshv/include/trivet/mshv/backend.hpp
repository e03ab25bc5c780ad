// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <trivet/core/backend.hpp>
#include <trivet/mshv/system.hpp>

namespace trivet::mshv {

/// The Microsoft Hypervisor as a backend of name "mshv", priority 90: it drives /dev/mshv.
[[nodiscard]] std::unique_ptr<Backend> backend();

/// The same over another system, which outlives it.
[[nodiscard]] std::unique_ptr<Backend> backend(const System& system);

}  // namespace trivet::mshv
