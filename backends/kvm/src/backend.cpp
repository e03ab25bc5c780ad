// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <string>

#include <trivet/kvm/backend.hpp>

#include "abi.hpp"
#include "device.hpp"
#include "hypervisor.hpp"

namespace trivet::kvm {
namespace {

constexpr const char* device_path = "/dev/kvm";

class KvmBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "kvm"; }
  [[nodiscard]] int priority() const noexcept override { return 100; }

  [[nodiscard]] Probe probe() const override {
    const auto device = Device::open(device_path);
    if (!device) return {false, to_string(device.error())};
    return {true, "KVM API " + std::to_string(KVM_API_VERSION)};
  }

  Result<std::unique_ptr<Hypervisor>> open() const override { return KvmHypervisor::open(device_path); }
};

}  // namespace

std::unique_ptr<Backend> backend() {
  return std::make_unique<KvmBackend>();
}

}  // namespace trivet::kvm
