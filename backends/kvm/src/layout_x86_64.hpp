// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <trivet/core/address.hpp>

namespace trivet::kvm::layout {

/// On Intel processors KVM needs one page of identity map and three of TSS in guest memory, for real mode. They lie in
/// the hole below 4 GiB, after the LAPIC and before any 16 MiB of firmware. Source: api.rst, KVM_SET_TSS_ADDR.
inline constexpr std::uint64_t identity_map = 0xfeffc000;
inline constexpr std::uint64_t task_state = 0xfeffd000;
inline constexpr GuestRange reserved{{identity_map}, 0x4000};

/// Input pins of the IOAPIC in the kernel: GSIs 0 to 23; the first 16 are the PICs' too.
inline constexpr unsigned ioapic_pins = 24;
inline constexpr unsigned pic_pins = 16;

/// With a split irqchip GSIs below this are for level messages, whose end the kernel tells. It keeps the number in 8
/// bits.
inline constexpr unsigned level_routes = 240;

}  // namespace trivet::kvm::layout
