// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Machines on the real hypervisor of this host, with guests of a few instructions.
#include <chrono>
#include <gtest/gtest.h>
#include <initializer_list>
#include <thread>

#include <trivet/test/temp_file.hpp>
#include <trivet/vmm/backends.hpp>
#include <trivet/vmm/machine.hpp>

#include "loader_support.hpp"

namespace trivet::vmm {
namespace {

using testing::Contents;

/// A PVH kernel whose code, 32-bit, paging off, is at its entry.
Contents guest(std::initializer_list<unsigned> code) {
  auto image = testing::ElfMaker().make();
  std::size_t at = testing::ElfMaker::segment_offset + 0x20;
  for (const auto byte : code) image[at++] = static_cast<std::byte>(byte);
  return image;
}

// mov dx, port; mov al, value; out dx, al; hlt; jmp to the hlt
Contents port_writer(unsigned port, unsigned value) {
  return guest({0x66, 0xba, port & 0xff, port >> 8, 0xb0, value, 0xee, 0xf4, 0xeb, 0xfd});
}
Contents spinner() {
  return guest({0xeb, 0xfe});
}

class MachineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto chosen = registry.select("auto"); !chosen) GTEST_SKIP() << to_string(chosen.error());
    config.memory.size_mib = 16;
    config.serial.input = "off";
    config.serial.output = output.path();
  }

  Result<std::unique_ptr<Machine>> make(const Contents& image) {
    return Machine::create(config, registry, {image, false});
  }

  Outcome run(const Contents& image) {
    auto machine = make(image);
    if (!machine) return {End::failed, "create", machine.error()};
    if (const auto started = (*machine)->start(); !started) return {End::failed, "start", started.error()};
    return (*machine)->wait();
  }

  std::string refusal(const Contents& image) {
    const auto machine = make(image);
    return machine ? std::string() : to_string(machine.error());
  }

  BackendRegistry registry = find_backends();
  test::TempFile output;
  Config config;
};

TEST_F(MachineTest, GuestPowersOff) {
  const auto outcome = run(port_writer(0x600, 0x34));
  EXPECT_EQ(outcome.end, End::power_off) << (outcome.error ? to_string(*outcome.error) : outcome.detail);
}

TEST_F(MachineTest, RunsOnEachBackingThatTheHypervisorTakesAndNamesTheOthers) {
  const auto hypervisor = (*registry.select("auto"))->open();
  ASSERT_TRUE(hypervisor) << to_string(hypervisor.error());
  const bool takes_ours = (*hypervisor)->supports(Cap::host_memory) != Support::no;
  const bool gives_its_own = (*hypervisor)->supports(Cap::hypervisor_memory) != Support::no;
  for (const std::string backing : {"auto", "anonymous", "memfd", "hypervisor"}) {
    config.memory.backing = backing;
    if (backing == "hypervisor" ? gives_its_own : backing == "auto" || takes_ours) {
      const auto outcome = run(port_writer(0x600, 0x34));
      EXPECT_EQ(outcome.end, End::power_off) << backing << (outcome.error ? ": " + to_string(*outcome.error) : "");
    } else {
      EXPECT_NE(refusal(port_writer(0x600, 0x34)).find("_memory"), std::string::npos) << backing;
    }
  }
}

TEST_F(MachineTest, GuestResetsThroughAcpiAndThroughTheKeyboardController) {
  EXPECT_EQ(run(port_writer(0x602, 1)).end, End::reset);
  EXPECT_EQ(run(port_writer(0x64, 0xfe)).end, End::reset);
}

TEST_F(MachineTest, GuestReportsItsCrash) {
  const auto outcome = run(port_writer(0x505, 1));
  EXPECT_EQ(outcome.end, End::crash);
  EXPECT_EQ(exit_code(outcome.end), 4);
  EXPECT_FALSE(outcome.detail.empty());
}

TEST_F(MachineTest, GuestTripleFaults) {
  // lidt of an empty table; ud2
  const auto outcome = run(guest({0x0f, 0x01, 0x1d, 0x00, 0x18, 0x10, 0x00, 0x0f, 0x0b}));
  EXPECT_EQ(outcome.end, End::triple_fault);
  EXPECT_FALSE(outcome.detail.empty());
}

TEST_F(MachineTest, GuestWritesToTheSerialPortAndAllOfItArrives) {
  // mov dx, 0x3f8; mov al, 'h'; out; mov al, 'i'; out; then power off
  const auto outcome = run(guest({0x66, 0xba, 0xf8, 0x03, 0xb0, 'h',  0xee, 0xb0, 'i',  0xee,
                                  0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xf4, 0xeb, 0xfd}));
  EXPECT_EQ(outcome.end, End::power_off);
  EXPECT_EQ(output.read(0, 2), "hi");
}

TEST_F(MachineTest, StopsASpinningGuest) {
  config.vcpu.num = 2;
  auto machine = *make(spinner());
  ASSERT_TRUE(machine->start());
  EXPECT_EQ(machine->start().error().code(), Errc::bad_state);
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    machine->stop();
  });
  EXPECT_EQ(machine->wait().end, End::stopped);
  stopper.join();
  EXPECT_EQ(machine->wait().end, End::stopped) << "again";
}

TEST_F(MachineTest, PausesAndResumes) {
  auto machine = *make(spinner());
  EXPECT_EQ(machine->pause().error().code(), Errc::bad_state) << "not started";
  ASSERT_TRUE(machine->start());
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(machine->pause());
    EXPECT_EQ(machine->pause().error().code(), Errc::bad_state);
    ASSERT_TRUE(machine->vm().vcpus().front()->registers()) << "stopped: its state can be read";
    ASSERT_TRUE(machine->resume());
    EXPECT_EQ(machine->resume().error().code(), Errc::bad_state);
  }
  machine->stop();
  EXPECT_EQ(machine->wait().end, End::stopped);
  EXPECT_EQ(machine->resume().error().code(), Errc::bad_state) << "it is over";
}

TEST_F(MachineTest, StopsWhilePaused) {
  auto machine = *make(spinner());
  ASSERT_TRUE(machine->start());
  ASSERT_TRUE(machine->pause());
  machine->stop();
  EXPECT_EQ(machine->wait().end, End::stopped);
}

TEST_F(MachineTest, NeverStartedIsDestroyedCleanly) {
  config.rng.push_back({});
  EXPECT_TRUE(make(spinner()));
}

TEST_F(MachineTest, CountsWhatItCost) {
  auto machine = *make(port_writer(0x600, 0x34));
  EXPECT_EQ(machine->stats().first_run_ns, 0u);
  ASSERT_TRUE(machine->start());
  (void)machine->wait();
  const auto stats = machine->stats();
  EXPECT_GT(stats.first_run_ns, 0u);
  EXPECT_GE(stats.runs, 1u);
  EXPECT_GE(stats.exits, stats.runs + 1);
  EXPECT_GT(stats.resident_kib, 0u);
}

TEST_F(MachineTest, ListsItsDevicesWhereTheGuestFindsThem) {
  const test::TempFile disk(std::uint64_t{1} << 20);
  config.block.push_back({disk.path(), false, false, "", 1});
  config.rng.resize(2);
  auto machine = *make(spinner());
  const auto devices = machine->devices();
  ASSERT_EQ(devices.size(), 4u);
  EXPECT_NE(devices[0].find("0x3f8"), std::string::npos);
  EXPECT_NE(devices[1].find("block 0: virtio-mmio at 0xd0000000, gsi 16, " + disk.path()), std::string::npos)
      << devices[1];
  EXPECT_NE(devices[3].find("rng 1: virtio-mmio at 0xd0002000, gsi 18"), std::string::npos) << devices[3];
}

TEST_F(MachineTest, DevicesMayBePciFunctions) {
  config.platform.virtio = "pci";
  config.rng.resize(2);
  auto machine = *make(spinner());
  const auto devices = machine->devices();
  ASSERT_EQ(devices.size(), 3u);
  EXPECT_NE(devices[0].find("gsi 4"), std::string::npos) << devices[0];
  EXPECT_NE(devices[1].find("rng 0: virtio-pci at 00:01.0"), std::string::npos) << devices[1];
  EXPECT_NE(devices[2].find("rng 1: virtio-pci at 00:02.0"), std::string::npos) << devices[2];
  config.rng.resize(16);
  config.console.assign(15, {"off", "off"});
  EXPECT_EQ(refusal(spinner()), "");
  config.console.assign(16, {"off", "off"});
  EXPECT_NE(refusal(spinner()).find("PCI bus 0 takes 31"), std::string::npos) << refusal(spinner());
}

TEST_F(MachineTest, WithAdministrationQueuesTheyArePciFunctions) {
  config.platform.admin_queue = true;
  config.rng.resize(1);
  const auto devices = (*make(spinner()))->devices();
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_NE(devices[1].find("virtio-pci"), std::string::npos) << devices[1];
}

TEST_F(MachineTest, WithoutPciFunctionsThereIsNoPciBusToSearch) {
  // mov dx, 0xcf8; mov eax, 0x80000000; out dx, eax; mov dx, 0xcfc; in eax, dx; inc eax; jz +2; ud2;
  // mov dx, 0x600; mov al, 0x34; out dx, al; hlt: powers off where no function answers
  const auto searching = guest({0x66, 0xba, 0xf8, 0x0c, 0xb8, 0x00, 0x00, 0x00, 0x80, 0xef, 0x66, 0xba, 0xfc, 0x0c,
                                0xed, 0x40, 0x74, 0x02, 0x0f, 0x0b, 0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee, 0xf4});
  config.platform.virtio = "pci";
  EXPECT_EQ(run(searching).end, End::power_off);
  config.rng.resize(1);
  EXPECT_EQ(run(searching).end, End::triple_fault);
}

TEST_F(MachineTest, WithLocalApicsOnlyTheLinesAreOurIoApics) {
  config.platform.irqchip = "split";
  config.rng.resize(1);
  auto devices = (*make(spinner()))->devices();
  EXPECT_NE(devices[0].find("gsi 4"), std::string::npos) << devices[0];
  EXPECT_NE(devices[1].find("virtio-pci"), std::string::npos) << devices[1];
  config.platform.virtio = "mmio";
  devices = (*make(spinner()))->devices();
  EXPECT_NE(devices[1].find("virtio-mmio"), std::string::npos) << devices[1];
  EXPECT_EQ(run(port_writer(0x600, 0x34)).end, End::power_off);
}

TEST_F(MachineTest, MoreDevicesThanInterruptPinsShareThem) {
  config.rng.resize(16);
  config.console.assign(16, {"off", "off"});
  EXPECT_EQ(refusal(spinner()), "");
}

TEST_F(MachineTest, WhatIsMissingIsNamed) {
  config.kernel.path = "/nowhere/kernel";
  EXPECT_NE(refusal({}).find("/nowhere/kernel"), std::string::npos);
  config.kernel = {};
  EXPECT_NE(refusal({}).find("kernel"), std::string::npos) << "no built-in guest either";
  config.kernel.initrd = "/nowhere/initrd";
  EXPECT_NE(refusal(spinner()).find("/nowhere/initrd"), std::string::npos);
  config.kernel = {};
  config.block.push_back({"/nowhere/disk", false, false, "", 1});
  EXPECT_NE(refusal(spinner()).find("/nowhere/disk"), std::string::npos);
  config.block.clear();
  config.rng.push_back({"/nowhere/random"});
  EXPECT_NE(refusal(spinner()).find("/nowhere/random"), std::string::npos);
  config.rng.clear();
  config.serial.output = "/nowhere/out";
  EXPECT_NE(refusal(spinner()).find("/nowhere/out"), std::string::npos);
}

TEST_F(MachineTest, WhatDoesNotFitIsNamed) {
  const test::TempFile initrd(std::uint64_t{32} << 20);
  config.kernel.initrd = initrd.path();
  EXPECT_NE(refusal(spinner()).find(initrd.path()), std::string::npos) << refusal(spinner());
  config.kernel = {};
  config.kernel.cmdline = std::string(100'000, 'a');
  EXPECT_NE(refusal(spinner()).find("command line"), std::string::npos) << refusal(spinner());
  config.kernel = {};
  const test::TempFile odd(1'000'001);
  config.block.push_back({odd.path(), false, false, "", 1});
  EXPECT_NE(refusal(spinner()).find(odd.path()), std::string::npos) << refusal(spinner());
}

TEST_F(MachineTest, AHypervisorThatIsNoneIsNamed) {
  config.hypervisor = "nosuch";
  EXPECT_NE(refusal(spinner()).find("nosuch"), std::string::npos);
}

TEST_F(MachineTest, TooManyVcpusForTheHypervisorIsNamed) {
  config.vcpu.num = 255;
  EXPECT_NE(refusal(spinner()).find("vcpu num"), std::string::npos);
}

}  // namespace
}  // namespace trivet::vmm
