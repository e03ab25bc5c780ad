// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/net_backend.hpp>

namespace trivet::virtio {

/// A network on descriptors where each read and each write is one frame behind its 12 bytes of header: a tap's, or
/// a datagram (or sequenced packet) socket's, whose other end may be another device's backend.
class PacketFds : public NetBackend {
 public:
  /// One descriptor a queue pair, 1 to 256; they are made non-blocking. `offloads` is what the other side is known to
  /// take and to give (NetInfo). `invalid_argument` (caller) when there are none or too many,
  /// or one is a stream's; `io` (host) when one
  /// cannot be made non-blocking.
  static Result<std::unique_ptr<PacketFds>> create(std::vector<UniqueFd> fds, std::uint64_t offloads);
  ~PacketFds() override;

  [[nodiscard]] const NetInfo& info() const noexcept override { return info_; }
  Result<void> start(boost::asio::any_io_executor executor, NetClient& client) override;
  Result<void> set_offloads(std::uint64_t guest_offloads) noexcept override;
  Result<void> use_pairs(unsigned pairs) noexcept override;
  NetIo send(unsigned pair, std::span<const iovec> frame) noexcept override;
  NetIo receive(unsigned pair, std::span<const iovec> room) noexcept override;
  void wait_to_send(unsigned pair) noexcept override;
  void wait_to_receive(unsigned pair) noexcept override;
  void stop() noexcept override;

 protected:
  /// `fds` were checked.
  PacketFds(std::vector<UniqueFd> fds, std::uint64_t offloads);
  static Result<void> prepare(std::span<const UniqueFd> fds);

  [[nodiscard]] int fd(unsigned pair) const noexcept { return fds_[pair].value(); }

 private:
  struct Watch;

  std::vector<UniqueFd> fds_;
  NetInfo info_;
  int socket_type_;  // of all; 0: no sockets
  NetClient* client_ = nullptr;
  std::vector<std::shared_ptr<Watch>> watches_;  // while started
};

}  // namespace trivet::virtio
