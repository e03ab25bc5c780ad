// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <trivet/core/backend.hpp>

namespace trivet {

/// A Backend for the registry's tests: it says what it is told to and opens nothing.
class TestBackend final : public Backend {
 public:
  TestBackend(std::string name, int priority, Probe probe)
      : name_(std::move(name)), priority_(priority), probe_(std::move(probe)) {}

  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] int priority() const noexcept override { return priority_; }
  [[nodiscard]] Probe probe() const override { return probe_; }
  Result<std::unique_ptr<Hypervisor>> open() const override { return Error(Errc::unsupported, "open", name_); }

 private:
  std::string name_;
  int priority_;
  Probe probe_;
};

}  // namespace trivet
