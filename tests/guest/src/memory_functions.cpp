// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The four functions a compiler may call even in a freestanding program.
#include <cstddef>

extern "C" {

void* memcpy(void* to, const void* from, std::size_t count) {
  void* result = to;
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count)::"memory");
  return result;
}

void* memset(void* to, int value, std::size_t count) {
  void* result = to;
  asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  return result;
}

void* memmove(void* to, const void* from, std::size_t count) {
  if (to <= from) return memcpy(to, from, count);
  auto* t = static_cast<unsigned char*>(to);
  const auto* f = static_cast<const unsigned char*>(from);
  while (count-- != 0) {
    t[count] = f[count];
    asm volatile("" ::: "memory");
  }
  return to;
}

int memcmp(const void* left, const void* right, std::size_t count) {
  const auto* l = static_cast<const unsigned char*>(left);
  const auto* r = static_cast<const unsigned char*>(right);
  for (std::size_t i = 0; i < count; ++i) {
    if (l[i] != r[i]) return l[i] < r[i] ? -1 : 1;
  }
  return 0;
}

}  // extern "C"
