// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/result.hpp>

#include "domctl.hpp"

namespace trivet::xen {

/// Xen's control interface on this host, or the reason why not, with what to do about it: no Xen, no device, no
/// permission, not the control domain, libraries of another release. Changes nothing, quick.
Result<Domctl> open_device();

}  // namespace trivet::xen
