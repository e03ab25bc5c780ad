// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

#include "quirks.hpp"

namespace trivet::kvm {

/// An open /dev/kvm that was found able. Thread rule: any thread.
class Device {
 public:
  /// Errors say what a person can do: no device, no permission, another API, a kernel too old (host).
  static Result<Device> open(const std::string& path);

  [[nodiscard]] int fd() const noexcept { return fd_.value(); }
  /// KVM_CHECK_EXTENSION: 0 where the kernel has no such capability.
  [[nodiscard]] int extension(int capability) const noexcept;
  /// Bytes of a vCPU's shared page(s), for mmap.
  [[nodiscard]] std::size_t run_size() const noexcept { return run_size_; }
  /// Tried at the first call.
  [[nodiscard]] const Quirks& quirks() const noexcept;

 private:
  Device(UniqueFd fd, std::size_t run_size) noexcept : fd_(std::move(fd)), run_size_(run_size) {}
  struct LazyQuirks {
    std::once_flag once;
    Quirks quirks;
  };
  UniqueFd fd_;
  std::size_t run_size_;
  std::unique_ptr<LazyQuirks> quirks_ = std::make_unique<LazyQuirks>();
};

/// What to do about `os_errno` from opening `path`.
[[nodiscard]] Error open_error(int os_errno, const std::string& path);

}  // namespace trivet::kvm
