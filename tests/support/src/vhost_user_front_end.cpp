// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

#include <trivet/test/vhost_user_front_end.hpp>

namespace trivet::test::vhost_user {
namespace {

constexpr const char* operation = "vhost-user front end";

std::string name_of(abi::Request request) {
  return fmt::format("request {}", static_cast<std::uint32_t>(request));
}

}  // namespace

std::pair<UniqueFd, UniqueFd> FrontEnd::sockets() {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    std::perror("test support: socketpair");
    std::abort();
  }
  return {UniqueFd(pair[0]), UniqueFd(pair[1])};
}

Result<void> FrontEnd::connect(std::uint64_t wanted_protocol_features) {
  TRIVET_ASSIGN(const auto features, ask_number(abi::Request::get_features));
  if ((features & abi::f_protocol_features) != 0 && wanted_protocol_features != 0) {
    TRIVET_ASSIGN(const auto offered, ask_number(abi::Request::get_protocol_features));
    const auto both = offered & wanted_protocol_features;
    TRIVET_TRY(tell(abi::Request::set_protocol_features, both));
    protocol_features_ = both;
  }
  TRIVET_TRY(tell(abi::Request::set_owner));
  if (!has(abi::protocol_f_backend_req)) return {};
  auto [ours, theirs] = sockets();
  backend_channel_ = Channel(std::move(ours));
  const int fd = theirs.value();
  return tell(abi::Request::set_backend_req_fd, ConstBytes(), std::span(&fd, 1));
}

Result<Message> FrontEnd::receive() {
  Message message;
  for (;;) {
    TRIVET_ASSIGN(const auto got, channel_.receive(message));
    if (got == Channel::Got::message) return message;
    if (got == Channel::Got::end) {
      return Error(Errc::bad_state, operation, "the back end ended the connection", Blame::host);
    }
    pollfd wait{channel_.fd(), POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(patience.count())) == 0) {
      return Error(Errc::timed_out, operation, "no answer came", Blame::host);
    }
  }
}

bool FrontEnd::wait_end() {
  for (;;) {
    const auto message = receive();
    if (!message) return message.error().code() == Errc::bad_state;
    if (message->at<std::uint64_t>(0) == 0) return false;
  }
}

Result<void> FrontEnd::tell(abi::Request request, ConstBytes payload, std::span<const int> descriptors) {
  const bool asks = has(abi::protocol_f_reply_ack);
  TRIVET_TRY(send(static_cast<std::uint32_t>(request), asks ? abi::flag_need_reply : 0, payload, descriptors));
  if (!asks) return {};
  auto word = receive();
  if (!word) return word.error().within(name_of(request));
  if (word->request() != request || (word->header.flags & abi::flag_reply) == 0 ||
      word->header.size != sizeof(std::uint64_t)) {
    return Error::malformed(operation, fmt::format("{}: another answer", name_of(request)));
  }
  if (word->at<std::uint64_t>(0) == 0) return {};
  return Error(Errc::bad_state, operation, fmt::format("{}: the back end refuses it", name_of(request)), Blame::host);
}

Result<Message> FrontEnd::ask(abi::Request request, ConstBytes payload) {
  TRIVET_TRY(send(static_cast<std::uint32_t>(request), 0, payload));
  auto answer = receive();
  if (!answer) return answer.error().within(name_of(request));
  if (answer->request() != request || (answer->header.flags & abi::flag_reply) == 0) {
    return Error::malformed(operation, fmt::format("{}: another answer", name_of(request)));
  }
  return answer;
}

Result<std::uint64_t> FrontEnd::ask_number(abi::Request request) {
  TRIVET_ASSIGN(const auto answer, ask(request));
  if (answer.header.size != sizeof(std::uint64_t)) {
    return Error::malformed(operation, fmt::format("{}: {} bytes", name_of(request), answer.header.size));
  }
  return answer.at<std::uint64_t>(0);
}

Result<std::uint32_t> FrontEnd::stop_queue(std::uint32_t queue) {
  const abi::VringState state{queue, 0};
  TRIVET_ASSIGN(const auto answer, ask(abi::Request::get_vring_base, std::as_bytes(std::span(&state, 1))));
  const auto said = answer.at<abi::VringState>(0);
  if (answer.header.size != sizeof said || said.index != queue) {
    return Error::malformed(operation, "GET_VRING_BASE: of another queue");
  }
  return said.num;
}

Result<void> FrontEnd::set_event(abi::Request request, std::uint32_t queue, int fd) {
  if (fd < 0) return tell(request, std::uint64_t{queue} | abi::vring_no_descriptor);
  return tell(request, std::uint64_t{queue}, std::span(&fd, 1));
}

Result<void> FrontEnd::read_config(std::uint32_t offset, Bytes out) {
  const abi::ConfigSpace space{offset, static_cast<std::uint32_t>(out.size()), 0};
  std::vector<std::byte> payload(sizeof space + out.size());
  std::memcpy(payload.data(), &space, sizeof space);
  TRIVET_ASSIGN(const auto answer, ask(abi::Request::get_config, payload));
  if (answer.header.size != payload.size()) return Error::malformed(operation, "GET_CONFIG: of another size");
  std::ranges::copy(answer.payload().subspan(sizeof space), out.begin());
  return {};
}

Result<void> FrontEnd::write_config(std::uint32_t offset, ConstBytes in) {
  const abi::ConfigSpace space{offset, static_cast<std::uint32_t>(in.size()), 0};
  std::vector<std::byte> payload(sizeof space + in.size());
  std::memcpy(payload.data(), &space, sizeof space);
  std::ranges::copy(in, payload.begin() + sizeof space);
  return tell(abi::Request::set_config, ConstBytes(payload));
}

unsigned FrontEnd::take_config_changes() {
  unsigned changes = 0;
  if (backend_channel_.fd() < 0) return changes;
  Message message;
  for (auto got = backend_channel_.receive(message); got && *got == Channel::Got::message;
       got = backend_channel_.receive(message)) {
    if (message.header.request == static_cast<std::uint32_t>(abi::BackendRequest::config_change_msg)) ++changes;
  }
  return changes;
}

}  // namespace trivet::test::vhost_user
