// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Bit tests. Source: Intel SDM volume 2, BT, BTC, BTR, BTS.
#include "execute.hpp"

namespace trivet::mshv::emulator {

/// In memory a bit offset from a register reaches beyond the operand, to both sides.
Status Execution::bit_test() {
  const Operand& to = in_.operands[0];
  const Operand& by = in_.operands[1];
  const unsigned bits = 8U * in_.bytes;
  const std::uint64_t offset = load({&by, {}});
  const std::uint64_t bit = std::uint64_t{1} << (offset & (bits - 1));
  Place place{&to, {}};
  if (to.kind == Operand::Kind::memory) {
    std::uint64_t address = effective_address();
    if (by.kind == Operand::Kind::gp) {
      const auto signed_offset = static_cast<std::int64_t>(sign_extend(offset, in_.bytes));
      address += static_cast<std::uint64_t>((signed_offset >> std::countr_zero(bits)) * in_.bytes);
    }
    const auto intent = in_.operation == Operation::bt ? Intent::read : Intent::write;
    if (!access_.locate(static_cast<SegmentIndex>(in_.segment), address & value_mask(in_.address_bytes), in_.bytes,
                        intent, place.location)) {
      return Status::fault;
    }
  }
  while (true) {
    const std::uint64_t before = load(place);
    std::uint64_t after = before;
    if (in_.operation == Operation::bts) after |= bit;
    if (in_.operation == Operation::btr) after &= ~bit;
    if (in_.operation == Operation::btc) after ^= bit;
    if (in_.operation != Operation::bt && !replace(place, before, after)) continue;
    set_flags(state_.rflags, flag_carry, flag_if((before & bit) != 0, flag_carry));
    return Status::done;
  }
}

}  // namespace trivet::mshv::emulator
