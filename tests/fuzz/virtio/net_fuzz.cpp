// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/net.hpp>
#include <trivet/virtio/packet_fds.hpp>

namespace {

namespace abi = trivet::virtio::abi;

/// A frame of any size to one of a few addresses, with any header.
void send_frame(int cable, std::uint8_t what) {
  constexpr std::array<std::array<std::uint8_t, 6>, 4> addresses{
      {{0x52, 0x54, 0, 1, 2, 3}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {0x33, 0x33, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 7}}};
  std::vector<std::uint8_t> frame(what < 16 ? what : std::size_t{what} * what);
  if (frame.size() > 30) {
    frame[0] = what;
    std::copy_n(addresses.at(what % 4).begin(), 6, frame.begin() + 12);
    if ((what & 8) != 0) frame[24] = 0x81;  // a VLAN's
    if ((what & 16) != 0) {                 // IPv4 with TCP, as far as there is room
      frame[24] = 8;
      frame[26] = static_cast<std::uint8_t>(0x40 | (what & 15));
      if (frame.size() > 35) frame[35] = 6;
    }
  }
  const auto sent = ::send(cable, frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)sent;  // a full cable loses it
}

}  // namespace

// The first byte: how the device is made. The byte for the outside: frames come, are taken, the cable is pulled.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::vector<trivet::UniqueFd> cables, fds;
  for (int i = 0; i < ((data[0] & 16) != 0 ? 2 : 1); ++i) {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()) != 0) std::abort();
    cables.emplace_back(pair[0]);
    fds.emplace_back(pair[1]);
  }
  auto network = trivet::virtio::PacketFds::create(std::move(fds), abi::net_guest_offloads | abi::net_host_offloads);
  trivet::virtio::NetOptions options;
  options.mac = {{0x52, 0x54, 0, 1, 2, 3}};
  options.offloads = (data[0] & 1) != 0;
  options.rss = (data[0] & 8) != 0;
  if ((data[0] & 2) != 0) options.receive.operations = {1U << 20, 4};
  auto net = trivet::virtio::Net::create(std::move(*network), options);
  auto* device = net->get();
  const auto home = (data[0] & 4) != 0 ? trivet::test::Home::pci : trivet::test::Home::mmio;

  const auto outside = [&](std::uint8_t what) {
    std::array<char, 4096> taken{};
    auto& cable = cables[(what & 1U) % cables.size()];
    if (what < 200) return send_frame(cable.value(), what);
    if (what < 240 && ::recv(cable.value(), taken.data(), taken.size(), MSG_DONTWAIT) < 0) return;
    if (what == 240) device->announce();
    if (what == 241 || what == 242) device->set_link(what == 242);
    if (what == 255) cable.reset();
  };
  trivet::test::play_hostile_driver(std::as_bytes(std::span(data, size)).subspan(1), std::move(*net), outside, home);
  return 0;
}
