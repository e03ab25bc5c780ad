// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "compare.hpp"

#include <cstring>
#include <fmt/format.h>

#include "exemptions.hpp"

namespace diff {
namespace {

constexpr std::uint64_t resume = 0x10000;

/// Flags that an exception's frame does not tell about: RF, which the delivery sets by the vector.
std::uint64_t flags_mask(const Case& test, const Result& result) {
  return ~(test.undefined_flags | (result.kind == Result::Kind::exception ? resume : 0));
}

std::string compare_registers(const Case& test, const Result& theirs, const Result& ours) {
  for (unsigned i = 0; i < 16; ++i) {
    if (theirs.gp[i] != ours.gp[i]) return fmt::format("register {}: {:x}, ours {:x}", i, theirs.gp[i], ours.gp[i]);
  }
  if (theirs.rip != ours.rip) return fmt::format("rip: {:x}, ours {:x}", theirs.rip, ours.rip);
  const auto mask = flags_mask(test, theirs);
  if ((theirs.rflags & mask) != (ours.rflags & mask)) {
    return fmt::format("rflags: {:x}, ours {:x}", theirs.rflags & mask, ours.rflags & mask);
  }
  for (unsigned i = 0; test.uses_xmm && i < 16; ++i) {
    if (theirs.xmm[i] != ours.xmm[i]) return fmt::format("xmm{}", i);
  }
  for (unsigned i = 0; theirs.kind == Result::Kind::done && i < 6; ++i) {
    if (theirs.selectors[i] != ours.selectors[i]) {
      return fmt::format("segment {}: {:x}, ours {:x}", i, theirs.selectors[i], ours.selectors[i]);
    }
    // What a null selector leaves of the base is the processor's own affair.
    const bool null = (ours.selectors[i] & 0xfffc) == 0 && test.mode != Mode::real16;
    if (!null && theirs.bases[i] != ours.bases[i]) {
      return fmt::format("segment base {}: {:x}, ours {:x}", i, theirs.bases[i], ours.bases[i]);
    }
  }
  return {};
}

std::string compare_bytes(Memory theirs, Memory ours, std::uint64_t from, std::uint64_t to) {
  if (from >= to || std::memcmp(theirs.data() + from, ours.data() + from, to - from) == 0) return {};
  while (theirs[from] == ours[from]) ++from;
  return fmt::format("memory at {:x}: {:02x}, ours {:02x}", from, std::to_integer<unsigned>(theirs[from]),
                     std::to_integer<unsigned>(ours[from]));
}

std::string compare_memory(const Case& test, const Result& result, Memory theirs, Memory ours) {
  std::string found = compare_bytes(theirs, ours, window_at, device_at);
  if (found.empty()) found = compare_bytes(theirs, ours, device_end, window_end);
  const bool frame = result.kind == Result::Kind::exception && result.frame_low < memory_size;
  const std::uint64_t low = frame ? result.frame_low : stack_end;
  const std::uint64_t high = frame ? result.gp[4] : stack_end;
  if (found.empty()) found = compare_bytes(theirs, ours, stack_at, low);
  if (found.empty()) found = compare_bytes(theirs, ours, high, stack_end);
  for (const auto& part : marked_parts) {
    if (found.empty()) found = compare_bytes(theirs, ours, part.at, part.at + part.size);
  }
  (void)test;
  return found;
}

std::string compare_traces(const Result& theirs, const Result& ours) {
  const auto shorter = std::min(theirs.trace.size(), ours.trace.size());
  for (std::size_t i = 0; i < shorter; ++i) {
    if (theirs.trace[i] != ours.trace[i]) return fmt::format("device access {}", i);
  }
  if (theirs.trace.size() != ours.trace.size()) {
    return fmt::format("{} device accesses, ours {}", theirs.trace.size(), ours.trace.size());
  }
  return {};
}

std::string find_difference(const Case& test, const Result& theirs, Memory their_memory, const Result& ours,
                            Memory our_memory) {
  if (theirs.kind != ours.kind) return "outcome";
  if (theirs.kind == Result::Kind::broken || theirs.kind == Result::Kind::refused) return "no result";
  if (theirs.kind == Result::Kind::exception) {
    if (theirs.vector != ours.vector) return "vector";
    if (theirs.error_code != ours.error_code) return "error code";
    if (theirs.vector == 14 && theirs.cr2 != ours.cr2) return "cr2";
  }
  std::string found = compare_traces(theirs, ours);
  if (found.empty()) found = compare_registers(test, theirs, ours);
  if (found.empty()) found = compare_memory(test, theirs, their_memory, our_memory);
  return found;
}

}  // namespace

Verdict compare(const Case& test, const Result& theirs, Memory their_memory, const Result& ours, Memory our_memory) {
  Verdict verdict{find_difference(test, theirs, their_memory, ours, our_memory), {}};
  if (verdict.difference.empty()) return verdict;
  const auto settled = settle(test, theirs, their_memory, ours, our_memory);
  if (!settled) return verdict;
  verdict.exemption = settled->reason;
  if (settled->whole_case) return verdict;
  // What is left after the exemption must agree.
  verdict.difference = find_difference(test, settled->theirs, their_memory, ours, our_memory);
  if (!verdict.difference.empty()) verdict.exemption = {};
  if (verdict.difference.empty()) verdict.difference = "exempt";
  return verdict;
}

}  // namespace diff
