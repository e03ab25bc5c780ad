// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "abi/fw_cfg.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fmt/format.h>

#include <boost/endian/conversion.hpp>

#include <trivet/vmm/fw_cfg.hpp>

namespace trivet::vmm {
namespace {

constexpr auto operation = "tell the firmware";
constexpr std::uint64_t selector_port = 0, data_port = 1, dma_high_port = 4, dma_low_port = 8;
constexpr std::string_view signature = "QEMU";
constexpr std::string_view dma_signature = "QEMU CFG";

std::vector<std::byte> bytes_of(std::string_view text) {
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::vector<std::byte> little(std::uint32_t value) {
  std::vector<std::byte> bytes(sizeof value);
  boost::endian::native_to_little_inplace(value);
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

void set_count(std::vector<std::byte>& directory, std::uint32_t count) {
  boost::endian::native_to_big_inplace(count);
  std::memcpy(directory.data(), &count, sizeof count);
}

std::uint32_t big(ConstBytes data) {
  std::uint32_t value = 0;
  std::memcpy(&value, data.data(), sizeof value);
  return boost::endian::big_to_native(value);
}

}  // namespace

FwCfg::FwCfg(std::shared_ptr<const memory::MemoryMap> memory)
    : memory_(std::move(memory)), directory_(items_[abi::fw_cfg_directory]) {
  items_[abi::fw_cfg_signature] = bytes_of(signature);
  items_[abi::fw_cfg_id] = little(abi::fw_cfg_id_traditional | abi::fw_cfg_id_dma);
  directory_.resize(sizeof(std::uint32_t));
  select(abi::fw_cfg_signature);
}

Result<void> FwCfg::add(std::uint16_t key, std::vector<std::byte> content) {
  if (items_.contains(key)) return Error(Errc::already_exists, operation, fmt::format("item {:#x} is there", key));
  items_.emplace(key, std::move(content));
  return {};
}

Result<void> FwCfg::add_file(std::string_view name, std::vector<std::byte> content) {
  if (name.empty() || name.size() >= abi::fw_cfg_name_size) {
    return Error(Errc::invalid_argument, operation, fmt::format("'{}' is no file's name", name));
  }
  const auto count = (directory_.size() - sizeof(std::uint32_t)) / sizeof(abi::FwCfgFile);
  constexpr std::size_t most = 0x4000 - abi::fw_cfg_first_file;  // the keys' upper two bits have meanings of their own
  if (count >= most) return Error(Errc::limit, operation, fmt::format("more than {} files", most));
  abi::FwCfgFile file{};
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(&file, directory_.data() + sizeof(std::uint32_t) + i * sizeof file, sizeof file);
    if (file.name.data() == name) return Error(Errc::already_exists, operation, fmt::format("file {} is there", name));
  }
  file = {};
  file.size = static_cast<std::uint32_t>(content.size());
  const auto key = static_cast<std::uint16_t>(abi::fw_cfg_first_file + count);
  file.key = key;
  std::copy(name.begin(), name.end(), file.name.begin());
  TRIVET_TRY(add(key, std::move(content)));
  const auto entry = std::as_bytes(std::span(&file, 1));
  directory_.insert(directory_.end(), entry.begin(), entry.end());
  set_count(directory_, static_cast<std::uint32_t>(count + 1));
  return {};
}

void FwCfg::select(std::uint16_t key) noexcept {
  const auto found = items_.find(key);
  place_ = {found == items_.end() ? nullptr : &found->second, 0};
}

std::byte FwCfg::next() noexcept {
  if (place_.item == nullptr || place_.offset >= place_.item->size()) return {};
  return (*place_.item)[static_cast<std::size_t>(place_.offset++)];
}

void FwCfg::read(std::uint64_t offset, Bytes data) noexcept {
  std::fill(data.begin(), data.end(), std::byte{0});
  const std::scoped_lock lock(mutex_);
  if (offset == data_port && data.size() == 1) {
    data[0] = next();
  } else if (offset >= dma_high_port && offset + data.size() <= size) {
    std::memcpy(data.data(), dma_signature.data() + (offset - dma_high_port), data.size());
  }
}

void FwCfg::write(std::uint64_t offset, ConstBytes data) noexcept {
  const std::scoped_lock lock(mutex_);
  if (offset == selector_port && data.size() == 2) {
    select(static_cast<std::uint16_t>(std::to_integer<unsigned>(data[0]) | std::to_integer<unsigned>(data[1]) << 8));
  } else if (offset == dma_high_port && data.size() == 4) {
    dma_high_ = big(data);
  } else if (offset == dma_low_port && data.size() == 4) {
    const auto at = std::uint64_t{dma_high_} << 32 | big(data);
    dma_high_ = 0;
    transfer({at});
  }
}

void FwCfg::transfer(GuestAddress descriptor) noexcept {
  const auto memory = memory_->snapshot();
  const auto asked = memory->read_object<abi::FwCfgDma>(descriptor);
  if (!asked) return;
  const bool done = perform(*memory, asked->control.value(), asked->length.value(), {asked->address.value()});
  abi::be32 answer;
  answer = done ? 0 : abi::fw_cfg_dma_error;
  (void)memory->write_object(descriptor, answer);  // a descriptor in read-only memory: it asked for that
}

bool FwCfg::perform(const memory::GuestMemory& memory, std::uint32_t control, std::uint64_t length,
                    GuestAddress to) noexcept {
  if ((control & abi::fw_cfg_dma_select) != 0) select(static_cast<std::uint16_t>(control >> 16));
  const auto left = place_.item == nullptr ? 0 : place_.item->size() - place_.offset;
  const auto there = std::min<std::uint64_t>(length, left);
  if ((control & abi::fw_cfg_dma_read) != 0) {
    if (length > most_transfer) return false;
    if (length == 0) return true;
    if (!memory.check({to, length}, memory::Permission::write)) return false;
    if (there != 0) {
      const auto part = ConstBytes(*place_.item).subspan(static_cast<std::size_t>(place_.offset));
      if (!memory.write(to, part.first(static_cast<std::size_t>(there)))) return false;
    }
    place_.offset += there;
    return there == length || memory.fill({{to.value + there}, length - there}, std::byte{0}).has_value();
  }
  if ((control & abi::fw_cfg_dma_write) != 0) return false;
  if ((control & abi::fw_cfg_dma_skip) != 0) place_.offset += there;
  return true;
}

}  // namespace trivet::vmm
