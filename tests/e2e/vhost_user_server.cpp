// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Devices behind the vhost-user harness, for a VMM of somebody else's. Each serves one connection; the program ends
// when the last has ended, with status 0 if all was well: nobody was refused and nothing was logged.
//
// usage: trivet_e2e_vhost_user KIND SOCKET ARGUMENT...     block SOCKET IMAGE | rng SOCKET - | vsock SOCKET PATH (the
// guest is 42)
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <trivet/test/vhost_user_server.hpp>
#include <trivet/virtio/block.hpp>
#include <trivet/virtio/raw_disk.hpp>
#include <trivet/virtio/rng.hpp>
#include <trivet/virtio/vsock.hpp>

namespace {

using namespace trivet;
using test::vhost_user::Server;

Result<std::unique_ptr<virtio::Device>> make_device(const std::string& kind, const std::string& argument) {
  if (kind == "block") {
    TRIVET_ASSIGN(auto disk, virtio::RawDisk::open(argument, {}));
    TRIVET_ASSIGN(auto backend, virtio::create_backend(std::move(disk)));
    TRIVET_ASSIGN(auto block, virtio::Block::create(std::move(backend)));
    return std::unique_ptr<virtio::Device>(std::move(block));
  }
  if (kind == "rng") {
    TRIVET_ASSIGN(auto rng, virtio::Rng::create());
    return std::unique_ptr<virtio::Device>(std::move(rng));
  }
  if (kind == "vsock") {
    TRIVET_ASSIGN(auto vsock, virtio::Vsock::create({.cid = 42, .path = argument}));
    return std::unique_ptr<virtio::Device>(std::move(vsock));
  }
  return Error(Errc::invalid_argument, "make a device", kind);
}

Result<UniqueFd> listen_at(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return Error(Errc::invalid_argument, "listen", path);
  std::memcpy(address.sun_path, path.c_str(), path.size());
  // SAFETY: how socket addresses are given to the kernel.
  const auto* plain = reinterpret_cast<const sockaddr*>(&address);
  if (::bind(socket.value(), plain, sizeof address) != 0 || ::listen(socket.value(), 1) != 0) {
    return Error::from_errno(errno, "listen", path);
  }
  return socket;
}

/// One device and its one connection.
struct Service {
  Service(boost::asio::io_context& loop, std::string its_kind, std::unique_ptr<virtio::Device> its_device,
          const UniqueFd& listener)
      : kind(std::move(its_kind)), device(std::move(its_device)), waiting(loop, ::dup(listener.value())) {}

  void wait(bool& well) {
    waiting.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this, &well](const auto& error) {
      UniqueFd connection(error ? -1 : ::accept4(waiting.native_handle(), nullptr, nullptr, SOCK_CLOEXEC));
      waiting.close();
      if (!connection.valid()) return say(well, "accept failed");
      std::printf("%s: connected\n", kind.c_str());
      auto made = Server::create(std::move(device), std::move(connection),
                                 {.executor = waiting.get_executor(),
                                  .log = [this, &well](const Error& what) { say(well, to_string(what)); },
                                  .ended = [this](const Result<void>&) { std::printf("%s: ended\n", kind.c_str()); },
                                  .protocol_features = protocol_features()});
      if (!made) return say(well, to_string(made.error()));
      server = std::move(*made);
    });
  }
  /// A device that has no configuration offers none: QEMU warns otherwise.
  [[nodiscard]] std::uint64_t protocol_features() const {
    using namespace test::vhost_user;
    return kind == "rng" ? all_protocol_features & ~abi::protocol_f_config : all_protocol_features;
  }
  void say(bool& well, const std::string& what) const {
    std::fprintf(stderr, "%s: %s\n", kind.c_str(), what.c_str());
    well = false;
  }

  std::string kind;
  std::unique_ptr<virtio::Device> device;
  boost::asio::posix::stream_descriptor waiting;
  std::unique_ptr<Server> server;
};

int fail(const Error& error) {
  std::fprintf(stderr, "vhost_user_server: %s\n", to_string(error).c_str());
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || argc % 3 != 1) {
    std::fprintf(stderr, "usage: %s KIND SOCKET ARGUMENT...\n", argv[0]);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  boost::asio::io_context loop(1);
  std::vector<std::unique_ptr<Service>> services;
  bool well = true;
  for (int i = 1; i < argc; i += 3) {
    auto device = make_device(argv[i], argv[i + 2]);
    if (!device) return fail(device.error());
    auto listener = listen_at(argv[i + 1]);
    if (!listener) return fail(listener.error());
    services.push_back(std::make_unique<Service>(loop, argv[i], std::move(*device), *listener));
    services.back()->wait(well);
  }
  std::printf("listening\n");
  loop.run();  // until nobody waits for anything more
  return well ? 0 : 1;
}
