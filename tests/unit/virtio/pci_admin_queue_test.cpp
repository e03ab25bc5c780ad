// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The administration queue of a PCI function, as a driver and as one that breaks the rules sees it.
#include <cstring>
#include <gtest/gtest.h>

#include <trivet/test/pci_bench.hpp>
#include <trivet/virtio/abi/admin.hpp>

#include "test_device.hpp"

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

constexpr unsigned admin = 2;  // behind the echo device's two

/// Over a split ring, and over a packed one whose chains come back in order.
struct PciAdminQueue : ::testing::TestWithParam<bool> {
  PciAdminQueue() { make(true); }

  void make(bool admin_queue) {
    bench.reset();
    bench = std::make_unique<PciBench>(std::make_unique<EchoDevice>(), nullptr, false, nullptr, 0, admin_queue);
    if (GetParam()) bench->unwanted = 0;
  }
  [[nodiscard]] std::uint16_t size_of(unsigned queue) {
    bench->set_common(0x16, static_cast<std::uint16_t>(queue));
    return bench->common<std::uint16_t>(0x18);
  }
  /// Makes a command available, with so many bytes for its answer.
  GuestAddress offer(const std::string& command, std::uint32_t room = 8) {
    const auto out = bench->guest.place(std::string(64, '\xee'));
    const auto in = bench->guest.place(command);
    bench->queue(admin).add({{in, static_cast<std::uint32_t>(command.size()), false}, {out, room, true}});
    return out;
  }
  void expect_answer(GuestAddress out) {
    const auto used = bench->wait_used(admin);
    ASSERT_TRUE(used);
    EXPECT_EQ(used->written, 8U);
    const auto said = bench->guest.memory().read_object<abi::AdminCommandStatus>(out);
    EXPECT_EQ(said->status.value(), abi::admin_status_einval);
    EXPECT_EQ(said->status_qualifier.value(), abi::admin_status_q_invalid_group);
  }
  void expect_served() {
    const auto out = offer(query());
    bench->kick(admin);
    expect_answer(out);
  }
  static std::string query() {
    abi::AdminCommandHeader header{};
    header.opcode = abi::admin_cmd_list_query;
    header.group_type = abi::admin_group_sriov;
    std::string text(sizeof header, '\0');
    std::memcpy(text.data(), &header, sizeof header);
    return text;
  }
  void expect_echo(unsigned queue) {
    const auto out = bench->guest.allocate(4);
    bench->queue(queue).add({{bench->guest.place("ping"), 4, false}, {out, 4, true}});
    bench->kick(queue);
    ASSERT_TRUE(bench->wait_used(queue));
    EXPECT_EQ(bench->guest.text(out, 4), "ping");
  }

  std::unique_ptr<PciBench> bench;
};

TEST_P(PciAdminQueue, IsOfferedWhereItIsAskedFor) {
  EXPECT_NE(bench->offered() & abi::f_admin_vq, 0U);
  EXPECT_EQ(bench->common<std::uint32_t>(0x3c), 0U) << "not negotiated";
  bench->start(admin + 1);
  EXPECT_EQ(bench->common<std::uint16_t>(0x12), 2) << "num_queues leaves it out";
  EXPECT_EQ(bench->common<std::uint16_t>(0x3c), admin);
  EXPECT_EQ(bench->common<std::uint16_t>(0x3e), 1);
  bench->set_common<std::uint16_t>(0x3c, 0);
  bench->set_common<std::uint16_t>(0x3e, 9);
  EXPECT_EQ(bench->common<std::uint32_t>(0x3c), 0x1'0002U) << "both are read-only";
  EXPECT_EQ(bench->space<std::uint16_t>(bench->msix_capability + 2U) & 0x7ff, 3) << "with a vector of its own";
  make(false);
  EXPECT_EQ(bench->offered() & abi::f_admin_vq, 0U);
  bench->start(2);
  EXPECT_EQ(bench->common<std::uint32_t>(0x3c), 0U);
  EXPECT_EQ(size_of(admin), 0U);
}

TEST_P(PciAdminQueue, AFunctionWithoutGroupsRefusesEachCommand) {
  bench->start(admin + 1);
  for (unsigned i = 0; i < 40; ++i) expect_served();  // more than once round the ring
  for (const auto& garbage : {std::string("x"), std::string(24, '\xff'), std::string(4000, '\x01'), query() + "tail"}) {
    const auto out = offer(garbage);
    bench->kick(admin);
    expect_answer(out);
  }
  expect_echo(0);
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(PciAdminQueue, AnAnswerKeepsToItsRoom) {
  bench->start(admin + 1);
  for (const std::uint32_t room : {1U, 2U, 5U, 7U, 60U}) {
    const auto out = offer(query(), room);
    bench->kick(admin);
    const auto used = bench->wait_used(admin);
    ASSERT_TRUE(used);
    EXPECT_EQ(used->written, std::min(room, 8U));
    EXPECT_EQ(bench->guest.text(out, 64).substr(used->written), std::string(64 - used->written, '\xee'));
  }
}

TEST_P(PciAdminQueue, WithoutTheFeatureThereIsNoSuchQueue) {
  ASSERT_TRUE(bench->negotiate(bench->offered() & ~bench->unwanted & ~abi::f_admin_vq));
  EXPECT_EQ(bench->common<std::uint32_t>(0x3c), 0U);
  EXPECT_EQ(size_of(admin), 0U);
  bench->add_queue(0, 16);
  bench->add_queue(admin, 8);
  EXPECT_FALSE(bench->queue_enabled(admin));
  EXPECT_EQ(bench->common<std::uint64_t>(0x20), 0U) << "its addresses went nowhere";
  bench->set_driver_ok();
  bench->reset_queue(admin);
  (void)offer(query());
  bench->set_bar<std::uint16_t>(bench->notify_at + std::uint64_t{admin} * bench->multiplier, admin);
  expect_echo(0);
  EXPECT_EQ(bench->queue(admin).used_index(), 0U);
  EXPECT_EQ(bench->status(), 15U);
}

TEST_P(PciAdminQueue, BehindItIsNone) {
  ASSERT_TRUE(bench->negotiate(bench->offered() & ~bench->unwanted));
  EXPECT_EQ(size_of(admin), 64U);
  bench->start(admin + 1);
  for (const unsigned beyond : {admin + 1, 1000U, 0xffffU}) EXPECT_EQ(size_of(beyond), 0U) << beyond;
  bench->add_queue(admin + 1, 8);
  EXPECT_FALSE(bench->queue_enabled(admin + 1));
  bench->reset_queue(admin + 1);
  bench->set_bar<std::uint16_t>(bench->notify_at + std::uint64_t{admin + 1} * bench->multiplier, admin + 1);
  expect_served();
}

TEST_P(PciAdminQueue, WaitsForDriverOk) {
  ASSERT_TRUE(bench->negotiate(bench->offered() & ~bench->unwanted));
  bench->add_queue(admin, 8);
  const auto out = offer(query());
  bench->kick(admin);
  EXPECT_EQ(bench->queue(admin).used_index(), 0U);
  bench->set_driver_ok();
  expect_answer(out);
}

TEST_P(PciAdminQueue, IsResetAndSetUpAgainAlone) {
  bench->start(admin + 1);
  expect_served();
  bench->reset_queue(admin);
  EXPECT_FALSE(bench->queue_enabled(admin));
  expect_echo(1);
  bench->add_queue(admin, 4);
  expect_served();
}

TEST_P(PciAdminQueue, ABrokenChainNeedsAReset) {
  bench->start(admin + 1);
  bench->queue(admin).offer({{.address = ~std::uint64_t{0} - 10, .length = 64}});
  bench->kick(admin);
  for (int i = 0; i < 2000 && (bench->status() & abi::status_needs_reset) == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_NE(bench->status() & abi::status_needs_reset, 0U);
  bench->start(admin + 1);
  expect_served();
  expect_echo(0);
}

INSTANTIATE_TEST_SUITE_P(Rings, PciAdminQueue, ::testing::Values(false, true),
                         [](const auto& it) { return it.param ? "Packed" : "Split"; });

}  // namespace
}  // namespace trivet::test
