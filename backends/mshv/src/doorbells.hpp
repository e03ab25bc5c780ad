// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/doorbell.hpp>

#include "context.hpp"

namespace trivet::mshv {

/// Doorbells as ioeventfds. For memory only. Source: include/uapi/linux/mshv.h, MSHV_IOEVENTFD.
class KernelDoorbells final : public Doorbells {
 public:
  explicit KernelDoorbells(const Context& context) noexcept : context_(context) {}
  Result<std::unique_ptr<Doorbell>> create(const DoorbellSpec& spec) override;

 private:
  const Context& context_;
};

}  // namespace trivet::mshv
