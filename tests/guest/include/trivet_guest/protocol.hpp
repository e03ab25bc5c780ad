// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/// \file
/// What the built-in guest and the host that watches it agree on. Plain constants and one plain struct: compiled
/// into the freestanding guest and into the host program alike.
#pragma once

#include <cstdint>

namespace trivet_guest {

/// The ports the guest uses to speak with the conformance host.
inline constexpr std::uint16_t port_text = 0x5600;    ///< 8-bit: debug text
inline constexpr std::uint16_t port_result = 0x5604;  ///< 32-bit: 0 = done and right, else the guest's source line
inline constexpr std::uint16_t port_sync = 0x5608;    ///< 32-bit write: a stage is reached; the host acts, then goes on
inline constexpr std::uint16_t port_value = 0x560c;   ///< 32-bit write: a value for the host's log
inline constexpr std::uint16_t port_file = 0x5610;    ///< 32-bit: sent before a failing port_result: vector or detail

/// The ports whose accesses the host records; reading returns a pattern (see test_pattern).
inline constexpr std::uint16_t port_window = 0x5700;
inline constexpr std::uint16_t port_window_size = 0x40;
/// A port for doorbells, and one whose writes may be posted.
inline constexpr std::uint16_t port_doorbell = 0x5740;
inline constexpr std::uint16_t port_posted = 0x5750;
/// Ports nobody claims.
inline constexpr std::uint16_t port_hole = 0x5760;

/// The memory window whose accesses the host records; reading returns a pattern (see test_pattern), or what was
/// written there. Two pages and more, so that an access can cross from one into the next.
inline constexpr std::uint64_t mmio_window = 0xd000'0000;
inline constexpr std::uint64_t mmio_window_size = 0x4000;
inline constexpr std::uint64_t mmio_doorbell = 0xd001'0000;
inline constexpr std::uint64_t mmio_posted = 0xd002'0000;
inline constexpr std::uint64_t mmio_hole = 0xd010'0000;

/// Guest RAM that the conformance host gives, from address zero.
inline constexpr std::uint64_t ram_size = 0x0100'0000;
/// Scratch pages inside RAM, far from the image.
inline constexpr std::uint64_t scratch = 0x0080'0000;
inline constexpr std::uint64_t scratch_pages = 512;
/// Where the host maps the regions that are not plain RAM.
inline constexpr std::uint64_t rom_region = 0x0200'0000;
inline constexpr std::uint64_t moving_region = 0x0300'0000;
inline constexpr std::uint64_t high_region = 0x1'4000'0000;
inline constexpr std::uint64_t region_size = 0x0001'0000;

/// One page of RAM both sides read and write.
inline constexpr std::uint64_t mailbox_address = 0x5000;
inline constexpr int mailbox_words = 32;

struct Mailbox {
  std::uint64_t argument[mailbox_words];  ///< host to guest, set before start or at a stage
  std::uint64_t result[mailbox_words];    ///< guest to host
  std::uint64_t go;                       ///< host to guest while running
  std::uint64_t count;                    ///< guest to host while running
};

/// The byte a read of the test windows returns at `offset`, before anything is written there.
constexpr std::uint8_t test_pattern(std::uint64_t offset) {
  return static_cast<std::uint8_t>(0x5a ^ (offset * 7) ^ (offset >> 8));
}

}  // namespace trivet_guest
