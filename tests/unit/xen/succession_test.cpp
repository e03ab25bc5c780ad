// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <filesystem>
#include <set>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device.hpp"
#include "support.hpp"

namespace trivet::xen::test {
namespace {

/// Domains that this process makes have the same handle, as those that xl makes at each reboot of a guest.
class XenSuccessionTest : public XenTest {
 protected:
  /// The guest of `load`, followed.
  void follow() {
    ASSERT_NO_FATAL_FAILURE(load({0xeb, 0xfe}));
    if (IsSkipped()) return;
    auto opened = open_device();
    TRIVET_ASSERT_OK(opened);
    domctl.emplace(std::move(*opened));
    first = newest();
    auto followed = hypervisor->follow(VmId{first});
    TRIVET_ASSERT_OK(followed);
    succession = std::move(*followed);
    TRIVET_ASSERT_OK(vm->resume());
  }
  [[nodiscard]] DomainId newest() const {
    const auto domains = domctl->list();
    return domains && !domains->empty() ? domains->back().id : DomainId{0};
  }
  [[nodiscard]] bool expected() const {
    const auto expected = succession->expected();
    EXPECT_TRUE(expected) << to_string(expected.error());
    return expected && *expected;
  }
  /// 0: nothing yet.
  [[nodiscard]] DomainId found() const {
    const auto next = succession->find();
    EXPECT_TRUE(next) << to_string(next.error());
    return next && *next ? static_cast<DomainId>(**next) : DomainId{0};
  }

  std::optional<Domctl> domctl;
  DomainId first = 0;
  std::unique_ptr<Succession> succession;
};

TEST_F(XenSuccessionTest, TheNextOneIsFoundHeldAndLetGo) {
  ASSERT_NO_FATAL_FAILURE(follow());
  if (IsSkipped()) return;
  TRIVET_ASSERT_OK(domctl->shut_down(first, SHUTDOWN_reboot));
  vm.reset();
  EXPECT_TRUE(expected()) << "known of a domain that its toolstack has destroyed";
  EXPECT_EQ(found(), 0);
  expect_error(succession->let_go(), Errc::bad_state);

  ASSERT_NO_FATAL_FAILURE(make_vm());
  EXPECT_EQ(found(), 0) << "being built";
  put(code_at, {0xba, 0x00, 0x05, 0xee, 0xeb, 0xfd});
  ASSERT_NO_FATAL_FAILURE(make_vcpu());
  const auto second = newest();
  ASSERT_NE(second, first);
  EXPECT_EQ(found(), second);
  TRIVET_ASSERT_OK(vm->resume());
  auto info = domctl->info(second);
  ASSERT_TRUE(info && *info);
  EXPECT_TRUE((*info)->paused) << "its toolstack's unpause is not the last";
  TRIVET_ASSERT_OK(succession->let_go());
  info = domctl->info(second);
  ASSERT_TRUE(info && *info);
  EXPECT_FALSE((*info)->paused);
  ASSERT_NO_FATAL_FAILURE(run_to_mark());

  // And so on.
  TRIVET_ASSERT_OK(domctl->shut_down(second, SHUTDOWN_crash));
  vm.reset();
  EXPECT_TRUE(expected());
  EXPECT_EQ(found(), 0);
}

TEST_F(XenSuccessionTest, NobodyTakesThePlaceOfOneThatWantsNone) {
  for (const unsigned reason : std::initializer_list<unsigned>{SHUTDOWN_poweroff, SHUTDOWN_suspend, SHUTDOWN_MAX + 1}) {
    ASSERT_NO_FATAL_FAILURE(follow());
    if (IsSkipped()) return;
    if (reason <= SHUTDOWN_MAX) {
      TRIVET_ASSERT_OK(domctl->shut_down(first, reason));
    }
    vm.reset();  // or destroyed from outside
    EXPECT_FALSE(expected()) << reason;
    succession.reset();
  }
}

TEST_F(XenSuccessionTest, OneThatRunsAlreadyIsTooLate) {
  ASSERT_NO_FATAL_FAILURE(follow());
  if (IsSkipped()) return;
  TRIVET_ASSERT_OK(domctl->shut_down(first, SHUTDOWN_reboot));
  vm.reset();
  EXPECT_TRUE(expected());
  ASSERT_NO_FATAL_FAILURE(load({0xeb, 0xfe}));
  TRIVET_ASSERT_OK(vm->resume());
  expect_error(succession->find(), Errc::bad_state, "started before");
}

TEST_F(XenSuccessionTest, WhatIsNotThereCannotBeFollowed) {
  if (IsSkipped()) return;
  expect_error(hypervisor->follow(VmId{0}), Errc::invalid_argument, "domain 0");
  expect_error(hypervisor->follow(VmId{0x7000}), Errc::not_found, "28672");
  const auto bare = hypervisor->create({.irqchip = IrqchipKind::split});
  TRIVET_ASSERT_OK(bare);
  auto opened = open_device();
  TRIVET_ASSERT_OK(opened);
  domctl.emplace(std::move(*opened));
  expect_error(hypervisor->follow(VmId{newest()}), Errc::not_found, "no memory");
}

/// Descriptors of Xen's hypercall device.
std::set<int> hypercall_descriptors() {
  std::set<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (std::filesystem::read_symlink(entry, gone) == "/dev/xen/privcmd")
      found.insert(std::stoi(entry.path().filename()));
  }
  return found;
}

/// Asks for Xen's version, which any domain may.
bool makes_hypercalls(int fd) {
  struct Call {
    std::uint64_t number = 17;  // xen_version
    std::array<std::uint64_t, 5> arguments{};
  } call;
  return ::ioctl(fd, _IOC(_IOC_NONE, 'P', 0, sizeof call), &call) >= 0;
}

/// Xen's way to restrict a process is for all of it: in one of its own.
int serve_without_privileges(VmId id) {
  auto serving = backend()->open();
  if (!serving) return 10;
  const auto attached = (*serving)->attach(id, {});
  if (!attached) return 11;
  const auto opened = hypercall_descriptors();
  if (std::none_of(opened.begin(), opened.end(), makes_hypercalls)) return 12;  // the question is no question
  if (!(*serving)->drop_privileges()) return 13;
  if (std::any_of(opened.begin(), opened.end(), makes_hypercalls)) return 14;
  const auto again = (*serving)->attach(id, {});
  if (again || again.error().code() != Errc::permission) return 15;
  if (const auto made = (*serving)->create({}); made || made.error().code() != Errc::permission) return 16;
  if (const auto followed = (*serving)->follow(id); followed || followed.error().code() != Errc::permission) return 17;
  if (!(*attached)->io_claims()->claim_ports(0x600, 1)) return 18;
  Recorder io;
  io.on_access = [&](const Seen&) { (*attached)->runners().front()->kicker().kick(); };
  const auto exit = (*attached)->runners().front()->run(io);
  return exit && io.seen.size() == 1 ? 0 : 19;
}

TEST_F(XenSuccessionTest, WhoGaveUpItsPrivilegesServesWhatItHasAndNoMore) {
  if (IsSkipped()) return;
  hypervisor.reset();  // nothing of it in the child
  std::array<int, 2> made{};
  ASSERT_EQ(::pipe(made.data()), 0);
  const auto child = ::fork();
  if (child == 0) {
    DomainId id = 0;
    if (::read(made[0], &id, sizeof id) != sizeof id) ::_exit(9);
    ::_exit(serve_without_privileges(VmId{id}));
  }
  ASSERT_NO_FATAL_FAILURE(SetUp());
  // mov dx, 0x600; again: out dx, al; jmp again: what nobody claims yet never leaves Xen
  ASSERT_NO_FATAL_FAILURE(load({0xba, 0x00, 0x06, 0xee, 0xeb, 0xfd}));
  expect_error(hypervisor->drop_privileges(), Errc::bad_state, "made");
  auto opened = open_device();
  TRIVET_ASSERT_OK(opened);
  domctl.emplace(std::move(*opened));
  TRIVET_ASSERT_OK(vm->resume());
  const auto id = newest();
  ASSERT_EQ(::write(made[1], &id, sizeof id), sizeof id);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  for (const int end : made) ::close(end);
}

}  // namespace
}  // namespace trivet::xen::test
