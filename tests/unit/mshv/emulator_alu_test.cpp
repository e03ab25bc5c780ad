// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The arithmetic against the processor that this test runs on.
#include <cstdint>
#include <gtest/gtest.h>
#include <random>

#include "alu.hpp"

namespace trivet::mshv::emulator {
namespace {

struct Found {
  std::uint64_t value;
  std::uint64_t flags;
};

/// `operation a, b` with the carry as given, by the processor.
#define TRIVET_NATIVE(name, instruction)                                           \
  template <class T>                                                               \
  Found name(T a, T b, bool carry_in) {                                            \
    std::uint64_t flags = carry_in ? 1 : 0;                                        \
    asm("bt $0, %[flags]\n\t" instruction " %[b], %[a]\n\tpushfq\n\tpopq %[flags]" \
        : [a] "+r"(a), [flags] "+r"(flags)                                         \
        : [b] "r"(b)                                                               \
        : "cc", "memory");                                                         \
    return {a, flags & status_flags};                                              \
  }
#define TRIVET_NATIVE_SHIFT(name, instruction)                                     \
  template <class T>                                                               \
  Found name(T a, std::uint8_t b, bool carry_in) {                                 \
    std::uint64_t flags = carry_in ? 1 : 0;                                        \
    asm("bt $0, %[flags]\n\t" instruction " %%cl, %[a]\n\tpushfq\n\tpopq %[flags]" \
        : [a] "+r"(a), [flags] "+r"(flags)                                         \
        : "c"(b)                                                                   \
        : "cc", "memory");                                                         \
    return {a, flags & status_flags};                                              \
  }

TRIVET_NATIVE(native_add, "add")
TRIVET_NATIVE(native_adc, "adc")
TRIVET_NATIVE(native_sub, "sub")
TRIVET_NATIVE(native_sbb, "sbb")
TRIVET_NATIVE(native_and, "and")
TRIVET_NATIVE_SHIFT(native_rol, "rol")
TRIVET_NATIVE_SHIFT(native_ror, "ror")
TRIVET_NATIVE_SHIFT(native_rcl, "rcl")
TRIVET_NATIVE_SHIFT(native_rcr, "rcr")
TRIVET_NATIVE_SHIFT(native_shl, "shl")
TRIVET_NATIVE_SHIFT(native_shr, "shr")
TRIVET_NATIVE_SHIFT(native_sar, "sar")

template <class T>
class EmulatorAlu : public ::testing::Test {
 protected:
  static constexpr unsigned bytes = sizeof(T);
  std::mt19937_64 random{7};

  T value() {
    constexpr T edges[]{0, 1, T(~T{0}), T(T{1} << (8 * bytes - 1)), T((T{1} << (8 * bytes - 1)) - 1)};
    return random() % 3 == 0 ? edges[random() % 5] : static_cast<T>(random());
  }
  static void expect(const Found& theirs, std::uint64_t ours, std::uint64_t flags, std::uint64_t open,
                     const char* what) {
    EXPECT_EQ(theirs.value, ours) << what;
    EXPECT_EQ(theirs.flags & ~open, flags & status_flags & ~open) << what;
  }

  template <class Native>
  void shift_like(Native native, Operation operation, const char* what) {
    for (unsigned i = 0; i < 4000; ++i) {
      const T a = value();
      const auto count = static_cast<std::uint8_t>(random() % 70);
      const bool carry_in = random() % 2 != 0;
      const auto theirs = native(a, count, carry_in);
      // Flags that stay are those of the BT before: only the carry of them is defined.
      std::uint64_t flags = carry_in ? flag_carry : 0;
      const auto ours = shift(operation, a, count, bytes, flags);
      const unsigned times = count & (bytes == 8 ? 0x3f : 0x1f);
      const bool rotate = operation <= Operation::rcr;
      std::uint64_t open = flag_adjust;
      if (times != 1) open |= flag_overflow;
      if (rotate || times == 0) open = status_flags & ~(flag_carry | (times == 1 ? flag_overflow : 0));
      if (!rotate && times >= 8 * bytes) open |= flag_carry;
      expect(theirs, ours, flags, open, what);
    }
  }
};

using Widths = ::testing::Types<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t>;
TYPED_TEST_SUITE(EmulatorAlu, Widths);

TYPED_TEST(EmulatorAlu, AddsAndSubtractsAsTheProcessorDoes) {
  using T = TypeParam;
  for (unsigned i = 0; i < 4000; ++i) {
    const T a = this->value();
    const T b = this->value();
    const bool carry_in = this->random() % 2 != 0;
    std::uint64_t flags = 0;
    auto ours = add(a, b, false, sizeof(T), flags);
    this->expect(native_add<T>(a, b, carry_in), ours, flags, 0, "add");
    ours = add(a, b, carry_in, sizeof(T), flags);
    this->expect(native_adc<T>(a, b, carry_in), ours, flags, 0, "adc");
    ours = subtract(a, b, false, sizeof(T), flags);
    this->expect(native_sub<T>(a, b, carry_in), ours, flags, 0, "sub");
    ours = subtract(a, b, carry_in, sizeof(T), flags);
    this->expect(native_sbb<T>(a, b, carry_in), ours, flags, 0, "sbb");
    ours = logic(a & b, sizeof(T), flags);
    this->expect(native_and<T>(a, b, carry_in), ours, flags, flag_adjust, "and");
  }
}

TYPED_TEST(EmulatorAlu, ShiftsAndRotatesAsTheProcessorDoes) {
  using T = TypeParam;
  this->shift_like(native_rol<T>, Operation::rol, "rol");
  this->shift_like(native_ror<T>, Operation::ror, "ror");
  this->shift_like(native_rcl<T>, Operation::rcl, "rcl");
  this->shift_like(native_rcr<T>, Operation::rcr, "rcr");
  this->shift_like(native_shl<T>, Operation::shl, "shl");
  this->shift_like(native_shr<T>, Operation::shr, "shr");
  this->shift_like(native_sar<T>, Operation::sar, "sar");
}

}  // namespace
}  // namespace trivet::mshv::emulator
