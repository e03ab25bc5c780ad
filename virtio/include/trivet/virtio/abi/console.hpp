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

// Queues of port 0. Source: virtio 1.2, 5.3.2.
inline constexpr unsigned console_receive_queue = 0;
inline constexpr unsigned console_transmit_queue = 1;

}  // namespace trivet::virtio::abi
