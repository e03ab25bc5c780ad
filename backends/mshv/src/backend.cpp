// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/mshv/backend.hpp>

#include "device.hpp"
#include "hypervisor.hpp"

namespace trivet::mshv {
namespace {

class MshvBackend final : public Backend {
 public:
  explicit MshvBackend(const System& system) noexcept : system_(system) {}
  [[nodiscard]] std::string_view name() const noexcept override { return "mshv"; }
  [[nodiscard]] int priority() const noexcept override { return 90; }

  [[nodiscard]] Probe probe() const override {
    const auto device = open_device(system_);
    if (!device) return {false, to_string(device.error())};
    return {true, "MSHV, interface of Linux 6.15"};
  }

  Result<std::unique_ptr<Hypervisor>> open() const override { return MshvHypervisor::open(system_); }

 private:
  const System& system_;
};

}  // namespace

std::unique_ptr<Backend> backend() {
  return backend(kernel_system());
}

std::unique_ptr<Backend> backend(const System& system) {
  return std::make_unique<MshvBackend>(system);
}

}  // namespace trivet::mshv
