// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/tap.hpp>

namespace trivet::virtio {
namespace {

/// An interface that lives as long as its descriptor; not valid where this user may not make one.
UniqueFd make_tap(const std::string& name, int flags) {
  UniqueFd fd(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  ifreq request = {};
  std::memcpy(static_cast<void*>(request.ifr_name), name.data(), name.size());
  request.ifr_flags = static_cast<short>(flags);
  if (fd.valid() && ::ioctl(fd.value(), TUNSETIFF, &request) != 0) fd.reset();
  return fd;
}
std::string unique_name() {
  static int count = 0;
  return "tv" + std::to_string(::getpid() % 100000) + "x" + std::to_string(count++);
}
std::string refusal(const Result<std::unique_ptr<Tap>>& tap) {
  return tap ? std::string() : to_string(tap.error());
}

#define NEED_TAP(fd) \
  if (!(fd).valid()) GTEST_SKIP() << "this user may make no tap here"

TEST(Tap, NamesAnInterfaceThatIsNone) {
  const auto tap = Tap::open("trivet-none0");
  ASSERT_FALSE(tap);
  EXPECT_EQ(tap.error().code(), Errc::not_found);
  EXPECT_NE(refusal(tap).find("trivet-none0"), std::string::npos);
  EXPECT_EQ(::if_nametoindex("trivet-none0"), 0U) << "and makes none";
  EXPECT_FALSE(Tap::open(""));
  EXPECT_FALSE(Tap::open(std::string(16, 'x')));
  EXPECT_FALSE(Tap::open("tap0", 0));
  EXPECT_FALSE(Tap::open("tap0", 257));
}

TEST(Tap, RefusesWhatIsNoTap) {
  const auto probe = make_tap(unique_name(), IFF_TAP | IFF_NO_PI);
  NEED_TAP(probe);
  EXPECT_EQ(Tap::open("lo").error().code(), Errc::invalid_argument);
  std::array<int, 2> pair{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM, 0, pair.data()), 0);
  std::vector<UniqueFd> fds;
  fds.emplace_back(pair[0]);
  const UniqueFd other(pair[1]);
  EXPECT_EQ(Tap::adopt(std::move(fds)).error().code(), Errc::invalid_argument);
  std::vector<UniqueFd> plain;
  plain.push_back(make_tap(unique_name(), IFF_TAP | IFF_NO_PI));
  EXPECT_NE(refusal(Tap::adopt(std::move(plain))).find("IFF_VNET_HDR"), std::string::npos);
}

TEST(Tap, OneInUseSaysSo) {
  const auto name = unique_name();
  const auto user = make_tap(name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
  NEED_TAP(user);
  EXPECT_NE(refusal(Tap::open(name)).find("in use"), std::string::npos);
  EXPECT_NE(refusal(Tap::open(name, 2)).find("multi_queue"), std::string::npos);
}

TEST(Tap, AttachesByNameWithQueuePairs) {
  const auto name = unique_name();
  const auto owner = make_tap(name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
  NEED_TAP(owner);
  const auto tap = Tap::open(name, 2);
  ASSERT_TRUE(tap) << refusal(tap);
  EXPECT_EQ((*tap)->name(), name);
  EXPECT_EQ((*tap)->info().pairs, 2U);
  EXPECT_NE((*tap)->info().offloads & abi::net_f_host_tso4, 0U);
  EXPECT_NE((*tap)->info().offloads & abi::net_f_guest_csum, 0U);
  for (const unsigned pairs : {1U, 2U, 1U, 1U, 2U}) EXPECT_TRUE((*tap)->use_pairs(pairs)) << pairs;
  EXPECT_TRUE((*tap)->set_offloads((*tap)->info().offloads & abi::net_guest_offloads));
  EXPECT_TRUE((*tap)->set_offloads(abi::net_f_guest_csum | abi::net_f_guest_tso6));
  EXPECT_TRUE((*tap)->set_offloads(0));
  EXPECT_TRUE(Tap::open(name, 1)) << "one queue of a tap that has many";
}

TEST(Tap, AdoptsADescriptor) {
  const auto name = unique_name();
  std::vector<UniqueFd> fds;
  fds.push_back(make_tap(name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR));
  NEED_TAP(fds.front());
  const auto tap = Tap::adopt(std::move(fds));
  ASSERT_TRUE(tap) << refusal(tap);
  EXPECT_EQ((*tap)->name(), name);
  EXPECT_TRUE((*tap)->use_pairs(1));
}

}  // namespace
}  // namespace trivet::virtio
