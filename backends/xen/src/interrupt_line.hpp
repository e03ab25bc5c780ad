// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include "irq_router.hpp"

namespace trivet::xen {

/// A line on `pin`, of the pin's trigger.
Result<std::unique_ptr<InterruptLine>> make_line(std::shared_ptr<Pin> pin);

/// A route for `message`. Xen has no table of them: it is told the message each time.
Result<std::unique_ptr<MsiRoute>> make_route(Router& router, const MsiMessage& message);

}  // namespace trivet::xen
