// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <utility>

#include <trivet/test/vhost_user_channel.hpp>

namespace trivet::test::vhost_user {
namespace {

constexpr const char* receiving = "receive a vhost-user message";
constexpr const char* sending = "send a vhost-user message";

/// Room for one descriptor more than there may be, so that too many are seen and not cut.
constexpr std::size_t control_room = CMSG_SPACE((abi::most_descriptors + 1) * sizeof(int));

void take_descriptors(msghdr& message, std::vector<UniqueFd>& into) {
  for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      into.emplace_back(fd);
    }
  }
}

Result<void> check(const abi::Header& header) {
  if ((header.flags & abi::version_mask) != abi::version || (header.flags & ~abi::known_flags) != 0) {
    return Error::malformed(receiving, fmt::format("request {}: flags {:#x}", header.request, header.flags));
  }
  if (header.size > abi::most_payload) {
    return Error::malformed(receiving, fmt::format("request {}: a payload of {} bytes, more than {}", header.request,
                                                   header.size, abi::most_payload));
  }
  return {};
}

}  // namespace

/// Until `out` is full.
Result<Channel::Got> Channel::fill(Bytes out, std::size_t& got) {
  while (got < out.size()) {
    iovec part{out.data() + got, out.size() - got};
    alignas(cmsghdr) std::array<char, control_room> control;
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const auto bytes = ::recvmsg(socket_.value(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (bytes < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK) return Got::nothing;
      if (errno == ECONNRESET) return Got::end;  // it went without reading our last words
      return Error::from_errno(errno, receiving);
    }
    take_descriptors(message, descriptors_);
    if ((message.msg_flags & MSG_CTRUNC) != 0 || descriptors_.size() > abi::most_descriptors) {
      return Error::malformed(receiving, fmt::format("more than {} descriptors", abi::most_descriptors));
    }
    if (bytes == 0) return Got::end;
    got += static_cast<std::size_t>(bytes);
  }
  return Got::message;
}

Result<Channel::Got> Channel::receive(Message& message) {
  TRIVET_ASSIGN(auto state, fill(header_, header_got_));
  abi::Header header{};
  if (state == Got::message) {
    std::memcpy(&header, header_.data(), sizeof header);
    TRIVET_TRY(check(header));
    TRIVET_ASSIGN(state, fill(Bytes(payload_).first(header.size), payload_got_));
  }
  if (state == Got::end && header_got_ != 0) {
    return Error::malformed(
        receiving, fmt::format("the connection ended inside a message, after {} bytes", header_got_ + payload_got_));
  }
  if (state != Got::message) return state;
  message.header = header;
  std::copy_n(payload_.begin(), header.size, message.bytes.begin());
  message.descriptors = std::exchange(descriptors_, {});
  header_got_ = payload_got_ = 0;
  return Got::message;
}

Result<void> Channel::send(std::uint32_t request, std::uint32_t flags, ConstBytes payload,
                           std::span<const int> descriptors) const {
  if (payload.size() > abi::most_payload || descriptors.size() > abi::most_descriptors) {
    return Error(Errc::invalid_argument, sending, "more than a message holds");
  }
  abi::Header header{request, flags | abi::version, static_cast<std::uint32_t>(payload.size())};
  std::array<std::byte, sizeof header + abi::most_payload> bytes;
  std::memcpy(bytes.data(), &header, sizeof header);
  std::copy(payload.begin(), payload.end(), bytes.begin() + sizeof header);
  iovec part{bytes.data(), sizeof header + payload.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, control_room> control{};
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    auto* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = ::sendmsg(socket_.value(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return Error::from_errno(errno, sending);
  if (sent != static_cast<ssize_t>(part.iov_len)) {
    return Error(Errc::limit, sending, "the peer does not read what it is sent", Blame::guest);
  }
  return {};
}

}  // namespace trivet::test::vhost_user
