// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Who may use a port. Source: Intel SDM volume 1, 19.5.2.
#include "execute.hpp"

namespace trivet::mshv::emulator {

bool Execution::may_use_port(std::uint16_t port, unsigned bytes) {
  if ((state_.cr0 & cr0_protection) == 0) return true;
  if (!is_vm86(state_) && privilege(state_) <= io_privilege(state_)) return true;

  constexpr std::uint32_t bitmap_offset_at = 102;
  constexpr std::uint8_t type_is_wide = 8;  // a 16-bit task state has no bitmap
  const Segment& task = state_.tr;
  if (task.unusable || !task.present || (task.type & type_is_wide) == 0 || task.limit < bitmap_offset_at + 1) {
    return access_.raise(Vector::general_protection);
  }
  Location location;
  std::uint16_t offset = 0;
  if (!access_.locate_table(task.base + bitmap_offset_at, 2, Intent::read, location)) return false;
  access_.read(location, &offset);
  const std::uint32_t at = offset + port / 8U;
  if (at + 1 > task.limit) return access_.raise(Vector::general_protection);
  std::uint16_t bitmap = 0;
  if (!access_.locate_table(task.base + at, 2, Intent::read, location)) return false;
  access_.read(location, &bitmap);
  const unsigned wanted = ((1U << bytes) - 1) << (port % 8U);
  return (bitmap & wanted) == 0 || access_.raise(Vector::general_protection);
}

}  // namespace trivet::mshv::emulator
