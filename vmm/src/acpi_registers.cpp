// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>

#include <trivet/vmm/acpi_registers.hpp>
#include <trivet/vmm/layout_x86_64.hpp>

namespace trivet::vmm {
namespace {

constexpr std::uint64_t sleep_control = 0;
constexpr std::uint64_t reset = layout::reset_port - layout::sleep_control_port;
static_assert(layout::sleep_status_port == layout::sleep_control_port + 1);
static_assert(reset == 2, "the three registers lie side by side");

}  // namespace

void AcpiRegisters::read(std::uint64_t, Bytes data) noexcept {
  std::fill(data.begin(), data.end(), std::byte{0});
}

void AcpiRegisters::write(std::uint64_t offset, ConstBytes data) noexcept {
  const auto value = std::to_integer<std::uint8_t>(data[0]);
  if (offset == sleep_control && (value & layout::sleep_enable) != 0 &&
      (value & layout::sleep_type_mask) >> layout::sleep_type_shift == layout::soft_off_type) {
    power_.power_off();
  } else if (offset == reset && value == layout::reset_value) {
    power_.reset();
  }
}

}  // namespace trivet::vmm
