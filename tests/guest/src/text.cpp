// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "text.hpp"

#include "serial.hpp"

namespace guest {

bool operator==(Text left, Text right) {
  if (left.size != right.size) return false;
  for (std::size_t i = 0; i < left.size; ++i) {
    if (left.data[i] != right.data[i]) return false;
  }
  return true;
}

void print(Text text) {
  serial_write(text);
}

void print(std::uint64_t value) {
  char buffer[20];
  std::size_t at = sizeof buffer;
  do {
    buffer[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  print(Text{buffer + at, sizeof buffer - at});
}

void print(Hex value) {
  char buffer[16];
  std::size_t at = sizeof buffer;
  int digits = value.digits;
  do {
    buffer[--at] = "0123456789abcdef"[value.value & 15];
    value.value >>= 4;
    --digits;
  } while ((value.value != 0 || digits > 0) && at != 0);
  print(Text{buffer + at, sizeof buffer - at});
}

}  // namespace guest
