// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/xen/backend.hpp>

#include "device.hpp"
#include "hypervisor.hpp"

namespace trivet::xen {
namespace {

class XenBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "xen"; }
  // Above KVM: a host that runs on Xen has no KVM of its own.
  [[nodiscard]] int priority() const noexcept override { return 200; }

  [[nodiscard]] Probe probe() const override {
    const auto device = open_device();
    if (!device) return {false, to_string(device.error())};
    return {true, "Xen " + device->version()};
  }

  Result<std::unique_ptr<Hypervisor>> open() const override { return XenHypervisor::open(); }
};

}  // namespace

std::unique_ptr<Backend> backend() {
  return std::make_unique<XenBackend>();
}

}  // namespace trivet::xen
