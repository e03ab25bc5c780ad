// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "case.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace diff {
namespace {

/// Random bytes to fill memory from, made once.
const std::vector<std::byte>& pool() {
  static const auto made = [] {
    std::vector<std::byte> bytes(0x20000);
    Random random(1);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random.next());
    return bytes;
  }();
  return made;
}

const std::vector<std::byte>& pristine_tables() {
  static const auto made = [] {
    std::vector<std::byte> bytes(memory_size);
    build_tables(bytes);
    return bytes;
  }();
  return made;
}

std::byte device_byte(const Case& test, Touch::Kind kind, std::uint64_t at, std::uint64_t turn) {
  Random random(test.seed + at * 0x1'0001 + turn * 0x100'0000'0001 + (kind == Touch::in ? 77 : 0));
  return static_cast<std::byte>(random.next());
}

}  // namespace

void fill_memory(const Case& test, Memory memory) {
  for (const auto& part : marked_parts) {
    std::memcpy(memory.data() + part.at, pristine_tables().data() + part.at, part.size);
  }
  // Behind the instruction, what ends a case: HLT, or where that is not allowed OUT to the end port.
  for (std::uint64_t at = code_at; at < code_end; ++at) memory[at] = std::byte{0xf4};
  std::memcpy(memory.data() + test.rip, test.code.data(), test.code.size());
  if (test.user) {
    for (std::uint64_t at = test.rip + test.code.size(); at + 1 < code_end - 0x800; at += 2) {
      memory[at] = std::byte{0xe6}, memory[at + 1] = std::byte{end_port};
    }
    for (std::uint64_t at = code_end - 0x800; at + 1 < code_end; at += 2) {
      memory[at] = std::byte{0xe6}, memory[at + 1] = std::byte{end_port};
    }
  }
  const std::byte* from = pool().data() + (test.seed * 8 & 0xffff);
  std::memcpy(memory.data() + stack_at, from, stack_end - stack_at);
  std::memcpy(memory.data() + window_at, from, window_end - window_at);
  if (!test.planted) return;
  for (unsigned i = 0; i < 8; ++i) {
    const std::uint64_t at = physical_of(test.mode, test.planted->at + i);
    if (at < memory_size) memory[at] = static_cast<std::byte>(test.planted->value >> 8 * i);
  }
}

std::uint64_t Device::read(Touch::Kind kind, std::uint64_t at, std::size_t size) {
  std::uint64_t value = 0;
  const std::uint64_t turn = kind == Touch::in ? port_reads_++ : trace_.size();
  for (std::size_t i = 0; i < size; ++i) {
    std::byte byte = device_byte(*test_, kind, at + i, turn);
    if (test_->planted && kind == Touch::load) {
      for (unsigned k = 0; k < 8; ++k) {
        if (physical_of(test_->mode, test_->planted->at + k) != at + i) continue;
        byte = static_cast<std::byte>(test_->planted->value >> 8 * k);
      }
    }
    value |= std::to_integer<std::uint64_t>(byte) << 8 * i;
  }
  trace_.push_back({kind, at, size, value});
  return value;
}

std::string describe(const Case& test) {
  std::string text = fmt::format("{} in {}{}, seed {}: {:02x}\n  rip {:x} rflags {:x} cr0 {:x}", test.name,
                                 to_string(test.mode), test.user ? " (user)" : "", test.seed, fmt::join(test.code, " "),
                                 test.rip, test.rflags, test.system.cr0);
  text += fmt::format("\n  gp {:x}", fmt::join(test.gp, " "));
  const auto& system = test.system;
  for (const auto* segment : {&system.es, &system.ds, &system.fs, &system.gs}) {
    text += fmt::format("\n  segment base {:x} limit {:x} type {:x}", segment->base, segment->limit, segment->type);
  }
  if (test.planted) text += fmt::format("\n  planted {:x} at {:x}", test.planted->value, test.planted->at);
  return text;
}

std::string describe(const Result& result) {
  constexpr std::array kinds{"done", "exception", "refused", "broken"};
  constexpr std::array touches{"load", "store", "in", "out"};
  std::string text = kinds[static_cast<unsigned>(result.kind)];
  if (result.kind == Result::Kind::broken) text += ": " + result.note;
  if (result.kind == Result::Kind::exception) {
    text += fmt::format(" {}", result.vector);
    if (result.error_code) text += fmt::format(" code {:x}", *result.error_code);
    if (result.vector == 14) text += fmt::format(" at {:x}", result.cr2);
  }
  text += fmt::format("; rip {:x} rflags {:x}\n    gp {:x}", result.rip, result.rflags, fmt::join(result.gp, " "));
  for (const auto& touch : result.trace) {
    text += fmt::format("\n    {} {:x}/{} = {:x}", touches[touch.kind], touch.at, touch.size, touch.value);
  }
  return text;
}

}  // namespace diff
