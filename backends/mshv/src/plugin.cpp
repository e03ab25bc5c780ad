// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The loadable form: what BackendRegistry::load looks for.
#include <trivet/mshv/backend.hpp>

namespace {

std::unique_ptr<trivet::Backend> create(const trivet::kick_signal::Service& kick) {
  trivet::kick_signal::adopt(kick);
  return trivet::mshv::backend();
}

}  // namespace

extern "C" {
__attribute__((visibility("default"))) extern const trivet::BackendPlugin trivet_backend;
const trivet::BackendPlugin trivet_backend{trivet::backend_abi_version, create};
}
