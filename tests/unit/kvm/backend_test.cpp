// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/core/backend_registry.hpp>

#include "device.hpp"
#include "hypervisor.hpp"
#include "support.hpp"

namespace trivet::kvm::test {
namespace {

TEST(DeviceTest, SaysWhatToDo) {
  expect_error(Device::open("/nonexistent/kvm"), Errc::not_found, "load the module");
  expect_error(Device::open("/dev/null"), Errc::not_found, "/dev/null is not a KVM device");
  const auto denied = open_error(EACCES, "/dev/kvm");
  EXPECT_EQ(denied.code(), Errc::permission);
  EXPECT_NE(to_string(denied).find("add yourself to group kvm"), std::string::npos);
  EXPECT_NE(to_string(open_error(ENODEV, "/dev/kvm")).find("firmware"), std::string::npos);
  EXPECT_FALSE(KvmHypervisor::open("/nonexistent/kvm"));
}

TEST(BackendTest, IsNamedAndComesFirst) {
  BackendRegistry registry;
  TRIVET_ASSERT_OK(registry.add(kvm::backend()));
  EXPECT_EQ(registry.find("kvm")->name(), "kvm");
  EXPECT_GT(registry.find("kvm")->priority(), 0);
  EXPECT_FALSE(registry.find("kvm")->probe().reason.empty());
}

TEST(BackendTest, LoadsAsAPluginAndRuns) {
  BackendRegistry registry;
  TRIVET_ASSERT_OK(registry.load(TRIVET_TEST_PLUGIN));
  const auto* backend = registry.find("kvm");
  ASSERT_NE(backend, nullptr);
  if (!backend->probe().usable) GTEST_SKIP() << backend->probe().reason;
  auto hypervisor = backend->open();
  TRIVET_ASSERT_OK(hypervisor);
  EXPECT_EQ((*hypervisor)->name(), "kvm");
}

using HypervisorTest = KvmTest;

TEST_F(HypervisorTest, TellsWhatItCanDo) {
  EXPECT_EQ(hypervisor->supports(Cap::port_io), Support::yes);
  EXPECT_EQ(hypervisor->supports(Cap::own_vcpu_threads), Support::yes);
  EXPECT_EQ(hypervisor->supports(Cap::halt_exits), Support::at_creation);
  for (const auto cap : {Cap::attach, Cap::hypercall_exits}) {
    EXPECT_EQ(hypervisor->supports(cap), Support::no) << to_string(cap);
  }
  EXPECT_GE(hypervisor->limit(Limit::vcpus), 1U);
  EXPECT_GE(hypervisor->limit(Limit::regions), 32U);
  EXPECT_GE(hypervisor->limit(Limit::physical_address_bits), 36U);
  const auto cpuid = hypervisor->supported_cpuid();
  TRIVET_ASSERT_OK(cpuid);
  EXPECT_GT(cpuid->size(), 5U);
  expect_error(hypervisor->attach(VmId{1}, {}), Errc::unsupported, "attach");
}

TEST_F(HypervisorTest, RefusesAConfigurationThatItCannotHonourAndNamesIt) {
  expect_error(hypervisor->create({.max_vcpus = 0}), Errc::invalid_argument, "max_vcpus");
  expect_error(hypervisor->create({.max_vcpus = 1'000'000}), Errc::limit, "vCPUs");
  expect_error(hypervisor->create({.irqchip = IrqchipKind::split, .pit = true}), Errc::unsupported, "pit");
  expect_error(hypervisor->create({.irqchip = IrqchipKind::none, .pit = true}), Errc::unsupported, "pit");
  expect_error(hypervisor->create({.irqchip = IrqchipKind::full, .halt_exits = true}), Errc::unsupported, "halt_exits");
  if (hypervisor->supports(Cap::dirty_ring) == Support::no) {
    expect_error(hypervisor->create({.dirty_ring_entries = 1024}), Errc::unsupported, "dirty_ring");
  } else {
    expect_error(hypervisor->create({.dirty_ring_entries = 1000}), Errc::invalid_argument, "power of two");
    expect_error(hypervisor->create({.dirty_ring_entries = 16}), Errc::invalid_argument, "from 256");
    expect_error(hypervisor->create({.dirty_ring_entries = 1U << 31}), Errc::invalid_argument, "power of two");
  }
}

TEST_F(HypervisorTest, ACallersCpuidIsTakenAsItIsAndOnlyBeforeTheFirstRun) {
  load({0xf4});
  auto cpuid = hypervisor->supported_cpuid();
  TRIVET_ASSERT_OK(cpuid);
  for (auto& entry : *cpuid) {
    if (entry.leaf == 0x40000000) entry.ebx = 0x56495254;
  }
  TRIVET_ASSERT_OK(vcpu().set_cpuid(*cpuid));
  const auto state = vcpu().save({StateElement::cpuid});
  TRIVET_ASSERT_OK(state);
  bool found = false;
  for (const auto& entry : *state->cpuid) found = found || (entry.leaf == 0x40000000 && entry.ebx == 0x56495254);
  EXPECT_TRUE(found);
  run_to<exits::Halted>();
  for (auto& entry : *cpuid) {
    if (entry.leaf == 0x40000000) entry.ebx = 0;
  }
  const auto late = vcpu().set_cpuid(*cpuid);
  if (!late) expect_error(late, Errc::bad_state, "has run");
  expect_error(vcpu().set_cpuid(std::vector<CpuidEntry>(5000)), Errc::limit);
}

TEST_F(HypervisorTest, MemoryMapsBeforeTheInterruptControllersAreThere) {
  ASSERT_NO_FATAL_FAILURE(make_vm({.irqchip = IrqchipKind::full}));
  expect_error(vm->irqchip()->save(), Errc::bad_state, "no vCPU");
  TRIVET_EXPECT_OK(vm->irq_router()->line(4, Trigger::edge));
  TRIVET_EXPECT_OK(vm->irqchip()->save());
  make_vcpu();
  EXPECT_EQ(vm->vcpus().size(), 1U);
}

}  // namespace
}  // namespace trivet::kvm::test
