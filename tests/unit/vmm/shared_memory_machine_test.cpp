// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest and a device's shared memory, on the real hypervisor of this host: the guest is a list of accesses.
#include <cstring>
#include <gtest/gtest.h>
#include <initializer_list>
#include <memory>
#include <vector>

#include <trivet/memory/mapping.hpp>
#include <trivet/test/sharing_device.hpp>
#include <trivet/test/temp_file.hpp>
#include <trivet/virtio/pci/registers.hpp>
#include <trivet/vmm/backends.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/machine.hpp>

#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

namespace reg = pci::reg;

constexpr std::uint32_t results = 0x30'0000;  // in RAM: a word for each `read`
constexpr std::uint32_t copied = 0x40'0000;   // in RAM
constexpr std::uint32_t words = 16384;        // of the shared memory

/// A PVH kernel, 32-bit, paging off, that makes accesses one after the other and then powers off.
class Accesses {
 public:
  Accesses& write(std::uint32_t at, std::uint32_t value) { return add({0xc7, 0x05}).add(at).add(value); }
  /// To the next of the results.
  Accesses& read(std::uint32_t at) { return add({0xa1}).add(at).add({0xa3}).add(results + 4 * reads_++); }
  /// All words of the shared memory to RAM, with one instruction.
  Accesses& copy(std::uint32_t from) {
    return add({0xbe}).add(from).add({0xbf}).add(copied).add({0xb9}).add(words).add({0xfc, 0xf3, 0xa5});
  }
  /// To configuration space of 00:01.0.
  Accesses& config(std::uint32_t offset, std::uint32_t value) {
    add({0x66, 0xba, 0xf8, 0x0c, 0xb8}).add(0x8000'0800 | offset).add({0xef});
    return add({0x66, 0xba, 0xfc, 0x0c, 0xb8}).add(value).add({0xef});
  }
  [[nodiscard]] testing::Contents kernel() const {
    auto image = testing::ElfMaker().make();
    auto code = code_;
    for (const auto byte : {0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xf4})
      code.push_back(static_cast<std::byte>(byte));
    std::ranges::copy(code, image.begin() + testing::ElfMaker::segment_offset + 0x20);
    return image;
  }

 private:
  Accesses& add(std::initializer_list<unsigned> bytes) {
    for (const auto byte : bytes) code_.push_back(static_cast<std::byte>(byte));
    return *this;
  }
  Accesses& add(std::uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) code_.push_back(static_cast<std::byte>(value >> 8 * i & 0xff));
    return *this;
  }

  std::vector<std::byte> code_;
  unsigned reads_ = 0;
};

class SharedMemoryMachine : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const auto chosen = registry.select(GetParam());
    if (!chosen) GTEST_SKIP() << to_string(chosen.error());
    if (const auto opened = (*chosen)->open(); !opened) GTEST_SKIP() << to_string(opened.error());
    config.hypervisor = GetParam();
    config.memory.size_mib = 16;
    config.serial.input = "off";
    config.serial.output = "off";
    for (std::uint32_t i = 0; i < words; ++i) set(i, 0xabc0'0000 + i);
    options.devices.push_back({"shelf", [this]() -> Result<std::unique_ptr<virtio::Device>> {
                                 return std::make_unique<test::SharingDevice>(std::vector<virtio::SharedMemory>{
                                     {.id = 3, .length = shared.size(), .host = shared.data()}});
                               }});
  }
  void set(std::uint32_t index, std::uint32_t value) { std::memcpy(shared.data() + 4 * index, &value, sizeof value); }
  [[nodiscard]] std::uint32_t word(std::uint32_t index) const {
    std::uint32_t value = 0;
    std::memcpy(&value, shared.data() + 4 * index, sizeof value);
    return value;
  }
  /// Where the hypervisor maps none of our memory, that is what it says.
  void run(const Accesses& guest) {
    const auto image = guest.kernel();
    options.builtin_guest = image;
    auto made = Machine::create(config, registry, options);
    if (!made && made.error().code() == Errc::unsupported) {
      EXPECT_NE(to_string(made.error()).find("shelf"), std::string::npos);
      GTEST_SKIP() << to_string(made.error());
    }
    ASSERT_TRUE(made) << to_string(made.error());
    machine = std::move(*made);
    ASSERT_TRUE(machine->start());
    const auto outcome = machine->wait();
    ASSERT_EQ(outcome.end, End::power_off) << outcome.detail << (outcome.error ? to_string(*outcome.error) : "");
  }
  [[nodiscard]] std::uint32_t ram(std::uint32_t at) const {
    return *machine->memory().snapshot()->load<std::uint32_t>({at});
  }
  [[nodiscard]] std::uint32_t result(unsigned index) const { return ram(results + 4 * index); }
  void expect_copied() const {
    for (std::uint32_t i = 0; i < words; ++i) ASSERT_EQ(ram(copied + 4 * i), word(i)) << i;
    EXPECT_LT(machine->stats().exits, words / 10) << "it was not trapped word by word";
  }

  BackendRegistry registry = find_backends();
  memory::Mapping shared = *memory::Mapping::anonymous(4 * words);
  Config config;
  MachineOptions options;
  std::unique_ptr<Machine> machine;
};

TEST_P(SharedMemoryMachine, OnMmioItIsWhereTheRegistersSay) {
  constexpr auto registers = static_cast<std::uint32_t>(layout::virtio_mmio.start.value);
  constexpr auto at = static_cast<std::uint32_t>(layout::virtio_memory.start.value);
  config.platform.virtio = "mmio";
  Accesses guest;
  guest.write(registers + 0xac, 3).read(registers + 0xb0).read(registers + 0xb8).read(registers + 0xbc);
  guest.write(at + 40, 0x1234'5678).copy(at).read(at + 4 * words);
  run(guest);
  if (machine == nullptr) return;
  EXPECT_EQ(result(0), 4 * words);
  EXPECT_EQ(result(1), at);
  EXPECT_EQ(result(2), 0U);
  EXPECT_EQ(word(10), 0x1234'5678U) << "what the guest wrote";
  EXPECT_EQ(result(3), 0xffff'ffffU) << "behind it is nothing";
  expect_copied();
}

TEST_P(SharedMemoryMachine, OnPciItFollowsItsBar) {
  constexpr auto window = static_cast<std::uint32_t>(layout::pci_memory.start.value);
  constexpr std::uint32_t first = window + 4 * words;  // behind the registers, aligned to its size
  constexpr std::uint32_t then = window + 0x100'0000;
  constexpr std::uint32_t in_ram = 0x80'0000;
  config.platform.virtio = "pci";
  Accesses guest;
  guest.write(first + 40, 0x1234'5678).read(first + 40).write(in_ram + 40, 0x55);
  guest.config(reg::bar0 + 8, then).read(then + 40).read(first + 40);
  guest.config(reg::command, 0).read(then + 40);
  guest.config(reg::bar0 + 8, in_ram).config(reg::command, reg::command_memory).read(in_ram + 40).read(then + 40);
  guest.config(reg::bar0 + 8, window).read(window + 0x12);
  guest.config(reg::bar0 + 8, then).write(then + 44, 0x99).copy(then);
  run(guest);
  if (machine == nullptr) return;
  EXPECT_EQ(result(0), 0x1234'5678U);
  EXPECT_EQ(result(1), 0x1234'5678U) << "moved";
  EXPECT_EQ(result(2), 0xffff'ffffU) << "and so not there any more";
  EXPECT_EQ(result(3), 0xffff'ffffU) << "not decoded";
  EXPECT_EQ(result(4), 0x55U) << "RAM stays RAM";
  EXPECT_EQ(result(5), 0xffff'ffffU);
  EXPECT_EQ(result(6) & 0xffff, 0U) << "its own registers answer: they have no queue";
  EXPECT_EQ(word(11), 0x99U) << "and it comes back";
  expect_copied();
}

TEST_P(SharedMemoryMachine, WhatHasNoRoomBelowIsAboveRam) {
  shared = *memory::Mapping::anonymous(std::uint64_t{1} << 30);
  config.platform.virtio = "mmio";
  constexpr auto registers = static_cast<std::uint32_t>(layout::virtio_mmio.start.value);
  Accesses guest;
  guest.write(registers + 0xac, 3).read(registers + 0xb0).read(registers + 0xb8).read(registers + 0xbc);
  run(guest);
  if (machine == nullptr) return;
  EXPECT_EQ(result(0), 1U << 30);
  EXPECT_EQ(result(1) | std::uint64_t{result(2)} << 32, 4 * layout::gibibyte);
  config.platform.virtio = "pci";
  const Accesses nothing;
  run(nothing);
}

TEST_P(SharedMemoryMachine, ADeviceThatCannotBeIsNamed) {
  const auto image = Accesses().kernel();
  options.builtin_guest = image;
  options.devices.push_back({"broken", [] { return Error(Errc::io, "open", "as the test wants"); }});
  const auto refusal = [&] {
    const auto made = Machine::create(config, registry, options);
    return made ? std::string() : to_string(made.error());
  };
  EXPECT_NE(refusal().find("broken"), std::string::npos) << refusal();
  options.devices.back().make = [] { return std::unique_ptr<virtio::Device>(); };
  EXPECT_NE(refusal().find("broken: null"), std::string::npos) << refusal();
}

INSTANTIATE_TEST_SUITE_P(On, SharedMemoryMachine, ::testing::Values("kvm", "mshv", "xen"),
                         [](const auto& it) { return std::string(it.param); });

}  // namespace
}  // namespace trivet::vmm
