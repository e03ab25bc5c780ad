// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>

#include <trivet/virtio/abi/endian.hpp>
#include <trivet/virtio/abi/features.hpp>

namespace trivet::virtio::abi {

// Feature bits. Source: virtio 1.2, 5.3.3.
inline constexpr std::uint64_t console_f_size = feature_bit(0);
inline constexpr std::uint64_t console_f_multiport = feature_bit(1);
inline constexpr std::uint64_t console_f_emerg_write = feature_bit(2);

/// The configuration space. Source: virtio 1.2, 5.3.4.
struct ConsoleConfig {
  le16 cols;
  le16 rows;
  le32 max_nr_ports;
  le32 emerg_wr;
};
static_assert(sizeof(ConsoleConfig) == 12);
static_assert(offsetof(ConsoleConfig, cols) == 0);
static_assert(offsetof(ConsoleConfig, rows) == 2);
static_assert(offsetof(ConsoleConfig, max_nr_ports) == 4);
static_assert(offsetof(ConsoleConfig, emerg_wr) == 8);

// Queues of port 0, and with MULTIPORT of control; then two for each further port. Source: virtio 1.2, 5.3.2.
inline constexpr unsigned console_receive_queue = 0;
inline constexpr unsigned console_transmit_queue = 1;
inline constexpr unsigned console_control_receive_queue = 2;
inline constexpr unsigned console_control_transmit_queue = 3;

/// A control message; after NAME and RESIZE more follows. Source: virtio 1.2, 5.3.6.2.
struct ConsoleControl {
  le32 id;  ///< the port
  le16 event;
  le16 value;
};
static_assert(sizeof(ConsoleControl) == 8);
static_assert(offsetof(ConsoleControl, id) == 0);
static_assert(offsetof(ConsoleControl, event) == 4);
static_assert(offsetof(ConsoleControl, value) == 6);

// Events. Source: virtio 1.2, 5.3.6.2.
inline constexpr std::uint16_t console_device_ready = 0;
inline constexpr std::uint16_t console_port_add = 1;
inline constexpr std::uint16_t console_port_remove = 2;
inline constexpr std::uint16_t console_port_ready = 3;
inline constexpr std::uint16_t console_console_port = 4;
inline constexpr std::uint16_t console_resize = 5;
inline constexpr std::uint16_t console_port_open = 6;
inline constexpr std::uint16_t console_port_name = 7;

/// What follows RESIZE. Linux before 6.16 reads the two the other way round. Source: virtio 1.2, 5.3.6.2.
struct ConsoleResize {
  le16 cols;
  le16 rows;
};
static_assert(sizeof(ConsoleResize) == 4);
static_assert(offsetof(ConsoleResize, cols) == 0);
static_assert(offsetof(ConsoleResize, rows) == 2);

}  // namespace trivet::virtio::abi
