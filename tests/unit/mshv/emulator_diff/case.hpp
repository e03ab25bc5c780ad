// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// One instruction and all it starts from, and what came of it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <trivet/core/registers_x86_64.hpp>

#include "layout.hpp"

namespace diff {

/// A small, fast and fixed generator (splitmix64): the same numbers everywhere, for ever.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t value = state_ += 0x9e37'79b9'7f4a'7c15;
    value = (value ^ value >> 30) * 0xbf58'476d'1ce4'e5b9;
    value = (value ^ value >> 27) * 0x94d0'49bb'1331'11eb;
    return value ^ value >> 31;
  }
  /// 0 to `bound` - 1.
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool one_in(std::uint64_t times) { return below(times) == 0; }
  template <class Range>
  auto pick(const Range& range) {
    return range[below(range.size())];
  }

 private:
  std::uint64_t state_;
};

using Xmm = std::array<std::byte, 16>;

/// Bytes that operands find at an address, whatever else is there.
struct Planted {
  std::uint64_t at = 0;
  std::uint64_t value = 0;
};

struct Case {
  std::uint64_t seed = 0;
  std::string_view name{};  ///< the instruction's
  Mode mode = Mode::long64;
  bool user = false;
  bool uses_xmm = false;
  bool spoiled = false;   ///< a segment stops some accesses
  bool modifies = false;  ///< reads its memory operand and writes it
  std::vector<std::uint8_t> code{};
  std::uint64_t rip = 0;
  std::array<std::uint64_t, 16> gp{};
  std::uint64_t rflags = 2;
  std::uint64_t undefined_flags = 0;  ///< what the architecture leaves open after this instruction
  std::array<Xmm, 16> xmm{};
  trivet::SystemRegisters system{};
  std::optional<Planted> planted{};
};

struct Touch {
  enum Kind : std::uint8_t { load, store, in, out } kind;
  std::uint64_t at;
  std::uint64_t size;
  std::uint64_t value;
  friend bool operator==(const Touch&, const Touch&) = default;
};

struct Result {
  enum class Kind : std::uint8_t { done, exception, refused, broken } kind = Kind::broken;
  std::string note{};  ///< `broken`: why
  std::array<std::uint64_t, 16> gp{};
  std::uint64_t rip = 0;
  std::uint64_t rflags = 0;
  unsigned vector = 0;
  std::optional<std::uint32_t> error_code{};
  std::uint64_t cr2 = 0;
  std::array<Xmm, 16> xmm{};
  std::array<std::uint16_t, 6> selectors{};
  std::array<std::uint64_t, 6> bases{};
  std::uint64_t frame_low = 0;  ///< an exception's frame lies on the program's own stack, from here up
  std::vector<Touch> trace{};
};

/// Every form of every instruction that cases are made of.
[[nodiscard]] std::vector<std::string_view> form_names();

/// The case of a number; the same for ever. `only`: of the form with this name, or of any.
[[nodiscard]] Case generate(std::uint64_t seed, std::string_view only, const trivet::SystemRegisters& fresh);

/// A MOV to RAM with every flag set that it must leave alone.
[[nodiscard]] Case plain_store(Mode mode, bool user, const trivet::SystemRegisters& fresh);

/// Fills what a case can see of memory: code, stack, window, tables.
void fill_memory(const Case& test, Memory memory);

/// Answers the device's reads and keeps a list.
class Device {
 public:
  void reset(const Case& test) {
    test_ = &test;
    port_reads_ = 0;
    trace_.clear();
  }
  std::uint64_t read(Touch::Kind kind, std::uint64_t at, std::size_t size);
  void write(Touch::Kind kind, std::uint64_t at, std::size_t size, std::uint64_t value) {
    trace_.push_back({kind, at, size, value});
  }
  [[nodiscard]] const std::vector<Touch>& trace() const { return trace_; }

 private:
  const Case* test_ = nullptr;
  std::uint64_t port_reads_ = 0;
  std::vector<Touch> trace_;
};

[[nodiscard]] std::string describe(const Case& test);
[[nodiscard]] std::string describe(const Result& result);

}  // namespace diff
