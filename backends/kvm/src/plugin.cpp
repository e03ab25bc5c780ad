// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The loadable form: what BackendRegistry::load looks for.
#include <trivet/kvm/backend.hpp>

extern "C" {
__attribute__((visibility("default"))) extern const trivet::BackendPlugin trivet_backend;
const trivet::BackendPlugin trivet_backend{trivet::backend_abi_version, &trivet::kvm::backend};
}
