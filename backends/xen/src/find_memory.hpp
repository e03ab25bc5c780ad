// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>

#include "context.hpp"

namespace trivet::xen {

/// Where the domain has memory inside `within`: looks at the first page of each 2 MiB, and at every page of those that
/// have one. Beyond 4 GiB, where toolstacks leave no holes, it stops at the first GiB that is empty.
/// `invalid_argument` when `within` is no range (caller). Any thread.
Result<std::vector<GuestRange>> find_memory(const Context& context, const GuestRange& within);

}  // namespace trivet::xen
