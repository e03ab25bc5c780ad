// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <atomic>
#include <gtest/gtest.h>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <trivet/virtio/pci/config_space.hpp>
#include <trivet/vmm/bus_io.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/pci_host.hpp>

namespace trivet::vmm {
namespace {

namespace reg = pci::reg;

/// A function whose BARs answer with their own number, and keep what was written last.
class Plain final : public pci::Function {
 public:
  explicit Plain(std::uint64_t size = 0x1000, bool wide = false) { EXPECT_TRUE(config_.add_bar(0, {size, wide})); }

  void read_config(std::uint16_t offset, Bytes data) noexcept override {
    const std::lock_guard lock(mutex_);
    config_.read(offset, data);
  }
  void write_config(std::uint16_t offset, ConstBytes data) noexcept override {
    const std::lock_guard lock(mutex_);
    const auto before = config_.bar_address(0);
    config_.write(offset, data);
    const auto now = config_.bar_address(0);
    if (now != before && listener_ != nullptr) listener_->bar_moved(*this, 0, now);
  }
  [[nodiscard]] const std::array<pci::Bar, pci::bar_count>& bars() const noexcept override { return config_.bars(); }
  void read_bar(unsigned, std::uint64_t offset, Bytes data) noexcept override {
    std::fill(data.begin(), data.end(), static_cast<std::byte>(mark + offset));
  }
  void write_bar(unsigned, std::uint64_t offset, ConstBytes) noexcept override { written = offset; }
  void listen(pci::BarListener* listener) noexcept override { listener_ = listener; }

  std::uint64_t mark = 0x10;
  std::atomic<std::uint64_t> written{0};

 private:
  std::mutex mutex_;
  pci::ConfigSpace config_{{.vendor = 0x1234, .device = 0x5678}};
  pci::BarListener* listener_ = nullptr;
};

/// What was claimed, as text.
class Claims final : public IoClaims {
 public:
  Result<void> claim_ports(std::uint16_t first, std::uint32_t count) override {
    return note("ports " + std::to_string(first) + "+" + std::to_string(count));
  }
  Result<void> claim_memory(const GuestRange& range) override {
    return note("memory " + std::to_string(range.start.value) + "+" + std::to_string(range.size));
  }
  Result<void> claim_pci(const PciAddress& function) override { return note("pci " + std::to_string(function.bdf())); }
  Result<void> release_ports(std::uint16_t, std::uint32_t) override { return {}; }
  Result<void> release_memory(const GuestRange& range) override {
    return note("release " + std::to_string(range.start.value) + "+" + std::to_string(range.size));
  }
  Result<void> release_pci(const PciAddress&) override { return {}; }

  std::vector<std::string> claimed;
  std::size_t most = 100;

 private:
  Result<void> note(std::string what) {
    if (claimed.size() >= most) return Error(Errc::limit, "claim", "as the test wants", Blame::host);
    claimed.push_back(std::move(what));
    return {};
  }
};

class PciHostTest : public ::testing::Test {
 protected:
  template <class T>
  T in(std::uint64_t port) {
    T value{};
    host->ports().read(port, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void out(std::uint64_t port, T value) {
    host->ports().write(port, std::as_bytes(std::span(&value, 1)));
  }
  template <class T>
  T ecam(unsigned device, std::uint64_t offset) {
    T value{};
    host->ecam().read((std::uint64_t{device} << 15) + offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }
  template <class T>
  void set_ecam(unsigned device, std::uint64_t offset, T value) {
    host->ecam().write((std::uint64_t{device} << 15) + offset, std::as_bytes(std::span(&value, 1)));
  }
  std::uint8_t memory(std::uint64_t offset) {
    std::uint8_t value = 0;
    host->window().read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  std::unique_ptr<PciHost> host = *PciHost::create(layout::pci_ecam, layout::pci_memory);
  Plain one, two;
};

TEST_F(PciHostTest, HasAHostBridge) {
  EXPECT_EQ(ecam<std::uint32_t>(0, 0), 0x00081b36U);
  EXPECT_EQ(ecam<std::uint32_t>(0, 8), 0x06000000U);
  EXPECT_EQ(host->attach({}, one, "one").error().code(), Errc::already_exists);
}

TEST_F(PciHostTest, FirmwareKnowsItsBridgeAndPlacesBars) {
  host = *PciHost::create_for_firmware(layout::firmware_pci_ecam, layout::firmware_pci_memory);
  EXPECT_EQ(ecam<std::uint32_t>(0, 0x2c), 0x11001af4U);
  ASSERT_TRUE(host->attach({0, 0, 2, 0}, one, "one"));
  EXPECT_EQ(ecam<std::uint32_t>(2, 0x10), 0U);
  EXPECT_EQ(ecam<std::uint16_t>(2, 4), 0U) << "decoding is off";
  set_ecam<std::uint32_t>(2, 0x10, 0xfebf'f000);
  set_ecam<std::uint16_t>(2, 4, 2);
  EXPECT_EQ(memory(0xfebf'f004 - layout::firmware_pci_memory.start.value), 0x14);
}

TEST_F(PciHostTest, PortsAndEcamReachTheSameRegisters) {
  ASSERT_TRUE(host->attach({0, 0, 3, 0}, one, "one"));
  out<std::uint32_t>(0, 0x80001800);
  EXPECT_EQ(in<std::uint32_t>(0), 0x80001800U);
  EXPECT_EQ(in<std::uint32_t>(4), 0x56781234U);
  EXPECT_EQ(in<std::uint16_t>(6), 0x5678U);
  EXPECT_EQ(in<std::uint8_t>(5), 0x12U);
  EXPECT_EQ(ecam<std::uint32_t>(3, 0), 0x56781234U);
  EXPECT_EQ(ecam<std::uint64_t>(3, 0), 0x0000000256781234U) << "two accesses; memory decoding is on";
  EXPECT_EQ(ecam<std::uint16_t>(3, 1), 0x7812U) << "across nothing";
  EXPECT_EQ(ecam<std::uint32_t>(3, 3), 0x00000256U) << "unaligned: in parts";
  out<std::uint32_t>(0, 0x8000183c);
  out<std::uint8_t>(4, 0x55);
  EXPECT_EQ(ecam<std::uint8_t>(3, 0x3c), 0x55);
  set_ecam<std::uint8_t>(3, 0x3c, 0x66);
  EXPECT_EQ(in<std::uint8_t>(4), 0x66);
}

TEST_F(PciHostTest, TheAddressPortTakesDoublewordsOnly) {
  out<std::uint32_t>(0, 0x80000000);
  out<std::uint8_t>(3, 0x01);
  out<std::uint16_t>(0, 0x1800);
  EXPECT_EQ(in<std::uint32_t>(0), 0x80000000U);
  EXPECT_EQ(in<std::uint8_t>(3), 0xffU);
  out<std::uint32_t>(0, 0xffffffff);
  EXPECT_EQ(in<std::uint32_t>(0), 0x80fffffcU);
  out<std::uint32_t>(0, 0x00000000);
  EXPECT_EQ(in<std::uint32_t>(4), 0xffffffffU) << "not enabled";
}

TEST_F(PciHostTest, WhatIsNotThereReadsAsOnes) {
  ASSERT_TRUE(host->attach({0, 0, 3, 1}, one, "one"));
  EXPECT_EQ(ecam<std::uint32_t>(3, 0), 0xffffffffU);
  EXPECT_EQ(ecam<std::uint32_t>(3, 0x1000), 0x56781234U) << "its function 1";
  EXPECT_EQ(ecam<std::uint32_t>(0, 0x100), 0xffffffffU) << "no extended space";
  out<std::uint32_t>(0, 0x80010000);  // bus 1
  EXPECT_EQ(in<std::uint32_t>(4), 0xffffffffU);
  out<std::uint32_t>(4, 0);
  set_ecam<std::uint32_t>(31, 0, 0);
}

TEST_F(PciHostTest, PlacesBarsAndDecodesThem) {
  Plain large(0x100000), wide(0x4000, true);
  ASSERT_TRUE(host->attach({0, 0, 1, 0}, one, "one"));
  ASSERT_TRUE(host->attach({0, 0, 2, 0}, large, "large"));
  ASSERT_TRUE(host->attach({0, 0, 4, 0}, wide, "wide"));
  const auto base = layout::pci_memory.start.value;
  for (const unsigned device : {1U, 2U, 4U}) {
    const auto at = ecam<std::uint32_t>(device, 0x10) & ~0xfU;
    EXPECT_TRUE(layout::pci_memory.contains({at}));
    EXPECT_EQ(memory(at - base + 5), 0x15) << device;
  }
  EXPECT_EQ(ecam<std::uint32_t>(2, 0x10) % 0x100000, 0U) << "aligned to its size";
  EXPECT_EQ(ecam<std::uint16_t>(1, 4), reg::command_memory);
}

TEST_F(PciHostTest, ABarFollowsWhatTheGuestWrites) {
  ASSERT_TRUE(host->attach({0, 0, 1, 0}, one, "one"));
  const auto base = static_cast<std::uint32_t>(layout::pci_memory.start.value);
  EXPECT_EQ(memory(0), 0x10);
  EXPECT_EQ(memory(0xfff), 0x0f);
  EXPECT_EQ(memory(0x1000), 0xff);
  set_ecam<std::uint32_t>(1, 0x10, base + 0x10000);
  EXPECT_EQ(memory(0), 0xff);
  EXPECT_EQ(memory(0x10002), 0x12);
  set_ecam<std::uint16_t>(1, 4, 0);
  EXPECT_EQ(memory(0x10002), 0xff) << "not decoded";
  set_ecam<std::uint32_t>(1, 0x10, 0xffffffff);
  EXPECT_EQ(ecam<std::uint32_t>(1, 0x10), 0xfffff000U) << "its size";
  set_ecam<std::uint16_t>(1, 4, 2);
  set_ecam<std::uint32_t>(1, 0x10, 0x1000);
  EXPECT_EQ(memory(0), 0xff) << "outside the window it answers nowhere";
  set_ecam<std::uint32_t>(1, 0x10, base);
  const std::array<std::byte, 8> data{};
  host->window().write(0xff8, data);
  EXPECT_EQ(one.written, 0xff8U);
  host->window().write(0xffc, data);
  EXPECT_EQ(one.written, 0xff8U) << "half outside the BAR";
}

TEST_F(PciHostTest, OfTwoThatOverlapTheFirstAnswers) {
  two.mark = 0x80;
  ASSERT_TRUE(host->attach({0, 0, 1, 0}, one, "one"));
  ASSERT_TRUE(host->attach({0, 0, 2, 0}, two, "two"));
  set_ecam<std::uint32_t>(2, 0x10, static_cast<std::uint32_t>(layout::pci_memory.start.value));
  EXPECT_EQ(memory(0), 0x10);
  set_ecam<std::uint16_t>(1, 4, 0);
  EXPECT_EQ(memory(0), 0x80);
}

TEST_F(PciHostTest, WhatCannotBeIsNamed) {
  EXPECT_EQ(host->attach({0, 1, 0, 0}, one, "one").error().code(), Errc::out_of_range);
  EXPECT_EQ(host->attach({1, 0, 1, 0}, one, "one").error().code(), Errc::out_of_range);
  EXPECT_EQ(host->attach({0, 0, 32, 0}, one, "one").error().code(), Errc::out_of_range);
  Plain huge(std::uint64_t{1} << 30);
  const auto placed = host->attach({0, 0, 5, 0}, huge, "huge");
  ASSERT_FALSE(placed);
  EXPECT_EQ(placed.error().code(), Errc::limit);
  EXPECT_NE(to_string(placed.error()).find("huge: BAR 0"), std::string::npos);
  EXPECT_FALSE(PciHost::create({{0xe0000000}, 0x1000}, layout::pci_memory));
  EXPECT_FALSE(PciHost::create({{0xe0001000}, 0x100000}, layout::pci_memory));
  EXPECT_FALSE(PciHost::create(layout::pci_ecam, {{0}, 0}));
}

TEST_F(PciHostTest, FunctionsAreClaimed) {
  Claims claims;
  ASSERT_TRUE(host->claim_through(claims));
  ASSERT_TRUE(host->attach({0, 0, 3, 0}, one, "one"));
  EXPECT_EQ(claims.claimed, (std::vector<std::string>{"pci 0", "pci 24"}));
  claims.most = 2;
  EXPECT_EQ(host->attach({0, 0, 4, 0}, two, "two").error().code(), Errc::limit);
  EXPECT_EQ(ecam<std::uint32_t>(4, 0), 0xffffffffU) << "not there then";
}

TEST_F(PciHostTest, OnSomebodyElsesBusEachBarIsClaimedWhereFirmwarePutsIt) {
  Claims claims;
  host = *PciHost::create_beside(claims, std::nullopt);
  ASSERT_TRUE(host->attach({0, 0, 3, 0}, one, "one"));
  EXPECT_EQ(claims.claimed, (std::vector<std::string>{"pci 24"})) << "no bridge of ours, and no BAR placed";
  const auto write = [&](std::uint16_t offset, std::uint32_t value) {
    host->write({0, 0, 3, 0}, offset, std::as_bytes(std::span(&value, 1)));
  };
  write(reg::bar0, 0xf0000000);
  EXPECT_EQ(claims.claimed.size(), 1U) << "not decoded yet";
  write(reg::command, reg::command_memory);
  EXPECT_EQ(claims.claimed.back(), "memory 4026531840+4096");
  EXPECT_EQ(memory(0xf0000008), 0x18) << "anywhere in the address space";
  EXPECT_EQ(memory(0xf0001000), 0xff);
  write(reg::bar0, 0xf8000000);
  ASSERT_EQ(claims.claimed.size(), 4U);
  EXPECT_EQ(claims.claimed[2], "release 4026531840+4096");
  EXPECT_EQ(claims.claimed[3], "memory 4160749568+4096");
  EXPECT_EQ(memory(0xf0000008), 0xff);
  write(reg::command, 0);
  EXPECT_EQ(claims.claimed.back(), "release 4160749568+4096");
}

TEST_F(PciHostTest, BesideOthersOfItsKindItPlacesBarsInItsPart) {
  Claims claims;
  host = *PciHost::create_beside(claims, GuestRange{{0xd9000000}, 0x100000});
  ASSERT_TRUE(host->attach({0, 0, 3, 0}, one, "one"));
  EXPECT_EQ(claims.claimed, (std::vector<std::string>{"pci 0", "pci 24", "memory 3640655872+4096"}));
  EXPECT_EQ(memory(0xd9000008), 0x18);
  EXPECT_FALSE(PciHost::create_beside(claims, GuestRange{{0}, 0}));
}

TEST_F(PciHostTest, BusesClaimWhatIsAttached) {
  Claims claims;
  Bus ports("port", 16);
  ports.claim_through([&](std::uint64_t first, std::uint64_t size) {
    return claims.claim_ports(static_cast<std::uint16_t>(first), static_cast<std::uint32_t>(size));
  });
  ASSERT_TRUE(ports.insert(0xcf8, 8, host->ports(), "PCI"));
  EXPECT_EQ(claims.claimed, (std::vector<std::string>{"ports 3320+8"}));
  EXPECT_FALSE(ports.insert(0xcfc, 1, host->ports(), "again"));
  EXPECT_EQ(claims.claimed.size(), 1U) << "what overlaps is not claimed";
  claims.most = 1;
  const auto refused = ports.insert(0x10, 1, host->ports(), "late");
  ASSERT_FALSE(refused);
  EXPECT_NE(to_string(refused.error()).find("late"), std::string::npos);
  EXPECT_EQ(ports.find(0x10, 1), nullptr);
}

TEST_F(PciHostTest, ConfigurationThatTheHypervisorDecodesComesThroughBusIo) {
  ASSERT_TRUE(host->attach({0, 0, 3, 0}, one, "one"));
  const Bus ports("port", 16), addresses("memory", 64);
  BusIo with({ports, addresses, host.get()});
  BusIo without({ports, addresses});
  std::array<std::byte, 2> data{};
  with.pci_config_read({0, 0, 3, 0}, 2, data);
  EXPECT_EQ(data[0], std::byte{0x78});
  with.pci_config_write({0, 0, 3, 0}, 0x3c, std::span(data).first(1));
  EXPECT_EQ(ecam<std::uint8_t>(3, 0x3c), 0x78);
  EXPECT_EQ(with.accesses(), 2U);
  EXPECT_EQ(with.unclaimed(), 0U);
  without.pci_config_read({0, 0, 3, 0}, 2, data);
  without.pci_config_write({0, 0, 3, 0}, 2, data);
  EXPECT_EQ(data[0], std::byte{0xff});
  EXPECT_EQ(without.unclaimed(), 2U);
}

TEST_F(PciHostTest, BarsMoveWhileOthersRead) {
  ASSERT_TRUE(host->attach({0, 0, 1, 0}, one, "one"));
  ASSERT_TRUE(host->attach({0, 0, 2, 0}, two, "two"));
  two.mark = 0x10;
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      for (std::uint64_t at = 0; at < 0x4000; at += 0x800) {
        const auto seen = memory(at);
        EXPECT_TRUE(seen == 0xff || seen == static_cast<std::uint8_t>(0x10 + at % 0x1000)) << at;
      }
    }
  });
  const auto base = static_cast<std::uint32_t>(layout::pci_memory.start.value);
  for (std::uint32_t i = 0; i < 5000; ++i) {
    set_ecam<std::uint32_t>(1 + i % 2, 0x10, base + 0x1000 * (i % 5));
    set_ecam<std::uint16_t>(1 + i % 2, 4, static_cast<std::uint16_t>(i % 3 == 0 ? 0 : 2));
  }
  stop = true;
  reader.join();
}

}  // namespace
}  // namespace trivet::vmm
