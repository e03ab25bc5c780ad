// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Xen's I/O requests, from bytes to accesses, without Xen.
#include "ioreq.hpp"

#include <gmock/gmock.h>
#include <map>

#include "support.hpp"

namespace trivet::xen::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = IoRequest::Kind;
using Bytes32 = std::array<std::byte, request_size>;

template <class T>
void store(Bytes32& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

Bytes32 request_of(std::uint8_t type, bool read, std::uint64_t address, std::uint32_t size, std::uint64_t data = 0,
                   std::uint32_t count = 1, std::uint8_t flags = 0) {
  Bytes32 bytes{};
  store(bytes, 0, address);
  store(bytes, 8, data);
  store(bytes, 16, count);
  store(bytes, 20, size);
  store<std::uint8_t>(bytes, 30, static_cast<std::uint8_t>(1 | flags | (read ? 0x20 : 0)));
  store(bytes, 31, type);
  return bytes;
}
constexpr std::uint8_t pointer = 0x10;
constexpr std::uint8_t backwards = 0x40;

/// Guest memory of a few bytes.
class Pages final : public GuestCopy {
 public:
  std::array<std::byte, 64> bytes{};
  bool read(GuestAddress at, Bytes to) noexcept override {
    if (at.value > bytes.size() || to.size() > bytes.size() - at.value) return false;
    std::memcpy(to.data(), bytes.data() + at.value, to.size());
    return true;
  }
  bool write(GuestAddress at, ConstBytes from) noexcept override {
    if (at.value > bytes.size() || from.size() > bytes.size() - at.value) return false;
    std::memcpy(bytes.data() + at.value, from.data(), from.size());
    return true;
  }
};

struct IoreqTest : ::testing::Test {
  Recorder io;
  Pages memory;
  std::uint64_t run(const Bytes32& bytes) {
    const auto request = decode_request(bytes);
    EXPECT_TRUE(request.has_value()) << to_string(request.error());
    return request ? serve(*request, io, memory) : 0;
  }
};

TEST_F(IoreqTest, APortReadGivesTheAnswerInItsSizeOnly) {
  io.answer = [](const Seen&) { return std::uint64_t{0x1122334455667788}; };
  EXPECT_EQ(run(request_of(0, true, 0x3f8, 2)), 0x7788U);
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_in, 0x3f8, 2, 0x7788}));
}

TEST_F(IoreqTest, AWriteCarriesItsData) {
  EXPECT_EQ(run(request_of(0, false, 0x3f8, 1, 0xabcd)), 0xabcdU);
  run(request_of(1, false, 0xfee00000, 8, 0x1122334455667788));
  EXPECT_THAT(io.seen,
              ElementsAre(Seen{Seen::pio_out, 0x3f8, 1, 0xcd}, Seen{Seen::store, 0xfee00000, 8, 0x1122334455667788}));
}

TEST_F(IoreqTest, PortStringsStayAtThePortAndMoveInMemory) {
  memory.bytes[8] = std::byte{1}, memory.bytes[10] = std::byte{2};
  run(request_of(0, false, 0x10, 2, 8, 2, pointer));
  io.answer = [](const Seen&) { return std::uint64_t{0x4142}; };
  run(request_of(0, true, 0x10, 2, 20, 2, pointer | backwards));
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x10, 2, 1}, Seen{Seen::pio_out, 0x10, 2, 2},
                                   Seen{Seen::pio_in, 0x10, 2, 0x4142}, Seen{Seen::pio_in, 0x10, 2, 0x4142}));
  EXPECT_EQ(memory.bytes[20], std::byte{0x42});
  EXPECT_EQ(memory.bytes[18], std::byte{0x42});
  EXPECT_EQ(memory.bytes[22], std::byte{0});
}

TEST_F(IoreqTest, MemoryStringsMoveOnBothSides) {
  memory.bytes[4] = std::byte{7};
  run(request_of(1, false, 0x1000, 4, 4, 2, pointer | backwards));
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::store, 0x1000, 4, 7}, Seen{Seen::store, 0xffc, 4, 0}));
}

TEST_F(IoreqTest, DataWhereTheGuestHasNoMemoryAreOnesAndGoNowhere) {
  run(request_of(0, false, 0x10, 4, 0x1000, 2, pointer));
  run(request_of(0, true, 0x10, 4, 0x1000, 1, pointer));
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x10, 4, 0xffffffff}, Seen{Seen::pio_out, 0x10, 4, 0xffffffff},
                                   Seen{Seen::pio_in, 0x10, 4, 0xffffffff}));
}

TEST_F(IoreqTest, ConfigurationNamesItsFunctionAndRegister) {
  io.answer = [](const Seen&) { return std::uint64_t{0x11223344}; };
  const std::uint64_t bdf = 0x0118;
  EXPECT_EQ(run(request_of(2, true, bdf << 32 | 0x10, 4)), 0x11223344U);
  run(request_of(2, false, bdf << 32 | 0x3e, 2, 0x99));
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::config_in, bdf << 16 | 0x10, 4, 0x11223344},
                                   Seen{Seen::config_out, bdf << 16 | 0x3e, 2, 0x99}));
}

TEST_F(IoreqTest, ConfigurationNeverCrossesARegister) {
  io.answer = [](const Seen& access) { return access.size == 1 ? std::uint64_t{0x11} : std::uint64_t{0x3322}; };
  // 4 bytes at 1: 1 and 2 bytes are in the register, the fourth is beyond the window.
  EXPECT_EQ(run(request_of(2, true, 0x11, 4)), 0xff332211U);
  run(request_of(2, false, 0x13, 2, 0xbbaa));
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::config_in, 0x11, 1, 0x11}, Seen{Seen::config_in, 0x12, 2, 0x3322},
                                   Seen{Seen::config_out, 0x13, 1, 0xaa}));
}

TEST_F(IoreqTest, InvalidationTellsThatPagesWent) {
  run(request_of(8, false, 0, 4, ~std::uint64_t{0}, 0));
  EXPECT_EQ(io.removed, 1);
  run(request_of(7, false, 0, 8, 1));
  EXPECT_EQ(io.removed, 1);
  EXPECT_THAT(io.seen, IsEmpty());
}

TEST_F(IoreqTest, WhatNoXenSendsIsRefused) {
  const auto refused = [](const Bytes32& bytes, std::string_view part) {
    const auto request = decode_request(bytes);
    expect_error(request, Errc::malformed, part);
  };
  refused(request_of(3, true, 0, 1), "unknown type 3");
  refused(request_of(255, true, 0, 1), "unknown type 255");
  refused(request_of(0, true, 0, 0), "bytes: 0");
  refused(request_of(0, true, 0, 3), "bytes: 3");
  refused(request_of(0, true, 0, 8), "bytes: 8");
  refused(request_of(1, true, 0, 16), "bytes: 16");
  refused(request_of(1, true, 0, 4, 0, 0), "elements: 0");
  refused(request_of(0, true, 0, 4, 0, 2), "without memory");
  refused(request_of(1, true, 0, 4, 0, 1025, pointer), "beyond a page");
  refused(request_of(0, true, 0x10000, 1), "port 65536");
}

BufferedSlot slot_of(std::uint32_t head, std::uint32_t data) {
  BufferedSlot slot;
  std::memcpy(slot.data(), &head, 4);
  std::memcpy(slot.data() + 4, &data, 4);
  return slot;
}

TEST_F(IoreqTest, ABufferedWriteIsPosted) {
  const auto one = decode_buffered(slot_of(1U | 1U << 10 | 0xa0010U << 12, 0x55aa), {});
  TRIVET_ASSERT_OK(one);
  EXPECT_FALSE(one->two_slots);
  serve_buffered(one->request, io);
  const auto two = decode_buffered(slot_of(1 | 3 << 10 | 0xa0018U << 12, 0x11111111), slot_of(0, 0x22222222));
  TRIVET_ASSERT_OK(two);
  EXPECT_TRUE(two->two_slots);
  serve_buffered(two->request, io);
  EXPECT_THAT(io.seen,
              ElementsAre(Seen{Seen::posted, 0xa0010, 2, 0x55aa}, Seen{Seen::posted, 0xa0018, 8, 0x2222222211111111}));
}

TEST_F(IoreqTest, ABufferedReadIsRefused) {
  expect_error(decode_buffered(slot_of(1 | 1 << 9, 0), {}), Errc::malformed, "buffered read");
  expect_error(decode_buffered(slot_of(5, 0), {}), Errc::malformed, "unknown type 5");
  expect_error(decode_buffered(slot_of(2, 0), {}), Errc::malformed, "configuration");
}

}  // namespace
}  // namespace trivet::xen::test
