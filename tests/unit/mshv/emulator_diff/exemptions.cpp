// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "exemptions.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace diff {
namespace {

constexpr unsigned vector_debug = 1, vector_invalid_opcode = 6, vector_stack = 12, vector_protection = 13,
                   vector_page_fault = 14;
constexpr std::uint32_t error_write = 2;
constexpr std::uint64_t trap = 0x100, direction = 0x400, entry_accessed = 0x20, entry_dirty = 0x40;

bool is_exception(const Result& result, unsigned vector) {
  return result.kind == Result::Kind::exception && result.vector == vector;
}

bool only_loads(const Result& result) {
  return std::all_of(result.trace.begin(), result.trace.end(),
                     [](const Touch& touch) { return touch.kind == Touch::load; });
}

/// Instructions that KVM's own emulator does not have: on a device it gives up, or a program without privilege gets
/// #UD.
constexpr std::array<std::string_view, 11> missing_in_kvm{
    "cmpxchg16b", "lddqu", "movd/movq", "movhpd", "movhps", "movlpd", "movlps", "movntdqa", "movq", "movsd", "movss"};

bool gives_up(const Case& test, const Result& theirs, const Result&) {
  const bool missing = std::find(missing_in_kvm.begin(), missing_in_kvm.end(), test.name) != missing_in_kvm.end();
  const bool gave_up = theirs.kind == Result::Kind::refused || is_exception(theirs, vector_invalid_opcode);
  return missing && gave_up && only_loads(theirs) && theirs.rip == test.rip;
}

/// KVM forgets the step trap where an instruction's last access is a write that user space completes.
bool lost_trap(const Case& test, const Result& theirs, const Result& ours) {
  return (test.rflags & trap) != 0 && theirs.kind == Result::Kind::done && is_exception(ours, vector_debug) &&
         !ours.trace.empty();
}

/// Where it emulates a repeated instruction, KVM traps after the last iteration only, and then not behind the
/// instruction but on it with a count of 0.
bool steps_over_repeats(const Case& test, const Result& theirs, const Result& ours) {
  constexpr std::array<std::string_view, 7> strings{"movs", "cmps", "stos", "lods", "scas", "ins", "outs"};
  return (test.rflags & trap) != 0 && std::find(strings.begin(), strings.end(), test.name) != strings.end() &&
         is_exception(theirs, vector_debug) && is_exception(ours, vector_debug) && !ours.trace.empty() &&
         theirs.trace.size() >= ours.trace.size();
}

/// Loading SS holds back the step trap; KVM's emulator and QEMU's processor do not know.
bool traps_after_stack_load(const Case& test, const Result& theirs, const Result& ours) {
  return (test.rflags & trap) != 0 && test.name == "mov to sreg" && ours.kind == Result::Kind::done &&
         is_exception(theirs, vector_debug);
}

/// MOVS reads its source, maybe a device, before its destination faults; ours does so after all checks.
bool reads_source_before_fault(const Case& test, const Result& theirs, const Result& ours) {
  return test.name == "movs" && theirs.kind == Result::Kind::exception && ours.kind == Result::Kind::exception &&
         theirs.vector == ours.vector && theirs.trace.size() == ours.trace.size() + 1 &&
         theirs.trace.back().kind == Touch::load;
}

/// QEMU takes MOVBE's size from the operand-size prefix alone.
bool swaps_other_size(const Case& test, const Result& theirs, const Result&) {
  const auto has = [&](std::uint8_t mask, std::uint8_t value) {
    return std::any_of(test.code.begin(), test.code.end(), [&](std::uint8_t byte) { return (byte & mask) == value; });
  };
  const bool both = has(0xff, 0x66) && has(0xf8, 0x48);
  return test.name == "movbe" && theirs.trace.empty() && (test.mode >= Mode::protected16 || both);
}

/// QEMU forgets the immediate byte of SHLD and SHRD when an operand is relative to the next instruction.
bool misplaces_relative(const Case& test, const Result&, const Result&) {
  if ((test.name != "shld" && test.name != "shrd") || test.mode != Mode::long64) return false;
  for (std::size_t i = 0; i + 2 < test.code.size(); ++i) {
    const bool immediate = test.code[i + 1] == 0xa4 || test.code[i + 1] == 0xac;
    if (test.code[i] == 0x0f && immediate && (test.code[i + 2] & 0xc7) == 5) return true;
  }
  return false;
}

/// KVM's emulator writes an access piece by piece, and QEMU's processor 16 bytes in halves: the first may be there when
/// the second page faults.
bool writes_before_second_page(const Case&, const Result& theirs, const Result& ours) {
  return is_exception(theirs, vector_page_fault) && is_exception(ours, vector_page_fault) && theirs.cr2 == ours.cr2 &&
         theirs.error_code == ours.error_code && (ours.cr2 & (page - 1)) == 0 && ours.trace.empty() &&
         (ours.error_code.value_or(0) & error_write) != 0;
}

/// KVM loses track where a CALL's operand is partly a device's and what it pushes crosses pages.
bool mixes_pieces(const Case& test, const Result& theirs, const Result& ours) {
  const std::uint64_t in_page = test.gp[4] & (page - 1);
  return (test.name == "call" || test.name == "push") && in_page > 0 && in_page < 8 &&
         theirs.trace.size() > ours.trace.size() &&
         std::equal(ours.trace.begin(), ours.trace.end(), theirs.trace.begin());
}

/// QEMU jumps first, and faults at an address that is not canonical.
bool jumps_before_fault(const Case& test, const Result& theirs, const Result& ours) {
  const bool late = is_exception(theirs, vector_protection) || is_exception(theirs, vector_debug);
  return test.planted && late && is_exception(ours, vector_protection) && theirs.rip == test.planted->value &&
         ours.rip == test.rip;
}

/// A read-modify-write faults as a write, before anything is read. QEMU's processor and KVM's emulator read first: the
/// fault may say "read", come for the other page, or come after a device was read.
bool reads_before_write_fault(const Case& test, const Result& theirs, const Result& ours) {
  return test.modifies && is_exception(theirs, vector_page_fault) && is_exception(ours, vector_page_fault) &&
         (ours.error_code.value_or(0) & error_write) != 0 && ours.trace.empty() && only_loads(theirs);
}

/// The same with a segment that allows reads, but not writes.
bool reads_before_segment_fault(const Case& test, const Result& theirs, const Result& ours) {
  return test.modifies && test.spoiled && theirs.kind == Result::Kind::exception && theirs.vector == ours.vector &&
         ours.kind == Result::Kind::exception && ours.vector >= vector_stack && ours.vector <= vector_protection &&
         ours.trace.empty();
}

/// QEMU's processor checks neither limits nor types of segments.
bool ignores_segments(const Case& test, const Result& theirs, const Result& ours) {
  return test.spoiled && theirs.trace.empty() && ours.trace.empty() && ours.kind == Result::Kind::exception &&
         (ours.vector == vector_stack || ours.vector == vector_protection) && ours.error_code.value_or(1) == 0;
}

/// QEMU's RCL and RCR change the carry before they write: where the write traps, they start again with another one.
bool lost_carry(const Case& test, const Result& theirs, const Result& ours) {
  if (test.name != "rcl" && test.name != "rcr") return false;
  const bool write_trapped = !ours.trace.empty() && ours.trace[0].kind == Touch::store;
  return write_trapped || (is_exception(theirs, vector_page_fault) && is_exception(ours, vector_page_fault));
}

/// KVM takes the translation of a device read for the write after it, without asking whether the page is writable.
bool writes_through_read_only(const Case& test, const Result& theirs, const Result& ours) {
  return test.modifies && theirs.kind == Result::Kind::done && is_exception(ours, vector_page_fault) &&
         (ours.error_code.value_or(0) & error_write) != 0 && !theirs.trace.empty() && ours.trace.empty();
}

/// KVM stores eight bytes of a selector where REX.W is given; processors store two.
bool stores_wide_selector(const Case& test, const Result& theirs, const Result& ours) {
  if (test.name != "mov from sreg" || theirs.trace.empty() || ours.trace.empty()) return false;
  return std::any_of(test.code.begin(), test.code.end(), [](std::uint8_t byte) { return (byte & 0xf8) == 0x48; });
}

/// With DF set, KVM reads the port ahead for each element and throws away all but one.
bool throws_away_port_reads(const Case& test, const Result& theirs, const Result& ours) {
  return test.name == "ins" && (test.rflags & direction) != 0 && theirs.trace.size() > ours.trace.size();
}

/// KVM fills a buffer from the port, and what it then writes to a device is in pieces of its own.
bool joins_port_reads(const Case& test, const Result& theirs, const Result& ours) {
  if (test.name != "ins") return false;
  const auto select = [](const Result& result, Touch::Kind kind) {
    std::vector<Touch> found;
    for (const auto& touch : result.trace) {
      if (touch.kind != kind) continue;
      const bool bytewise = kind == Touch::store;
      for (std::uint64_t i = 0; bytewise && i < touch.size; ++i) {
        found.push_back({kind, touch.at + i, 1, touch.value >> 8 * i & 0xff});
      }
      if (!bytewise) found.push_back(touch);
    }
    if (kind == Touch::store) {
      std::sort(found.begin(), found.end(), [](const Touch& a, const Touch& b) { return a.at < b.at; });
    }
    return found;
  };
  return select(theirs, Touch::in) == select(ours, Touch::in) &&
         select(theirs, Touch::store) == select(ours, Touch::store);
}

/// The port is read before the destination's fault, and that read is lost.
bool reads_port_before_fault(const Case& test, const Result& theirs, const Result& ours) {
  return test.name == "ins" && is_exception(theirs, ours.vector) && ours.kind == Result::Kind::exception &&
         theirs.trace.size() > ours.trace.size();
}

/// Calls `change(theirs, ours, device)` for each page table entry of the window that differs; true if it settled one.
template <class Change>
bool settle_entries(Memory theirs, Memory ours, Change&& change) {
  constexpr std::uint64_t address = 0xfffff000;
  bool found = false;
  for (std::size_t part = 1; part < marked_parts.size(); ++part) {
    const std::size_t width = part == 3 ? 4 : 8;
    for (std::uint64_t at = marked_parts[part].at; at < marked_parts[part].at + marked_parts[part].size; at += width) {
      std::uint64_t their_entry = 0;
      std::uint64_t our_entry = 0;
      std::memcpy(&their_entry, theirs.data() + at, width);
      std::memcpy(&our_entry, ours.data() + at, width);
      const bool device = is_device(our_entry & address) || is_rom(our_entry & address);
      if (their_entry == our_entry || !change(their_entry, our_entry, device)) continue;
      std::memcpy(theirs.data() + at, &our_entry, width);
      found = true;
    }
  }
  return found;
}

/// A write to a device page marks its entry dirty; KVM's emulator uses the translation of the read before it.
bool settle_dirty(Memory theirs, Memory ours) {
  return settle_entries(theirs, ours, [](std::uint64_t their_entry, std::uint64_t our_entry, bool device) {
    return device && (their_entry | entry_dirty) == our_entry;
  });
}

/// Which pages are marked by an instruction that faults on another one is open: QEMU's processor looks at them in its
/// own order (CMPS: the destination first).
bool settle_marks_of_fault(Memory theirs, Memory ours) {
  return settle_entries(theirs, ours, [](std::uint64_t their_entry, std::uint64_t our_entry, bool) {
    constexpr std::uint64_t marks = entry_accessed | entry_dirty;
    return ((their_entry ^ our_entry) & ~marks) == 0;
  });
}

using Rule = bool (*)(const Case& test, const Result& theirs, const Result& ours);

/// Those that leave nothing to compare.
struct WholeCase {
  std::string_view reason;
  Rule fits;
};
constexpr std::array whole_cases{
    WholeCase{"KVM's emulator does not have it", gives_up},
    WholeCase{"QEMU checks no segments", ignores_segments},
    WholeCase{"QEMU changes the carry before the write", lost_carry},
    WholeCase{"KVM writes to a read-only device page", writes_through_read_only},
    WholeCase{"KVM stores a selector as wide as REX.W", stores_wide_selector},
    WholeCase{"traps after a load of SS", traps_after_stack_load},
    WholeCase{"KVM steps over a repeated instruction", steps_over_repeats},
    WholeCase{"QEMU swaps MOVBE's operand in another size", swaps_other_size},
    WholeCase{"QEMU jumps before it faults", jumps_before_fault},
    WholeCase{"QEMU misplaces a relative operand", misplaces_relative},
    WholeCase{"a part is written before the second page faults", writes_before_second_page},
    WholeCase{"KVM mixes up pieces of a CALL", mixes_pieces},
    WholeCase{"KVM throws port reads away with DF", throws_away_port_reads},
    WholeCase{"KVM reads the port, and writes a part, before the destination faults", reads_port_before_fault},
};

}  // namespace

std::optional<Settled> settle(const Case& test, const Result& theirs, Memory their_memory, const Result& ours,
                              Memory our_memory) {
  for (const auto& rule : whole_cases) {
    if (rule.fits(test, theirs, ours)) return Settled{rule.reason, theirs, true};
  }
  Settled settled{{}, theirs};
  if (settle_dirty(their_memory, our_memory)) settled.reason = "KVM does not mark a device page dirty";
  const bool faulted = is_exception(theirs, vector_page_fault) || reads_before_segment_fault(test, theirs, ours);
  if (faulted && settle_marks_of_fault(their_memory, our_memory)) {
    settled.reason = "marks of a faulting access";
  }
  if (lost_trap(test, theirs, ours)) {
    settled.reason = "KVM loses the step trap after a device write";
    settled.theirs.kind = Result::Kind::exception;
    settled.theirs.vector = vector_debug;
    settled.theirs.frame_low = memory_size;
  }
  if (reads_before_write_fault(test, theirs, ours)) {
    settled.reason = "reads before the write faults";
    settled.theirs.error_code = ours.error_code;
    settled.theirs.cr2 = ours.cr2;
    settled.theirs.trace = ours.trace;
  }
  if (reads_before_segment_fault(test, theirs, ours)) {
    settled.reason = "reads before the write faults";
    settled.theirs.trace = ours.trace;
  }
  if (joins_port_reads(test, theirs, ours)) {
    settled.reason = "KVM reads a port ahead and writes in pieces of its own";
    settled.theirs.trace = ours.trace;
  }
  if (reads_source_before_fault(test, theirs, ours)) {
    settled.reason = "reads the source before the destination faults";
    settled.theirs.trace = ours.trace;
  }
  if (settled.reason.empty()) return std::nullopt;
  return settled;
}

}  // namespace diff
