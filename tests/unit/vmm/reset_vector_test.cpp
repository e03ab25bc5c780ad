// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "reset_vector.hpp"

#include <gtest/gtest.h>

#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

TEST(ResetVector, WritesTheResetRegisterInRealMode) {
  const auto memory = testing::make_memory(std::uint64_t{2} << 20);
  ASSERT_TRUE(write_reset_vector(*memory));
  std::array<std::byte, 6> code{};
  ASSERT_TRUE(memory->read({0xffff0}, code));
  const std::array<unsigned, 6> wanted{0xba, 0x02, 0x06, 0xb0, 0x01, 0xee};
  for (std::size_t i = 0; i < code.size(); ++i) EXPECT_EQ(std::to_integer<unsigned>(code[i]), wanted[i]) << i;
}

TEST(ResetVector, NeedsMemoryThere) {
  EXPECT_EQ(write_reset_vector(*testing::make_memory(0x10000)).error().code(), Errc::out_of_range);
}

}  // namespace
}  // namespace trivet::vmm
