// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Moves of XMM registers. Source: Intel SDM volume 2; what faults: volume 3, 2.5 and table 2-2.
#include <algorithm>
#include <cstring>

#include "execute.hpp"

namespace trivet::mshv::emulator {

Status Execution::sse_load(const Operand& from, unsigned index) {
  const bool from_xmm = from.kind == Operand::Kind::xmm;
  const bool merge_low = in_.sse == SseMove::merge_low || (in_.sse == SseMove::scalar && from_xmm);
  const bool merges = merge_low || in_.sse == SseMove::merge_high;
  Xmm value{};
  Xmm taken{};
  if (from.kind == Operand::Kind::memory) {
    Location location;
    const unsigned alignment = in_.sse == SseMove::whole_aligned ? 16 : 1;
    if (!access_.locate(static_cast<SegmentIndex>(in_.segment), effective_address(), in_.bytes, Intent::read, location,
                        alignment)) {
      return Status::fault;
    }
    if (merges && !cpu_.read_xmm(index, value)) return Status::host_failure;
    access_.read(location, taken.data());
  } else if (from_xmm) {
    if (!cpu_.read_xmm(from.index, taken) || (merges && !cpu_.read_xmm(index, value))) return Status::host_failure;
  } else {
    std::memcpy(taken.data(), &state_.gp[from.index], from.bytes);
  }
  std::copy_n(taken.begin(), in_.bytes, value.begin() + (in_.sse == SseMove::merge_high ? 8 : 0));
  return cpu_.write_xmm(index, value) ? Status::done : Status::host_failure;
}

Status Execution::sse_store(const Operand& to, unsigned index) {
  Xmm value{};
  if (!cpu_.read_xmm(index, value)) return Status::host_failure;
  const std::byte* const from = value.data() + (in_.sse == SseMove::merge_high ? 8 : 0);
  if (to.kind == Operand::Kind::gp) {
    std::uint64_t word = 0;
    std::memcpy(&word, from, to.bytes);
    set_gp(to.index, word, to.bytes);
    return Status::done;
  }
  Location location;
  const unsigned alignment = in_.sse == SseMove::whole_aligned ? 16 : 1;
  if (!access_.locate(static_cast<SegmentIndex>(in_.segment), effective_address(), in_.bytes, Intent::write, location,
                      alignment)) {
    return Status::fault;
  }
  access_.write(location, from);
  return Status::done;
}

Status Execution::sse_move() {
  if ((state_.cr0 & cr0_emulation) != 0 || (state_.cr4 & cr4_osfxsr) == 0) {
    access_.raise(Vector::invalid_opcode);
    return Status::fault;
  }
  if ((state_.cr0 & cr0_task_switched) != 0) {
    access_.raise(Vector::device_not_available);
    return Status::fault;
  }
  const auto& [to, from, none] = in_.operands;
  return to.kind == Operand::Kind::xmm ? sse_load(from, to.index) : sse_store(to, from.index);
}

}  // namespace trivet::mshv::emulator
