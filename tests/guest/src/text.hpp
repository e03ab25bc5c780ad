// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Text: a view, and a line builder that goes to the console when flushed.
#pragma once

#include <cstddef>
#include <cstdint>

namespace guest {

struct Text {
  const char* data = "";
  std::size_t size = 0;

  constexpr Text() = default;
  constexpr Text(const char* d, std::size_t s) : data(d), size(s) {}
  constexpr Text(const char* z) : data(z) {  // NOLINT: a literal is a text
    while (z[size] != 0) ++size;
  }
};

bool operator==(Text left, Text right);

/// Numbers in base 16 without a prefix, at least `digits` long.
struct Hex {
  std::uint64_t value;
  int digits = 1;
};

/// Prints its arguments to the console: texts, unsigned numbers (decimal), Hex.
void print(Text text);
void print(std::uint64_t value);
void print(Hex value);
inline void print(std::uint32_t value) {
  print(std::uint64_t{value});
}
inline void print(const char* text) {
  print(Text{text});
}

template <typename First, typename Second, typename... Rest>
void print(First first, Second second, Rest... rest) {
  print(first);
  print(second, rest...);
}

/// Ends a line and sends what is buffered.
template <typename... Arguments>
void print_line(Arguments... arguments) {
  print(arguments..., "\n");
  void flush_console();
  flush_console();
}

}  // namespace guest
