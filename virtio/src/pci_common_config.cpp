// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstring>

#include <boost/endian/conversion.hpp>

#include <trivet/virtio/abi/admin.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/abi/pci.hpp>
#include <trivet/virtio/config_space.hpp>
#include <trivet/virtio/pci_transport.hpp>

// The common configuration structure (virtio 1.2, 4.1.4.3).

namespace trivet::virtio {

#define TRIVET_PCI_REGISTER(name) offsetof(abi::PciCommonCfg, name)

namespace {

void set_part(std::uint64_t& field, std::uint32_t part, std::size_t size, std::uint64_t value) {
  if (size == 8) {
    field = value;
  } else if (part == 0) {
    field = (field & ~0xffffffffULL) | value;
  } else {
    field = (field & 0xffffffffULL) | value << 32;
  }
}

/// 4.1.3.1: a field is written with its own width; one of 64 bits also in two halves.
bool natural(std::uint32_t offset, std::size_t size) {
  if (offset >= TRIVET_PCI_REGISTER(queue_desc) && offset < TRIVET_PCI_REGISTER(queue_notif_config_data)) {
    return (size == 8 || size == 4) && offset % size == 0;
  }
  if (offset < TRIVET_PCI_REGISTER(config_msix_vector)) return size == 4 && offset % 4 == 0;
  if (offset == TRIVET_PCI_REGISTER(device_status) || offset == TRIVET_PCI_REGISTER(config_generation))
    return size == 1;
  return size == 2 && offset % 2 == 0;
}

}  // namespace

void PciTransport::read_common(std::uint32_t offset, Bytes data) noexcept {
  const auto lock = side_.lock();
  abi::PciCommonCfg common{};
  common.device_feature_select = side_.device_features_page;
  common.device_feature = side_.device_features();
  common.driver_feature_select = side_.driver_features_page;
  common.driver_feature = side_.driver_features();
  common.config_msix_vector = config_vector_.load();
  // 4.1.4.3: without the administration queue, whose fields are there only if it was negotiated.
  common.num_queues = static_cast<std::uint16_t>(kicks_.size() - admin_queues_);
  if ((side_.features() & abi::f_admin_vq) != 0) {
    common.admin_queue_index = static_cast<std::uint16_t>(kicks_.size() - admin_queues_);
    common.admin_queue_num = static_cast<std::uint16_t>(admin_queues_);
  }
  common.device_status = static_cast<abi::u8>(side_.status());
  common.config_generation = static_cast<abi::u8>(side_.device().config_generation());
  common.queue_select = static_cast<std::uint16_t>(side_.selected_queue);
  if (const auto* queue = side_.selected()) {
    common.queue_size = static_cast<std::uint16_t>(queue->size);
    common.queue_msix_vector = kicks_[side_.selected_queue].vector.load();
    common.queue_enable = queue->ready ? std::uint16_t{1} : std::uint16_t{0};
    common.queue_notify_off = static_cast<std::uint16_t>(side_.selected_queue);
    // 4.1.4.3: there only if it was negotiated; the driver tells it where it would tell the queue's index.
    if ((side_.features() & abi::f_notif_config_data) != 0) {
      common.queue_notif_config_data = static_cast<std::uint16_t>(side_.selected_queue);
    }
    common.queue_desc = queue->descriptor_area;
    common.queue_driver = queue->driver_area;
    common.queue_device = queue->device_area;
  } else {
    common.queue_msix_vector = abi::pci_no_vector;
  }
  // queue_reset is over when its write returns, and reads 0.
  copy_config(common, offset, data);
}

void PciTransport::write_common(std::uint32_t offset, ConstBytes data) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, data.data(), std::min(data.size(), sizeof value));
  boost::endian::little_to_native_inplace(value);
  const auto lock = side_.lock();
  if (!natural(offset, data.size()) || !write_common_field(offset, data.size(), value)) {
    side_.refuse("a common configuration field that is read-only, reserved or of another width, at", offset);
  }
}

bool PciTransport::write_common_field(std::uint32_t offset, std::size_t size, std::uint64_t value) {
  const auto word = static_cast<std::uint32_t>(value);
  const auto half = static_cast<std::uint16_t>(value);
  switch (offset) {
    case TRIVET_PCI_REGISTER(device_feature_select):
      side_.device_features_page = word;
      return true;
    case TRIVET_PCI_REGISTER(driver_feature_select):
      side_.driver_features_page = word;
      return true;
    case TRIVET_PCI_REGISTER(driver_feature):
      side_.write_driver_features(word);
      return true;
    case TRIVET_PCI_REGISTER(config_msix_vector):
      config_vector_ = mapped(half);
      return true;
    case TRIVET_PCI_REGISTER(device_status):
      side_.write_status(word);
      return true;
    case TRIVET_PCI_REGISTER(queue_select):
      side_.selected_queue = word;
      return true;
    case TRIVET_PCI_REGISTER(queue_size):
      if (auto* queue = side_.selected_open(offset)) queue->size = word;
      return true;
    case TRIVET_PCI_REGISTER(queue_msix_vector):
      if (side_.selected() == nullptr) return false;
      kicks_[side_.selected_queue].vector = mapped(half);
      return true;
    case TRIVET_PCI_REGISTER(queue_enable):
      // 4.1.4.3.2: the driver must not write 0.
      word == 1 ? side_.enable_selected() : side_.refuse("queue_enable", word);
      return true;
    case TRIVET_PCI_REGISTER(queue_reset):
      if (word != 1) return false;
      side_.reset_selected();
      if (const auto* queue = side_.selected(); queue != nullptr && queue->was_reset) {
        kicks_[side_.selected_queue].vector = abi::pci_no_vector;  // 2.6.1.1: as at first
      }
      return true;
    default:
      return write_queue_address(offset, size, value);
  }
}

bool PciTransport::write_queue_address(std::uint32_t offset, std::size_t size, std::uint64_t value) {
  constexpr auto first = static_cast<std::uint32_t>(TRIVET_PCI_REGISTER(queue_desc));
  constexpr auto end = static_cast<std::uint32_t>(TRIVET_PCI_REGISTER(queue_notif_config_data));
  if (offset < first || offset >= end) return false;
  auto* queue = side_.selected_open(offset);
  if (queue == nullptr) return true;
  const std::array fields{&queue->descriptor_area, &queue->driver_area, &queue->device_area};
  set_part(*fields.at((offset - first) / 8), (offset - first) % 8, size, value);
  return true;
}

/// 4.1.5.1.2: the vector if it can be mapped, else NO_VECTOR, which the driver reads back.
std::uint16_t PciTransport::mapped(std::uint16_t vector) noexcept {
  if (vector == abi::pci_no_vector) return vector;
  const auto reserved = msix_->reserve(vector);
  if (reserved) return vector;
  reserved.error().blame() == Blame::guest ? side_.refuse("a vector that the function does not have:", vector)
                                           : side_.host_error(reserved.error());
  return abi::pci_no_vector;
}

#undef TRIVET_PCI_REGISTER

}  // namespace trivet::virtio
