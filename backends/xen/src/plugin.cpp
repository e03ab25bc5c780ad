// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/xen/backend.hpp>

namespace {

std::unique_ptr<trivet::Backend> create(const trivet::kick_signal::Service& kick) {
  trivet::kick_signal::adopt(kick);
  return trivet::xen::backend();
}

}  // namespace

extern "C" {
__attribute__((visibility("default"))) extern const trivet::BackendPlugin trivet_backend;
const trivet::BackendPlugin trivet_backend{trivet::backend_abi_version, create};
}
