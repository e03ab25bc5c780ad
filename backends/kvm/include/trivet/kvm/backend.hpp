// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <trivet/core/backend.hpp>

namespace trivet::kvm {

/// The KVM backend: Linux's /dev/kvm, named "kvm". Give it to a BackendRegistry. Thread rule: any thread.
/// Source: Linux Documentation/virt/kvm/api.rst.
[[nodiscard]] std::unique_ptr<Backend> backend();

}  // namespace trivet::kvm
