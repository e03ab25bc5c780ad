// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/vm.hpp>
#include <trivet/virtio/pci/function.hpp>

namespace trivet::vmm {

/// Memory of this process's at one place of a guest or at none, and taken out of it at the end. What is pointed to
/// outlives it. Thread rule: one thread at a time; vCPUs may run.
class MappedMemory {
 public:
  MappedMemory(Vm& vm, std::vector<pci::BarMemory> pieces) noexcept : vm_(vm), pieces_(std::move(pieces)) {}
  ~MappedMemory() { (void)unmap(); }
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  /// Puts all pieces there, or takes them out. Errors are those of Vm::map and Vm::unmap; after the former it is
  /// nowhere, after the latter where it was.
  Result<void> move_to(std::optional<GuestAddress> at);

  [[nodiscard]] const std::optional<GuestAddress>& at() const noexcept { return at_; }

 private:
  Result<void> unmap() noexcept;
  [[nodiscard]] GuestRange range_of(const pci::BarMemory& piece) const noexcept;

  Vm& vm_;
  std::vector<pci::BarMemory> pieces_;
  std::size_t mapped_ = 0;  // of them, from the first on
  std::optional<GuestAddress> at_;
};

}  // namespace trivet::vmm
