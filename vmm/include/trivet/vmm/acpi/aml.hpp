// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
/// \file
/// A small writer of ACPI Machine Language. Each function gives the bytes of one term; terms nest by value.
/// Source: ACPI 6.5, chapter 20 (grammar) and 6.4 (resource descriptors). Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace trivet::vmm::aml {

/// Bytes of AML.
using Code = std::vector<std::byte>;

/// One segment of a name: four characters, padded with '_'. A literal that is no name does not compile.
class Name {
 public:
  template <std::size_t n>
  consteval Name(const char (&text)[n])  // NOLINT(google-explicit-constructor): a literal is a name
      : characters_{'_', '_', '_', '_'} {
    static_assert(n >= 2 && n <= 5, "a name has one to four characters");
    for (std::size_t i = 0; i + 1 < n; ++i) {
      const char c = text[i];
      const bool lead = (c >= 'A' && c <= 'Z') || c == '_';
      if (!lead && (i == 0 || c < '0' || c > '9')) throw "a name is made of A-Z, 0-9 and _, no digit first";
      characters_[i] = c;
    }
  }

  /// A capital letter and three hexadecimal digits; `number` below `most_numbers`.
  static constexpr unsigned most_numbers = 0x1000;
  [[nodiscard]] static Name numbered(char letter, unsigned number);

  [[nodiscard]] const std::array<char, 4>& characters() const noexcept { return characters_; }

 private:
  constexpr Name() = default;
  std::array<char, 4> characters_{};
};

[[nodiscard]] Code join(std::initializer_list<Code> terms);

[[nodiscard]] Code integer(std::uint64_t value);
/// ASCII without zero.
[[nodiscard]] Code string(std::string_view text);
/// Three capital letters and four hexadecimal digits, as in PNP0501. A literal that is none does not compile.
class EisaId {
 public:
  consteval EisaId(const char (&text)[8])  // NOLINT(google-explicit-constructor): a literal is an id
      : bytes_{} {
    unsigned letters = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      if (text[i] < 'A' || text[i] > 'Z') throw "an EISA id begins with three capital letters";
      letters = letters << 5 | static_cast<unsigned>(text[i] - '@');
    }
    bytes_ = {static_cast<std::uint8_t>(letters >> 8), static_cast<std::uint8_t>(letters & 0xff),
              static_cast<std::uint8_t>(digit(text[3]) << 4 | digit(text[4])),
              static_cast<std::uint8_t>(digit(text[5]) << 4 | digit(text[6]))};
  }
  [[nodiscard]] const std::array<std::uint8_t, 4>& bytes() const noexcept { return bytes_; }

 private:
  static consteval unsigned digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    throw "an EISA id ends in four hexadecimal digits";
  }
  std::array<std::uint8_t, 4> bytes_;
};
[[nodiscard]] Code eisa_id(EisaId id);

/// At most 255 elements.
[[nodiscard]] Code package(std::initializer_list<Code> elements);
[[nodiscard]] Code buffer(std::span<const std::byte> bytes);

/// Name(name, value)
[[nodiscard]] Code name(Name name, const Code& value);
/// Scope(name) { body }
[[nodiscard]] Code scope(Name name, const Code& body);
/// Device(name) { body }
[[nodiscard]] Code device(Name name, const Code& body);

/// A resource template: what `_CRS` holds.
class Resources {
 public:
  /// Ports that the device decodes with 16 bits. The last port is `first + count - 1`.
  Resources& ports(std::uint16_t first, std::uint8_t count);
  /// Memory below 4 GiB that may be read and written.
  Resources& memory(std::uint32_t start, std::uint32_t size);
  /// Bus numbers that the device hands down (a producer).
  Resources& buses(std::uint8_t first, std::uint8_t last);
  /// Memory that the device hands down to what is behind it, on one side of 4 GiB: not cacheable, may be read and
  /// written.
  Resources& memory_window(std::uint64_t start, std::uint64_t size);
  enum class Line : std::uint8_t { edge_high, level_high };
  /// An extended interrupt: consumer, exclusive.
  Resources& interrupt(std::uint32_t gsi, Line line);

  /// The buffer with its end tag.
  [[nodiscard]] Code code() const;

 private:
  Code bytes_;
};

}  // namespace trivet::vmm::aml
