// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "scenarios.hpp"

// Ports from the window's second half on return a byte sequence: 0, 1, 2, ... over all reads together.
namespace guest {
namespace {

using trivet_guest::port_window;
using trivet_guest::scratch;
constexpr std::uint16_t sequence_port = port_window + 0x20;

#define GUEST_STRING_OUT(name, instruction)                                                   \
  void name(const void* from, std::uint64_t count) {                                          \
    asm volatile("rep " instruction : "+S"(from), "+c"(count) : "d"(port_window) : "memory"); \
    GUEST_CHECK(count == 0);                                                                  \
  }
#define GUEST_STRING_IN(name, instruction)                                                    \
  void* name(void* to, std::uint64_t count) {                                                 \
    asm volatile("rep " instruction : "+D"(to), "+c"(count) : "d"(sequence_port) : "memory"); \
    GUEST_CHECK(count == 0);                                                                  \
    return to;                                                                                \
  }
GUEST_STRING_OUT(outs8, "outsb")
GUEST_STRING_OUT(outs16, "outsw")
GUEST_STRING_OUT(outs32, "outsl")
GUEST_STRING_IN(ins8, "insb")
GUEST_STRING_IN(ins16, "insw")
GUEST_STRING_IN(ins32, "insl")

}  // namespace

void port_string(const BootInfo&) {
  auto* from = reinterpret_cast<unsigned char*>(scratch);
  for (unsigned i = 0; i < 64; ++i) from[i] = static_cast<unsigned char>(0x80 + i);
  outs8(from, 7);
  outs16(from + 1, 5);
  outs32(from + 3, 3);
  outs8(from, 0);
  const void* single = from + 40;
  asm volatile("outsl" : "+S"(single) : "d"(port_window) : "memory");
  GUEST_CHECK(single == from + 44);
  const void* last = from + 50;
  std::uint64_t count = 3;
  asm volatile("std; rep outsb; cld" : "+S"(last), "+c"(count) : "d"(port_window) : "memory");
  GUEST_CHECK(last == from + 47 && count == 0);

  // The destination crosses a page.
  auto* to = reinterpret_cast<unsigned char*>(scratch + 0x2000 - 9);
  for (int i = 0; i < 64; ++i) to[i] = 0xee;
  void* end = ins8(to, 17);
  GUEST_CHECK(end == to + 17);
  end = ins16(end, 5);
  end = ins32(end, 3);
  GUEST_CHECK(end == to + 39);
  GUEST_CHECK(ins8(end, 0) == end);
  for (unsigned i = 0; i < 39; ++i) GUEST_CHECK(to[i] == i);
  GUEST_CHECK(to[39] == 0xee);
}

}  // namespace guest
