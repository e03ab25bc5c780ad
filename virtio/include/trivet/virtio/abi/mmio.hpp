// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <trivet/virtio/abi/endian.hpp>

namespace trivet::virtio::abi {

/// The registers of a device on the MMIO transport, version 2. Each is 32 bits wide and read and written as a whole;
/// the configuration space follows. Source: virtio 1.2, 4.2.2.
struct MmioRegisters {
  le32 magic_value;
  le32 version;
  le32 device_id;
  le32 vendor_id;
  le32 device_features;
  le32 device_features_sel;
  le32 reserved_18[2];
  le32 driver_features;
  le32 driver_features_sel;
  le32 reserved_28[2];
  le32 queue_sel;
  le32 queue_num_max;
  le32 queue_num;
  le32 reserved_3c[2];
  le32 queue_ready;
  le32 reserved_48[2];
  le32 queue_notify;
  le32 reserved_54[3];
  le32 interrupt_status;
  le32 interrupt_ack;
  le32 reserved_68[2];
  le32 status;
  le32 reserved_74[3];
  le32 queue_desc_low;
  le32 queue_desc_high;
  le32 reserved_88[2];
  le32 queue_driver_low;
  le32 queue_driver_high;
  le32 reserved_98[2];
  le32 queue_device_low;
  le32 queue_device_high;
  le32 reserved_a8;
  le32 shm_sel;
  le32 shm_len_low;
  le32 shm_len_high;
  le32 shm_base_low;
  le32 shm_base_high;
  le32 queue_reset;
  le32 reserved_c4[14];
  le32 config_generation;
};
static_assert(sizeof(MmioRegisters) == 0x100);
static_assert(offsetof(MmioRegisters, magic_value) == 0x000);
static_assert(offsetof(MmioRegisters, version) == 0x004);
static_assert(offsetof(MmioRegisters, device_id) == 0x008);
static_assert(offsetof(MmioRegisters, vendor_id) == 0x00c);
static_assert(offsetof(MmioRegisters, device_features) == 0x010);
static_assert(offsetof(MmioRegisters, device_features_sel) == 0x014);
static_assert(offsetof(MmioRegisters, driver_features) == 0x020);
static_assert(offsetof(MmioRegisters, driver_features_sel) == 0x024);
static_assert(offsetof(MmioRegisters, queue_sel) == 0x030);
static_assert(offsetof(MmioRegisters, queue_num_max) == 0x034);
static_assert(offsetof(MmioRegisters, queue_num) == 0x038);
static_assert(offsetof(MmioRegisters, queue_ready) == 0x044);
static_assert(offsetof(MmioRegisters, queue_notify) == 0x050);
static_assert(offsetof(MmioRegisters, interrupt_status) == 0x060);
static_assert(offsetof(MmioRegisters, interrupt_ack) == 0x064);
static_assert(offsetof(MmioRegisters, status) == 0x070);
static_assert(offsetof(MmioRegisters, queue_desc_low) == 0x080);
static_assert(offsetof(MmioRegisters, queue_desc_high) == 0x084);
static_assert(offsetof(MmioRegisters, queue_driver_low) == 0x090);
static_assert(offsetof(MmioRegisters, queue_driver_high) == 0x094);
static_assert(offsetof(MmioRegisters, queue_device_low) == 0x0a0);
static_assert(offsetof(MmioRegisters, queue_device_high) == 0x0a4);
static_assert(offsetof(MmioRegisters, shm_sel) == 0x0ac);
static_assert(offsetof(MmioRegisters, shm_len_low) == 0x0b0);
static_assert(offsetof(MmioRegisters, shm_len_high) == 0x0b4);
static_assert(offsetof(MmioRegisters, shm_base_low) == 0x0b8);
static_assert(offsetof(MmioRegisters, shm_base_high) == 0x0bc);
static_assert(offsetof(MmioRegisters, queue_reset) == 0x0c0);
static_assert(offsetof(MmioRegisters, config_generation) == 0x0fc);

/// "virt", little-endian.
inline constexpr std::uint32_t mmio_magic = 0x74726976;
inline constexpr std::uint32_t mmio_version = 2;
/// Where the device's own configuration space begins. Source: virtio 1.2, 4.2.2.
inline constexpr std::uint32_t mmio_config_offset = 0x100;

// Bits of interrupt_status and interrupt_ack. Source: virtio 1.2, 4.2.2.
inline constexpr std::uint32_t interrupt_used = 1;
inline constexpr std::uint32_t interrupt_config = 2;

}  // namespace trivet::virtio::abi
