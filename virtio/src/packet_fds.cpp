// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <trivet/virtio/packet_fds.hpp>

namespace trivet::virtio {
namespace {

namespace asio = boost::asio;
using Descriptor = asio::posix::stream_descriptor;

constexpr auto operation = "create network";

/// SOCK_DGRAM and so on; 0: no socket.
int socket_type(int fd) noexcept {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 ? type : 0;
}

/// Until it was not interrupted.
template <class Call>
NetIo until_done(Call call) noexcept {
  for (;;) {
    const auto moved = call();
    if (moved >= 0) return {static_cast<std::size_t>(moved), 0};
    if (errno != EINTR) return {0, errno};
  }
}

msghdr message_of(std::span<const iovec> vectors) noexcept {
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(vectors.data());  // which neither call changes
  message.msg_iovlen = vectors.size();
  return message;
}

}  // namespace

/// The waits on one descriptor; outlives its activation until the last of them has ended. Never closes it.
struct PacketFds::Watch : std::enable_shared_from_this<Watch> {
  Watch(PacketFds& owner, const asio::any_io_executor& executor, unsigned its_pair)
      : network(&owner), pair(its_pair), descriptor(executor) {}

  /// Waits once; `tell` is what the client is told.
  void wait(Descriptor::wait_type what, bool& waiting, void (NetClient::*tell)(unsigned) noexcept) {
    if (std::exchange(waiting, true)) return;
    descriptor.async_wait(what, [self = shared_from_this(), &waiting, tell, now = round](const auto& error) {
      if (self->network == nullptr || now != self->round) return;
      waiting = false;
      if (!error) (self->network->client_->*tell)(self->pair);
    });
  }

  void cancel() noexcept {
    ++round;
    receiving = sending = false;
    try {
      descriptor.cancel();
    } catch (const boost::system::system_error&) {
      // What ends now or later is of an earlier round.
    }
  }

  void stop() noexcept {
    network = nullptr;
    try {
      if (descriptor.is_open()) descriptor.release();
    } catch (const boost::system::system_error&) {
      // It is watched no more; the network closes it.
    }
  }

  PacketFds* network;
  unsigned pair;
  Descriptor descriptor;
  bool receiving = false;
  bool sending = false;
  unsigned round = 0;
};

Result<std::unique_ptr<PacketFds>> PacketFds::create(std::vector<UniqueFd> fds, std::uint64_t offloads) {
  TRIVET_TRY(prepare(fds));
  return std::unique_ptr<PacketFds>(new PacketFds(std::move(fds), offloads));
}

Result<void> PacketFds::prepare(std::span<const UniqueFd> fds) {
  if (fds.empty() || fds.size() > 256) return Error(Errc::invalid_argument, operation, "1 to 256 descriptors");
  for (const auto& fd : fds) {
    if (socket_type(fd.value()) == SOCK_STREAM) {
      return Error(Errc::invalid_argument, operation, "a stream socket keeps no frames apart");
    }
    const int flags = ::fcntl(fd.value(), F_GETFL);
    if (flags < 0 || ::fcntl(fd.value(), F_SETFL, flags | O_NONBLOCK) != 0) {
      return Error::from_errno(errno, operation, "make a descriptor non-blocking");
    }
  }
  return {};
}

PacketFds::PacketFds(std::vector<UniqueFd> fds, std::uint64_t offloads)
    : fds_(std::move(fds)),
      info_{static_cast<unsigned>(fds_.size()), offloads},
      socket_type_(socket_type(fds_.front().value())) {}

PacketFds::~PacketFds() {
  PacketFds::stop();
}

Result<void> PacketFds::start(asio::any_io_executor executor, NetClient& client) {
  client_ = &client;
  for (unsigned pair = 0; pair < info_.pairs; ++pair) {
    auto watch = std::make_shared<Watch>(*this, executor, pair);
    try {
      watch->descriptor.assign(fd(pair));
    } catch (const boost::system::system_error& error) {
      PacketFds::stop();
      return Error::from_errno(error.code().value(), "watch network");
    }
    watches_.push_back(std::move(watch));
  }
  return {};
}

Result<void> PacketFds::set_offloads(std::uint64_t) noexcept {
  return {};  // what comes is what the other side was told to send
}

Result<void> PacketFds::use_pairs(unsigned pairs) noexcept {
  for (auto pair = pairs; pair < watches_.size(); ++pair) watches_[pair]->cancel();
  return {};
}

NetIo PacketFds::send(unsigned pair, std::span<const iovec> frame) noexcept {
  if (socket_type_ == 0) {
    return until_done([&] { return ::writev(fd(pair), frame.data(), static_cast<int>(frame.size())); });
  }
  const auto message = message_of(frame);
  return until_done([&] { return ::sendmsg(fd(pair), &message, MSG_NOSIGNAL); });
}

NetIo PacketFds::receive(unsigned pair, std::span<const iovec> room) noexcept {
  const auto got = until_done([&] { return ::readv(fd(pair), room.data(), static_cast<int>(room.size())); });
  // On a connection it is the end, which would come again and again.
  if (got.bytes == 0 && got.os_errno == 0 && socket_type_ == SOCK_SEQPACKET) return {0, ENOTCONN};
  return got;
}

void PacketFds::wait_to_send(unsigned pair) noexcept {
  auto& watch = *watches_[pair];
  watch.wait(Descriptor::wait_write, watch.sending, &NetClient::can_send);
}

void PacketFds::wait_to_receive(unsigned pair) noexcept {
  auto& watch = *watches_[pair];
  watch.wait(Descriptor::wait_read, watch.receiving, &NetClient::can_receive);
}

void PacketFds::stop() noexcept {
  for (auto& watch : watches_) watch->stop();
  watches_.clear();
  client_ = nullptr;
}

}  // namespace trivet::virtio
