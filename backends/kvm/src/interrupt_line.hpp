// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include "irq_router.hpp"

namespace trivet::kvm {

/// A line on `pin`, of the pin's trigger.
Result<std::unique_ptr<InterruptLine>> make_line(Router& router, std::uint32_t gsi, std::shared_ptr<Pin> pin);

/// A route for `message`, in `router`'s table as long as it lives.
Result<std::unique_ptr<MsiRoute>> make_route(Router& router, const MsiMessage& message);

}  // namespace trivet::kvm
