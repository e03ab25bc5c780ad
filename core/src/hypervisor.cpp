// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/core/hypervisor.hpp>

namespace trivet {

Result<std::unique_ptr<Succession>> Hypervisor::follow(VmId) {
  return Error::unsupported("follow a VM", to_string(Cap::attach));
}

Result<void> Hypervisor::drop_privileges() {
  return {};
}

}  // namespace trivet
