// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A loadable backend for the registry's tests; built twice, once claiming another version.
#include "test_backend.hpp"

namespace {

std::unique_ptr<trivet::Backend> create(const trivet::kick_signal::Service& kick) {
  trivet::kick_signal::adopt(kick);
  const auto installed = trivet::kick_signal::install();
  return std::make_unique<trivet::TestBackend>(
      "test", 1, trivet::Probe{installed.has_value(), installed ? "loaded" : to_string(installed.error())});
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const trivet::BackendPlugin trivet_backend;
const trivet::BackendPlugin trivet_backend{TRIVET_TEST_ABI_VERSION, create};
