// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/hostile_driver.hpp>
#include <trivet/virtio/vsock.hpp>

namespace {

using trivet::UniqueFd;

sockaddr_un address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

/// The host's programs: listeners on ports 1 (stream) and 2 (messages), and whoever is connected.
class Programs {
 public:
  Programs() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vsock-fuzz.XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
    listeners_[0] = listen_on(path() + "_1", SOCK_STREAM);
    listeners_[1] = listen_on(path() + "_2", SOCK_SEQPACKET);
  }
  ~Programs() { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path() const { return folder_ + "/v"; }

  void act(std::uint8_t what) {
    switch (what % 6) {
      case 0:
        return connect(what / 6);
      case 1:
        return accept(what / 6 % 2);
      case 2:
        return write(what / 6);
      case 3:
        return read(what / 6);
      case 4:
        if (auto* program = pick(what / 6)) (void)::shutdown(program->value(), what / 24 % 3);
        return;
      default:
        if (!connected_.empty()) connected_.erase(connected_.begin() + what / 6 % static_cast<int>(connected_.size()));
    }
  }
  /// For the next run: nobody is left.
  void go_away() {
    connected_.clear();
    for (const auto& listener : listeners_) {
      while (UniqueFd(::accept4(listener.value(), nullptr, nullptr, SOCK_CLOEXEC)).valid()) {
      }
    }
  }

 private:
  static UniqueFd listen_on(const std::string& at, int type) {
    UniqueFd fd(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto where = address(at);
    if (::bind(fd.value(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) std::abort();
    if (::listen(fd.value(), 4) != 0) std::abort();
    return fd;
  }
  UniqueFd* pick(unsigned which) { return connected_.empty() ? nullptr : &connected_[which % connected_.size()]; }

  void connect(unsigned how) {
    const bool messages = (how & 1) != 0;
    UniqueFd fd(::socket(AF_UNIX, (messages ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const auto where = address(path() + (messages ? ".seqpacket" : ""));
    if (::connect(fd.value(), reinterpret_cast<const sockaddr*>(&where), sizeof where) != 0) return;
    const auto line = (how & 2) != 0 ? "CONNECT 77" : "CONNECT " + std::to_string(how & 3) + "\nand more";
    (void)::send(fd.value(), line.data(), line.size(), MSG_NOSIGNAL);
    connected_.push_back(std::move(fd));
  }
  void accept(unsigned which) {
    UniqueFd fd(::accept4(listeners_[which].value(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (fd.valid()) connected_.push_back(std::move(fd));
  }
  void write(unsigned how) {
    static const std::array<char, 8192> bytes{'\n'};
    if (auto* program = pick(how)) (void)::send(program->value(), bytes.data(), how * 190 + 1, MSG_NOSIGNAL);
  }
  void read(unsigned how) {
    std::array<char, 4096> bytes;
    if (auto* program = pick(how)) (void)::recv(program->value(), bytes.data(), how * 90 + 1, 0);
  }

  std::string folder_;
  std::array<UniqueFd, 2> listeners_;
  std::vector<UniqueFd> connected_;
};

}  // namespace

// The first byte: the device's home. The byte for the outside: what the host's programs do.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Programs programs;
  if (size == 0) return 0;
  auto vsock = trivet::virtio::Vsock::create({.path = programs.path(), .connections = 4, .buffer_size = 4096});
  if (!vsock) std::abort();
  auto* device = vsock->get();
  const auto outside = [&](std::uint8_t what) {
    if (what == 255) (void)device->reset_transport(4);
    if (what != 255) programs.act(what);
    if (device->connections() > 4) std::abort();
  };
  const auto home = (data[0] & 1) != 0 ? trivet::test::Home::pci : trivet::test::Home::mmio;
  trivet::test::play_hostile_driver(std::as_bytes(std::span(data, size).subspan(1)), std::move(*vsock), outside, home);
  programs.go_away();
  return 0;
}
