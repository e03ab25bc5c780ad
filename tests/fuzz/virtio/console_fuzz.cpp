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

// The byte for the outside: who types, reads, resizes, or goes away.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()) != 0) std::abort();
  trivet::UniqueFd outside(pair[0]);
  const trivet::UniqueFd inside(pair[1]);
  auto console = trivet::virtio::Console::create(
      {.input_fd = inside.value(), .output_fd = inside.value(), .columns = 80, .rows = 25});
  auto* device = console->get();

  trivet::test::play_hostile_driver(std::as_bytes(std::span(data, size)), std::move(*console), [&](std::uint8_t what) {
    std::array<char, 5120> buffer{};
    ssize_t moved = 0;
    switch (what % 4) {
      case 0:
        moved = ::send(outside.value(), buffer.data(), what * 20U, MSG_NOSIGNAL);
        break;
      case 1:
        moved = ::recv(outside.value(), buffer.data(), buffer.size(), 0);
        break;
      case 2:
        device->resize(what, what);
        break;
      default:
        if (what > 200) outside.reset();
    }
    (void)moved;
  });
  return 0;
}
