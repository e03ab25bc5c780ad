// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "memory_usage.hpp"

#include <bit>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>

namespace trivet::vmm {
namespace {

std::shared_ptr<const memory::GuestMemory> guest_of(std::uint64_t bytes) {
  auto region = *memory::Region::create({0}, *memory::Mapping::anonymous(bytes));
  return *memory::GuestMemory::create({region});
}

TEST(MemoryUsage, LeavesOutTheGuest) {
  const auto guest = guest_of(0x10000);
  const auto at = std::bit_cast<std::uint64_t>(guest->regions().front()->host());
  const auto text = fmt::format(
      "{:x}-{:x} rw-p 00000000 00:00 0 \nSize: 64 kB\nRss:                  48 kB\nPss: 48 kB\n"
      "{:x}-{:x} rw-p 00000000 00:00 0 \nRss:    7 kB\n"
      "{:x}-{:x} r--p 00000000 00:00 0 /lib/x.so\nRss:    100 kB\n"
      "{:x}-{:x} rw-p 00000000 00:00 0 [heap]\nRss:    23 kB",
      at, at + 0x8000, at + 0x8000, at + 0x10000, at + 0x10000, at + 0x20000, 0x1000, 0x2000);
  EXPECT_EQ(resident_kib(text, *guest), 123u);
  EXPECT_EQ(resident_kib("", *guest), 0u);
  EXPECT_EQ(resident_kib("Rss: 5 kB\n", *guest), 0u) << "of no mapping";
}

TEST(MemoryUsage, OfThisProcessDoesNotGrowWithTheGuest) {
  const auto guest = guest_of(64 << 20);
  const auto before = *resident_kib(*guest);
  EXPECT_GT(before, 100u);
  // By the kernel: written by this program, a sanitizer's shadow of it would be resident too.
  ASSERT_EQ(::madvise(guest->regions().front()->host(), 64 << 20, MADV_POPULATE_WRITE), 0) << std::strerror(errno);
  EXPECT_LT(*resident_kib(*guest), before + 16384);
}

}  // namespace
}  // namespace trivet::vmm
