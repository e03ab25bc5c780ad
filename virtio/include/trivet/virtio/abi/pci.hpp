// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>

#include <trivet/virtio/abi/endian.hpp>

/// The PCI transport, modern devices only. Source: virtio 1.2, 4.1.
namespace trivet::virtio::abi {

// 4.1.2: who the function is. A modern device's id is this and the device type; its revision is 1 or higher.
inline constexpr std::uint16_t pci_vendor_id = 0x1af4;
inline constexpr std::uint16_t pci_first_device_id = 0x1040;
inline constexpr std::uint8_t pci_revision = 1;
/// 4.1.2.1: at least this, so that legacy drivers leave the device alone.
inline constexpr std::uint16_t pci_least_subsystem_id = 0x40;

/// 4.1.4 struct virtio_pci_cap: a vendor capability that says where in a BAR a structure lies.
struct PciCap {
  u8 cap_vndr;
  u8 cap_next;
  u8 cap_len;
  u8 cfg_type;
  u8 bar;
  u8 id;
  u8 padding[2];
  le32 offset;
  le32 length;
};
static_assert(sizeof(PciCap) == 16);
static_assert(offsetof(PciCap, cfg_type) == 3 && offsetof(PciCap, bar) == 4);
static_assert(offsetof(PciCap, offset) == 8 && offsetof(PciCap, length) == 12);

// 4.1.4: cfg_type.
inline constexpr std::uint8_t pci_cap_common_cfg = 1;
inline constexpr std::uint8_t pci_cap_notify_cfg = 2;
inline constexpr std::uint8_t pci_cap_isr_cfg = 3;
inline constexpr std::uint8_t pci_cap_device_cfg = 4;
inline constexpr std::uint8_t pci_cap_pci_cfg = 5;
inline constexpr std::uint8_t pci_cap_shared_memory_cfg = 8;
inline constexpr std::uint8_t pci_cap_vendor_cfg = 9;

/// 4.1.4 struct virtio_pci_cap64: for offsets and lengths beyond 32 bits.
struct PciCap64 {
  PciCap cap;
  le32 offset_hi;
  le32 length_hi;
};
static_assert(sizeof(PciCap64) == 24);
static_assert(offsetof(PciCap64, offset_hi) == 16 && offsetof(PciCap64, length_hi) == 20);

/// 4.1.4.4 struct virtio_pci_notify_cap
struct PciNotifyCap {
  PciCap cap;
  le32 notify_off_multiplier;
};
static_assert(sizeof(PciNotifyCap) == 20 && offsetof(PciNotifyCap, notify_off_multiplier) == 16);

/// 4.1.4.9 struct virtio_pci_cfg_cap: a window through which configuration accesses reach the BARs.
struct PciCfgCap {
  PciCap cap;
  u8 pci_cfg_data[4];
};
static_assert(sizeof(PciCfgCap) == 20 && offsetof(PciCfgCap, pci_cfg_data) == 16);

/// 4.1.4.3 struct virtio_pci_common_cfg; the names, and the administration queues, are of 1.3.
struct PciCommonCfg {
  le32 device_feature_select;
  le32 device_feature;
  le32 driver_feature_select;
  le32 driver_feature;
  le16 config_msix_vector;
  le16 num_queues;
  u8 device_status;
  u8 config_generation;
  le16 queue_select;
  le16 queue_size;
  le16 queue_msix_vector;
  le16 queue_enable;
  le16 queue_notify_off;
  le64 queue_desc;
  le64 queue_driver;
  le64 queue_device;
  le16 queue_notif_config_data;
  le16 queue_reset;
  le16 admin_queue_index;
  le16 admin_queue_num;
};
inline constexpr std::uint32_t pci_common_cfg_size = 0x3c;  ///< without administration queues
static_assert(offsetof(PciCommonCfg, device_feature_select) == 0x00);
static_assert(offsetof(PciCommonCfg, device_feature) == 0x04);
static_assert(offsetof(PciCommonCfg, driver_feature_select) == 0x08);
static_assert(offsetof(PciCommonCfg, driver_feature) == 0x0c);
static_assert(offsetof(PciCommonCfg, config_msix_vector) == 0x10);
static_assert(offsetof(PciCommonCfg, num_queues) == 0x12);
static_assert(offsetof(PciCommonCfg, device_status) == 0x14);
static_assert(offsetof(PciCommonCfg, config_generation) == 0x15);
static_assert(offsetof(PciCommonCfg, queue_select) == 0x16);
static_assert(offsetof(PciCommonCfg, queue_size) == 0x18);
static_assert(offsetof(PciCommonCfg, queue_msix_vector) == 0x1a);
static_assert(offsetof(PciCommonCfg, queue_enable) == 0x1c);
static_assert(offsetof(PciCommonCfg, queue_notify_off) == 0x1e);
static_assert(offsetof(PciCommonCfg, queue_desc) == 0x20);
static_assert(offsetof(PciCommonCfg, queue_driver) == 0x28);
static_assert(offsetof(PciCommonCfg, queue_device) == 0x30);
static_assert(offsetof(PciCommonCfg, queue_notif_config_data) == 0x38);
static_assert(offsetof(PciCommonCfg, queue_reset) == 0x3a);
static_assert(offsetof(PciCommonCfg, admin_queue_index) == 0x3c);
static_assert(offsetof(PciCommonCfg, admin_queue_num) == 0x3e);
static_assert(sizeof(PciCommonCfg) == 0x40);

/// 4.1.4.3: VIRTIO_MSI_NO_VECTOR
inline constexpr std::uint16_t pci_no_vector = 0xffff;

// 4.1.4.5: bits of the ISR status, which are cleared by the read.
inline constexpr std::uint8_t pci_isr_queue = 1;
inline constexpr std::uint8_t pci_isr_config = 2;

}  // namespace trivet::virtio::abi
