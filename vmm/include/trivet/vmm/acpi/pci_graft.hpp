// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>
#include <trivet/vmm/platform_info.hpp>

namespace trivet::vmm {

/// Adds a PCI host to the ACPI tables that somebody else gave a guest: a toolstack gives a Xen PVH guest none, and
/// without one Linux looks at no bus. The guest must not have started: it reads its tables once.
///
/// Looks for the root pointer in `area`, and puts an SSDT with the PCI host and a longer copy of the XSDT behind it,
/// in the rest of its page, which is zeros where libxl made it. No MCFG: configuration goes through the ports.
/// Adding it again changes nothing. Errors: `not_found` when there is no root pointer there, `malformed` when a table
/// does not add up (whoever made it), `limit` when there is no room; nothing was changed then. Any thread.
/// Source: ACPI 6.5, 5.2.5 (root pointer), 5.2.8 (XSDT), 5.2.11.2 (SSDT).
Result<void> graft_pci_host(const memory::GuestMemory& memory, const GuestRange& area, const PciInfo& pci);

}  // namespace trivet::vmm
