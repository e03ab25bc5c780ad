// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

#include "context.hpp"

namespace trivet::kvm {

/// Whether this kernel's guest_memfd can be a guest's memory that this process maps, too (Linux 6.18).
[[nodiscard]] bool maps_guest_memfd(const Device& device) noexcept;

/// Memory that KVM owns: `size` bytes, page aligned, all zero, shared with this process from the start. What the kernel
/// says (host). Thread rule: any thread.
/// Source: Linux Documentation/virt/kvm/api.rst, KVM_CREATE_GUEST_MEMFD.
Result<UniqueFd> create_guest_memfd(const Context& context, std::uint64_t size);

}  // namespace trivet::kvm
