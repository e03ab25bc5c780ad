// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <trivet/core/backend.hpp>

namespace trivet::xen {

/// The Xen backend, for the control domain (dom0), named "xen". Give it to a BackendRegistry. Thread rule: any thread.
/// Source: Xen's public headers and libraries.
[[nodiscard]] std::unique_ptr<Backend> backend();

}  // namespace trivet::xen
