// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include <trivet/core/registers_x86_64.hpp>

namespace trivet {

/// Copies guest memory; false where nothing is mapped.
using ReadGuest = std::function<bool(GuestAddress at, void* to, std::size_t bytes)>;

/// Walks the page tables that `system` says are in force; nothing where the address is not mapped. For backends whose
/// hypervisor has no translation, or one that tells only half of it (KVM invents the permissions). Pure but for `read`;
/// any thread. Source: Intel SDM volume 3, chapter 4.
std::optional<Translation> walk_pages(const SystemRegisters& system, GuestVirtualAddress at, const ReadGuest& read);

}  // namespace trivet
