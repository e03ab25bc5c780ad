// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <sys/socket.h>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/console.hpp>

// The first byte: whether there are further ports. The byte for the outside: who types, reads, resizes, or goes away.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::array<trivet::UniqueFd, 2> outside, inside;
  for (unsigned i = 0; i < 2; ++i) {
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()) != 0) std::abort();
    outside.at(i).reset(pair[0]);
    inside.at(i).reset(pair[1]);
  }
  trivet::virtio::ConsoleOptions options{
      .input_fd = inside[0].value(), .output_fd = inside[0].value(), .columns = 80, .rows = 25};
  if ((data[0] & 1) != 0) {
    options.ports = {{.name = "agent", .input_fd = inside[1].value(), .output_fd = inside[1].value()},
                     {.name = "console", .is_console = true}};
  }
  auto console = trivet::virtio::Console::create(options);
  auto* device = console->get();
  const auto script = std::as_bytes(std::span(data, size)).subspan(1);
  const auto home = (data[0] & 2) != 0 ? trivet::test::Home::pci : trivet::test::Home::mmio;

  trivet::test::play_hostile_driver(
      script, std::move(*console),
      [&](std::uint8_t what) {
        auto& end = outside.at(what >> 3 & 1U);
        std::array<char, 5120> buffer{};
        ssize_t moved = 0;
        switch (what % 4) {
          case 0:
            moved = ::send(end.value(), buffer.data(), what * 20U, MSG_NOSIGNAL);
            break;
          case 1:
            moved = ::recv(end.value(), buffer.data(), buffer.size(), 0);
            break;
          case 2:
            device->resize(what, what);
            (void)device->resize_port(what % 5U, what, what);
            break;
          default:
            if (what > 200) end.reset();
            if (what > 100) (void)device->remove_port(what % 5U);
        }
        (void)moved;
      },
      home);
  return 0;
}
