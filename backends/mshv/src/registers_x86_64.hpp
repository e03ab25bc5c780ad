// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <trivet/core/registers_x86_64.hpp>

#include "abi_messages.hpp"

namespace trivet::mshv {

// Between the hypervisor's registers and the neutral ones; pure.

[[nodiscard]] Segment from_hypervisor(const abi::SegmentRegister& from);
[[nodiscard]] abi::SegmentRegister to_hypervisor(const Segment& from);
[[nodiscard]] Segment segment_of(const abi::RegisterValue& value);
[[nodiscard]] abi::RegisterValue value_of(const Segment& segment);
[[nodiscard]] DescriptorTable table_of(const abi::RegisterValue& value);
[[nodiscard]] abi::RegisterValue value_of(const DescriptorTable& table);

/// rax, rcx, ... r15, rip, rflags.
inline constexpr std::size_t general_count = 18;
[[nodiscard]] std::array<std::uint32_t, general_count> general_names();
[[nodiscard]] GeneralRegisters general_from(std::span<const abi::RegisterValue, general_count> values);
[[nodiscard]] std::array<std::uint64_t, general_count> general_values(const GeneralRegisters& from);

/// In the order of `system_names`.
inline constexpr std::size_t system_count = 17;
[[nodiscard]] std::array<std::uint32_t, system_count> system_names();
[[nodiscard]] SystemRegisters system_from(std::span<const abi::RegisterValue, system_count> values);
[[nodiscard]] std::array<abi::RegisterValue, system_count> system_values(const SystemRegisters& from);

/// PENDING_INTERRUPTION, INTERRUPT_STATE, PENDING_EVENT0.
inline constexpr std::array<std::uint32_t, 3> event_names{abi::reg::pending_interruption, abi::reg::interrupt_state,
                                                          abi::reg::pending_event0};
[[nodiscard]] PendingEvents events_from(std::span<const abi::RegisterValue, 3> values);
[[nodiscard]] std::array<abi::RegisterValue, 3> event_values(const PendingEvents& from);
/// An exception that the next entry delivers.
[[nodiscard]] std::uint64_t interruption_of(const Exception& exception);

}  // namespace trivet::mshv
