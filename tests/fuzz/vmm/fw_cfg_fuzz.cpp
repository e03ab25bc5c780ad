// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest at what a machine with firmware has besides: any port at any width, descriptors of its making in 64 KiB of
// memory. Items never change, and DMA never leaves what it was given.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/test/require.hpp>
#include <trivet/vmm/acpi_fixed_hardware.hpp>
#include <trivet/vmm/fw_cfg.hpp>

namespace {

using namespace trivet;
using test::require;

constexpr std::uint64_t ram = 0x10000;
constexpr std::uint16_t item = 0x1000;

std::vector<std::byte> content() {
  std::vector<std::byte> bytes(300);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 3 + 1);
  return bytes;
}

struct Power final : vmm::PowerControl {
  void power_off() noexcept override {}
  void reset() noexcept override {}
  void crash() noexcept override {}
};

class Guest {
 public:
  Guest() {
    auto mapping = *memory::Mapping::anonymous(ram);
    auto rom = *memory::Mapping::anonymous(0x1000);
    memory::GuestMemory::Regions regions{*memory::Region::create({0}, std::move(mapping)),
                                         *memory::Region::create({ram}, std::move(rom), {Access::read_only})};
    map_ = std::make_shared<memory::MemoryMap>(*memory::GuestMemory::create(std::move(regions)));
    fw_cfg_ = std::make_unique<vmm::FwCfg>(map_);
    require(fw_cfg_->add(item, content()).has_value());
    require(fw_cfg_->add_file("etc/file", content()).has_value());
  }

  /// One access to the ports; or bytes into memory, where descriptors are.
  void step(std::uint8_t what, std::uint16_t where, std::uint32_t value) {
    std::array<std::byte, 4> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    if ((what & 1) != 0) {
      (void)map_->snapshot()->write({where}, bytes);
      return;
    }
    const auto width = std::size_t{1} << (what >> 1) % 3;
    const auto offset = where % (vmm::FwCfg::size - width + 1);
    const auto part = std::span(bytes).first(width);
    if ((what & 0x40) != 0) {
      const auto at = where % (vmm::AcpiFixedHardware::size - width + 1);
      return (what & 0x80) != 0 ? acpi_.read(at, part) : acpi_.write(at, part);
    }
    (what & 0x80) != 0 ? fw_cfg_->read(offset, part) : fw_cfg_->write(offset, part);
  }

  void check() {
    fw_cfg_->write(0, std::as_bytes(std::span(&item, 1)));
    for (const auto expected : content()) {
      std::byte got{};
      fw_cfg_->read(1, {&got, 1});
      require(got == expected);
    }
    std::byte after{1};
    fw_cfg_->read(1, {&after, 1});
    require(after == std::byte{0});
    std::array<std::byte, 0x1000> rom{};
    require(map_->snapshot()->read({ram}, rom).has_value());
    for (const auto byte : rom) require(byte == std::byte{0});
  }

 private:
  Power power_;
  vmm::AcpiFixedHardware acpi_{power_};
  std::shared_ptr<memory::MemoryMap> map_;
  std::unique_ptr<vmm::FwCfg> fw_cfg_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Guest guest;
  for (; size >= 7; data += 7, size -= 7) {
    std::uint16_t where = 0;
    std::uint32_t value = 0;
    std::memcpy(&where, data + 1, sizeof where);
    std::memcpy(&value, data + 3, sizeof value);
    guest.step(data[0], where, value);
  }
  guest.check();
  return 0;
}
