// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The backend as a whole: probe, plugin, what it refuses, claims, attaching, and that nothing is left.
#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <trivet/core/backend_registry.hpp>

#include "device.hpp"
#include "ioreq_server.hpp"
#include "owner.hpp"
#include "support.hpp"

namespace trivet::xen::test {
namespace {

using ::testing::ElementsAre;

class XenBackendTest : public XenTest {
 protected:
  /// The numbers of the domains that this process made.
  std::vector<DomainId> own_domains() {
    std::vector<DomainId> own;
    const auto self = this_process();
    const auto domctl = open_device();
    EXPECT_TRUE(self && domctl);
    if (!self || !domctl) return own;
    const auto all = domctl->list();
    EXPECT_TRUE(all.has_value());
    for (const auto& domain : *all) {
      if (owner_of(domain.handle) == *self && !domain.dying) own.push_back(domain.id);
    }
    return own;
  }
};

TEST(XenProbeTest, ItSaysWhyAndWhatToDo) {
  const auto probe = backend()->probe();
  EXPECT_FALSE(probe.reason.empty());
  if (probe.usable) return;
  EXPECT_NE(probe.reason.find("open Xen"), std::string::npos) << probe.reason;
  const auto opened = backend()->open();
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(to_string(opened.error()), probe.reason);
}

TEST(XenProbeTest, ThePluginIsTheSame) {
  BackendRegistry registry;
  TRIVET_ASSERT_OK(registry.load(TRIVET_TEST_PLUGIN));
  const auto* loaded = registry.find("xen");
  ASSERT_NE(loaded, nullptr);
  EXPECT_EQ(loaded->probe().reason, backend()->probe().reason);
}

TEST_F(XenBackendTest, WhatADomainCannotBeIsRefusedByName) {
  if (IsSkipped()) return;
  VmConfig config;
  config.irqchip = IrqchipKind::none;
  expect_error(hypervisor->create(config), Errc::unsupported, "IrqchipKind::none");
  config = {};
  config.max_vcpus = 0;
  expect_error(hypervisor->create(config), Errc::invalid_argument, "max_vcpus");
  config.max_vcpus = 129;
  expect_error(hypervisor->create(config), Errc::limit, "128");
  config = {};
  config.halt_exits = true;
  expect_error(hypervisor->create(config), Errc::unsupported, "halt_exits");
  config = {};
  config.dirty_ring_entries = 512;
  expect_error(hypervisor->create(config), Errc::unsupported, "dirty_ring");
  config = {};
  config.irqchip = IrqchipKind::split;
  config.pit = true;
  expect_error(hypervisor->create(config), Errc::unsupported, "pit");
  EXPECT_TRUE(own_domains().empty());
}

TEST_F(XenBackendTest, NothingIsLeftOfADomain) {
  if (IsSkipped()) return;
  for (int i = 0; i < 5; ++i) {
    ASSERT_NO_FATAL_FAILURE(load({0xba, 0x10, 0x05, 0xee, 0xeb, 0xfd}));
    EXPECT_EQ(own_domains().size(), 1U);
    TRIVET_ASSERT_OK(vm->resume());  // it runs, with an access under way
    vm.reset();
    EXPECT_TRUE(own_domains().empty());
  }
}

TEST_F(XenBackendTest, AsManyVcpusAsXenGives) {
  if (IsSkipped()) return;
  ASSERT_NO_FATAL_FAILURE(make_vm(IrqchipKind::split, 128));
  for (unsigned i = 0; i < 128; ++i) TRIVET_ASSERT_OK(vm->create_vcpu(i));
  EXPECT_EQ(vm->vcpus().size(), 128U);
  EXPECT_EQ(vm->runners().size(), 1U);
}

TEST_F(XenBackendTest, ClaimsAreExact) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  auto& claims = *vm->io_claims();
  expect_error(claims.claim_ports(0x5f0, 0x20), Errc::already_exists, "0x500");
  expect_error(claims.claim_ports(0xffff, 2), Errc::invalid_argument, "ports");
  expect_error(claims.claim_ports(0, 0), Errc::invalid_argument, "ports");
  expect_error(claims.release_ports(0x500, 1), Errc::not_found, "not claimed");
  TRIVET_EXPECT_OK(claims.release_ports(0x500, 0x100));
  expect_error(claims.release_ports(0x500, 0x100), Errc::not_found, "not claimed");
  expect_error(claims.claim_memory({{0}, 0}), Errc::invalid_argument, "empty");
  TRIVET_EXPECT_OK(claims.claim_memory({{0xd0000000}, 0x1000}));
  expect_error(claims.claim_memory({{0xd0000800}, 0x1000}), Errc::already_exists, "0xd0000000");
  TRIVET_EXPECT_OK(claims.release_memory({{0xd0000000}, 0x1000}));
  TRIVET_EXPECT_OK(claims.claim_pci({0, 0, 3, 1}));
  expect_error(claims.claim_pci({0, 0, 3, 1}), Errc::already_exists, "03.1");
  expect_error(claims.claim_pci({0, 0, 32, 0}), Errc::invalid_argument, "0 to 31");
  TRIVET_EXPECT_OK(claims.release_pci({0, 0, 3, 1}));
  expect_error(claims.release_pci({0, 0, 3, 1}), Errc::not_found, "03.1");
  Result<void> claimed;
  unsigned count = 0;
  for (; claimed && count < 1000; ++count) claimed = claims.claim_memory({{0xe0000000 + count * 0x1000}, 0x800});
  expect_error(claimed, Errc::limit, "256");
}

TEST_F(XenBackendTest, AttachingToWhatIsNotThereSaysSo) {
  if (IsSkipped()) return;
  expect_error(hypervisor->attach(VmId{0}, {}), Errc::invalid_argument, "domain 0");
  expect_error(hypervisor->attach(VmId{0x7ff0}, {}), Errc::invalid_argument, "32752");
  expect_error(hypervisor->attach(VmId{0x7000}, {}), Errc::not_found, "28672");
  ASSERT_NO_FATAL_FAILURE(make_vm());
  AttachConfig config;
  config.vcpu_state = true;
  expect_error(hypervisor->attach(VmId{own_domains().front()}, config), Errc::permission, "vCPU state");
}

TEST_F(XenBackendTest, AnAttachedServerServesItsPartBesideTheOther) {
  // mov dx, 0x600; mov si, 0x2000; mov cx, 4; rep outsb; mov al, 9; out dx, al; mov dx, 0x510; out dx, al; cli; hlt
  ASSERT_NO_FATAL_FAILURE(load({0xba, 0x00, 0x06, 0xbe, 0x00, 0x20, 0xb9, 0x04, 0x00, 0xf3,
                                0x6e, 0xb0, 0x09, 0xee, 0xba, 0x10, 0x05, 0xee, 0xfa, 0xf4}));
  if (IsSkipped()) return;
  put(0x2000, {1, 2, 3, 4});
  const auto id = VmId{own_domains().front()};
  auto attached = hypervisor->attach(id, {});
  TRIVET_ASSERT_OK(attached);
  auto& other = **attached;
  EXPECT_TRUE(other.vcpus().empty());
  EXPECT_FALSE(other.state_support(StateElement::general_registers).present);
  TRIVET_ASSERT_OK(other.io_claims()->claim_ports(0x600, 0x10));
  const auto mapped = other.map({{{0x2000}, 0x2000}, HypervisorMemory{}});
  TRIVET_ASSERT_OK(mapped);
  EXPECT_EQ(mapped->host[0], std::byte{1});
  mapped->host[0] = std::byte{7};
  EXPECT_EQ(ram[0x2000], std::byte{7});
  TRIVET_EXPECT_OK(other.dirty_log()->mark({{0x2000}, 1}));
  TRIVET_EXPECT_OK(other.irq_router()->signal_msi({0xfee00000, 0x40, 0}));
  expect_error(other.irq_router()->line(4, Trigger::edge), Errc::unsupported, "lines");
  expect_error(other.map({{{0x80000000}, 0x1000}, HypervisorMemory{}}), Errc::not_found, "0x80000");
  expect_error(other.map({{{ram_size - 0x1000}, 0x3000}, HypervisorMemory{}}), Errc::not_found, "0x100");
  expect_error(other.create_vcpu(0), Errc::unsupported, "toolstack");
  expect_error(other.pause(), Errc::unsupported, "toolstack");
  TRIVET_EXPECT_OK(other.resume());
  Recorder theirs;
  std::thread serving([&] {
    const auto exit = other.runners().front()->run(theirs);
    EXPECT_TRUE(exit && std::holds_alternative<exits::Kicked>(*exit));
  });
  // Unmapped again, the string's bytes are reached through a window.
  TRIVET_EXPECT_OK(other.unmap({{0x2000}, 0x2000}));
  run_to<exits::PowerOff>();
  other.runners().front()->kicker().kick();
  serving.join();
  EXPECT_THAT(theirs.seen, ElementsAre(Seen{Seen::pio_out, 0x600, 1, 7}, Seen{Seen::pio_out, 0x600, 1, 2},
                                       Seen{Seen::pio_out, 0x600, 1, 3}, Seen{Seen::pio_out, 0x600, 1, 4},
                                       Seen{Seen::pio_out, 0x600, 1, 9}));
  EXPECT_THAT(io.seen, ElementsAre(Seen{Seen::pio_out, 0x510, 1, 9}));
}

TEST_F(XenBackendTest, AnAttachedRunnerEndsWithTheDomain) {
  ASSERT_NO_FATAL_FAILURE(load({0xeb, 0xfe}));
  if (IsSkipped()) return;
  auto attached = hypervisor->attach(VmId{own_domains().front()}, {});
  TRIVET_ASSERT_OK(attached);
  const auto mapped = (*attached)->map({{{0}, ram_size}, HypervisorMemory{}});
  TRIVET_ASSERT_OK(mapped);
  TRIVET_ASSERT_OK(vm->resume());
  std::thread ending([&] { vm.reset(); });
  const auto exit = (*attached)->runners().front()->run(io);
  ending.join();
  TRIVET_ASSERT_OK(exit);
  EXPECT_TRUE(std::holds_alternative<exits::PowerOff>(*exit));
  // What is mapped stays, so that a device under way harms nothing.
  mapped->host[0] = std::byte{1};
  expect_error((*attached)->map({{{0x100000}, 0x1000}, HypervisorMemory{}}), Errc::not_found);
}

TEST_F(XenBackendTest, ADomainThatIsDestroyedUnderneathIsAnError) {
  ASSERT_NO_FATAL_FAILURE(load({0xeb, 0xfe}));
  if (IsSkipped()) return;
  TRIVET_ASSERT_OK(vm->resume());
  const auto domctl = open_device();
  TRIVET_ASSERT_OK(domctl);
  TRIVET_ASSERT_OK(domctl->destroy(own_domains().front()));
  expect_error(runner().run(io), Errc::not_found, "destroyed");
}

TEST_F(XenBackendTest, TheNinthServerIsRefused) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  const auto id = VmId{own_domains().front()};
  std::vector<std::unique_ptr<Vm>> servers;
  for (unsigned i = 1; i < 8; ++i) {
    auto attached = hypervisor->attach(id, {});
    TRIVET_ASSERT_OK(attached);
    servers.push_back(std::move(*attached));
  }
  expect_error(hypervisor->attach(id, {}), Errc::limit, "8");
  servers.pop_back();
  TRIVET_EXPECT_OK(hypervisor->attach(id, {}));
}

TEST_F(XenBackendTest, AHandleReachesItsOwnDomainOnly) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  if (IsSkipped()) return;
  const auto first = own_domains().front();
  auto other = hypervisor->create({.irqchip = IrqchipKind::split});
  TRIVET_ASSERT_OK(other);
  auto domains = own_domains();
  ASSERT_EQ(domains.size(), 2U);
  const auto second = domains[0] == first ? domains[1] : domains[0];
  auto handles = Handles::open(first);
  TRIVET_ASSERT_OK(handles);
  unsigned count = 0;
  EXPECT_EQ(xendevicemodel_nr_vcpus(handles->device_model.get(), first, &count), 0);
  EXPECT_NE(xendevicemodel_nr_vcpus(handles->device_model.get(), second, &count), 0);
}

TEST_F(XenBackendTest, TheReaperTakesWhatAKilledProcessLeft) {
  if (IsSkipped()) return;
  hypervisor.reset();
  const auto child = ::fork();
  if (child == 0) {
    auto opened = backend()->open();
    auto made =
        opened ? (*opened)->create({.irqchip = IrqchipKind::split}) : Result<std::unique_ptr<Vm>>(opened.error());
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  const auto domctl = open_device();
  TRIVET_ASSERT_OK(domctl);
  auto opened = backend()->open();
  TRIVET_ASSERT_OK(opened);
  auto living = (*opened)->create({.irqchip = IrqchipKind::split});
  TRIVET_ASSERT_OK(living);
  const auto reaped = reap(*domctl);
  TRIVET_ASSERT_OK(reaped);
  EXPECT_EQ(*reaped, 1U);
  EXPECT_EQ(own_domains().size(), 1U);
}

}  // namespace
}  // namespace trivet::xen::test
