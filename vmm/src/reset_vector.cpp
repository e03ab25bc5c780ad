// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "reset_vector.hpp"

#include <array>

#include <trivet/vmm/layout_x86_64.hpp>

namespace trivet::vmm {
namespace {

constexpr GuestAddress vector{0xf'fff0};
constexpr std::array<std::uint8_t, 9> code{
    0xba,
    layout::reset_port & 0xff,
    layout::reset_port >> 8,  // mov dx, reset_port
    0xb0,
    layout::reset_value,  // mov al, reset_value
    0xee,                 // out dx, al
    0xf4,                 // hlt
    0xeb,
    0xfd,  // jmp to the hlt
};
static_assert(layout::acpi_tables.contains(vector, code.size()), "in what the guest is told to leave alone");

}  // namespace

Result<void> write_reset_vector(const memory::GuestMemory& memory) {
  return memory.write(vector, std::as_bytes(std::span(code)));
}

}  // namespace trivet::vmm
