// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

#include <trivet/test/test_router.hpp>
#include <trivet/virtio/pci/msix.hpp>
#include <trivet/virtio/pci/registers.hpp>

namespace trivet::test {
namespace {

constexpr std::uint16_t on = pci::reg::msix_control_enable;
constexpr std::uint16_t all_masked = pci::reg::msix_control_function_mask;

struct MsixTest : ::testing::Test {
  template <class T>
  void write(std::uint64_t offset, T value) {
    msix.write_table(offset, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  T read(std::uint64_t offset) {
    T value{};
    msix.read_table(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  std::uint8_t pending() {
    std::uint8_t bits = 0;
    msix.read_pending(0, std::as_writable_bytes(std::span(&bits, 1)));
    return bits;
  }
  void set(std::uint64_t vector, std::uint32_t data, bool masked = false) {
    write<std::uint32_t>(16 * vector + 12, 1);
    write<std::uint64_t>(16 * vector, 0xfee01000);
    write<std::uint32_t>(16 * vector + 8, data);
    write<std::uint32_t>(16 * vector + 12, masked ? 1 : 0);
  }

  TestRouter router;
  std::vector<std::string> log;
  pci::Msix msix{router, 3, 0x18, [this](const Error& error) { log.push_back(to_string(error)); }};
};

TEST_F(MsixTest, BeginsMaskedAndOff) {
  EXPECT_EQ(read<std::uint32_t>(12), 1U);
  EXPECT_EQ(read<std::uint64_t>(32 + 8), std::uint64_t{1} << 32);
  EXPECT_FALSE(msix.enabled());
  EXPECT_EQ(router.routes(), 0U) << "a route is made when it is needed";
  EXPECT_EQ(msix.table_size(), 48U);
  EXPECT_EQ(msix.pending_size(), 8U);
}

TEST_F(MsixTest, RaisesTheMessageOfTheTable) {
  ASSERT_TRUE(msix.reserve(1));
  set(1, 0x41);
  msix.set_control(on);
  msix.signal(1);
  EXPECT_EQ(router.count(), 1U);
  EXPECT_EQ(router.last(), (MsiMessage{0xfee01000, 0x41, 0x18}));
  EXPECT_EQ(pending(), 0U);
}

TEST_F(MsixTest, SaysNothingWhileItIsOff) {
  set(1, 0x41);
  msix.signal(1);
  msix.set_control(on);
  EXPECT_EQ(router.count(), 0U) << "what came before is not kept";
}

TEST_F(MsixTest, AMessageThatIsMaskedElsewhereIsRaisedInSpiteOfTheBit) {
  router.event_channel = 0x4300;
  ASSERT_TRUE(msix.reserve(1));
  msix.set_control(on);
  msix.signal(1);
  EXPECT_EQ(router.count(), 0U) << "no message yet";
  set(1, 0x4300, true);
  EXPECT_EQ(router.count(), 1U);
  msix.signal(1);
  EXPECT_EQ(router.count(0x4300), 2U);
  set(1, 0x41, true);
  msix.signal(1);
  EXPECT_EQ(router.count(), 2U) << "an ordinary message is masked by the bit";
  EXPECT_EQ(pending(), 2U);
}

TEST_F(MsixTest, AMaskedVectorKeepsOneAndRaisesItWhenUnmasked) {
  set(1, 0x41, true);
  msix.set_control(on);
  ASSERT_TRUE(msix.reserve(1));
  msix.signal(1);
  msix.signal(1);
  EXPECT_EQ(router.count(), 0U);
  EXPECT_EQ(pending(), 2U);
  write<std::uint32_t>(28, 0);
  EXPECT_EQ(router.count(0x41), 1U);
  EXPECT_EQ(pending(), 0U);
}

TEST_F(MsixTest, AMaskedFunctionKeepsThemAll) {
  set(0, 0x40);
  set(1, 0x41, true);
  set(2, 0x42);
  msix.set_control(on | all_masked);
  for (std::uint16_t vector = 0; vector < 3; ++vector) msix.signal(vector);
  EXPECT_EQ(pending(), 7U);
  msix.set_control(on);
  EXPECT_EQ(router.count(), 2U);
  EXPECT_EQ(pending(), 2U) << "one is masked by itself";
  msix.clear_pending();
  write<std::uint32_t>(28, 0);
  EXPECT_EQ(router.count(), 2U);
}

TEST_F(MsixTest, AMessageIsChangedWhileItRuns) {
  set(1, 0x41);
  msix.set_control(on);
  msix.signal(1);
  set(1, 0x51);
  msix.signal(1);
  EXPECT_EQ(router.last().data, 0x51U);
  EXPECT_EQ(router.routes(), 1U) << "the same route";
  write<std::uint32_t>(16 + 8, 0x61);  // unmasked, as no driver should
  msix.signal(1);
  EXPECT_EQ(router.last().data, 0x61U);
}

TEST_F(MsixTest, WhatThereIsNotIsRefused) {
  EXPECT_EQ(msix.reserve(3).error().code(), Errc::out_of_range);
  EXPECT_EQ(msix.reserve(3).error().blame(), Blame::guest);
  msix.signal(3);
  router.most_routes = 1;
  ASSERT_TRUE(msix.reserve(0));
  EXPECT_EQ(msix.reserve(1).error().code(), Errc::limit);
  set(1, 0x41);
  EXPECT_EQ(log.size(), 1U);
  msix.set_control(on);
  msix.signal(1);
  EXPECT_EQ(pending(), 2U) << "nowhere to go";
  router.most_routes = 2;
  set(1, 0x41);
  EXPECT_EQ(router.count(0x41), 1U) << "a later try helps";
}

TEST_F(MsixTest, TakesAlignedDoublewordsAndQuadwordsOnly) {
  write<std::uint8_t>(8, 0x11);
  write<std::uint16_t>(8, 0x1111);
  write<std::uint32_t>(6, 0x11111111);
  write<std::uint64_t>(4, 0x1111111111111111);
  EXPECT_EQ(read<std::uint64_t>(0), 0U);
  EXPECT_EQ(read<std::uint32_t>(8), 0U);
  write<std::uint64_t>(8, 0x1'00000055);
  EXPECT_EQ(read<std::uint8_t>(8), 0x55);
  EXPECT_EQ(read<std::uint32_t>(12), 1U);
  write<std::uint32_t>(0, 0xfee01003);
  EXPECT_EQ(read<std::uint32_t>(0), 0xfee01000U);
  write<std::uint32_t>(48, 1);  // beyond the end
  EXPECT_EQ(read<std::uint32_t>(48), 0U);
}

// A signal that meets an unmasking must not be lost: after the last unmasking nothing is pending, and each round's
// signal has raised its message.
TEST_F(MsixTest, NoneIsLostWhenMaskAndSignalMeet) {
  set(1, 0x41);
  msix.set_control(on);
  ASSERT_TRUE(msix.reserve(1));
  std::atomic<int> round{0};
  std::atomic<int> done{0};
  constexpr int rounds = 2000;
  std::thread device([&] {
    for (int i = 1; i <= rounds; ++i) {
      while (round < i) std::this_thread::yield();
      msix.signal(1);
      done = i;
    }
  });
  for (int i = 1; i <= rounds; ++i) {
    const auto before = router.count();
    round = i;
    write<std::uint32_t>(28, 1);
    write<std::uint32_t>(28, 0);
    while (done < i) std::this_thread::yield();
    ASSERT_EQ(router.count(), before + 1) << i;
  }
  device.join();
  EXPECT_EQ(pending(), 0U);
}

}  // namespace
}  // namespace trivet::test
