// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <utility>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>

#include <trivet/test/vhost_user_server.hpp>

#include "vhost_user_rule.hpp"

namespace trivet::test::vhost_user {

namespace asio = boost::asio;

Result<std::unique_ptr<Server>> Server::create(std::unique_ptr<virtio::Device> device, UniqueFd socket,
                                               Options options) {
  constexpr auto operation = "create vhost-user server";
  if (!device || !socket.valid() || !options.executor) {
    return Error(Errc::invalid_argument, operation, "it needs a device, a socket and an executor");
  }
  if ((options.protocol_features & ~all_protocol_features) != 0) {
    return Error(Errc::invalid_argument, operation, "protocol features that it does not speak");
  }
  std::vector<Ring> rings;
  for (std::size_t i = 0; i < device->queue_sizes().size(); ++i) {
    TRIVET_ASSIGN(auto call, FdSlot::create());
    TRIVET_ASSIGN(auto error, FdSlot::create());
    rings.push_back({.address = {}, .config = {}, .kick = {}, .call = std::move(call), .error = std::move(error)});
  }
  TRIVET_ASSIGN(auto channel, FdSlot::create());
  std::unique_ptr<Server> server(
      new Server(std::move(device), std::move(socket), std::move(rings), std::move(options)));
  server->backend_channel_ = std::move(channel);
  try {
    server->readable_.assign(server->channel_.fd());
    asio::post(server->options_.executor, [self = server->self_] {
      if (*self != nullptr) (*self)->listen();
    });
  } catch (const boost::system::system_error& error) {
    return Error::from_errno(error.code().value(), operation);
  }
  return server;
}

Server::Server(std::unique_ptr<virtio::Device> device, UniqueFd socket, std::vector<Ring> rings, Options options)
    : device_(std::move(device)),
      options_(std::move(options)),
      channel_(std::move(socket)),
      readable_(options_.executor),
      self_(std::make_shared<Server*>(this)),
      memory_(options_.track_dirty),
      rings_(std::move(rings)),
      host_(*device_, options_.executor, *this, options_.log) {}

Server::~Server() {
  *self_ = nullptr;
  if (readable_.is_open()) readable_.release();  // the channel's to close
}

void Server::listen() {
  readable_.async_wait(asio::posix::stream_descriptor::wait_read,
                       [self = self_](const boost::system::error_code& error) {
                         if (error || *self == nullptr) return;
                         (*self)->receive();
                       });
}

void Server::receive() {
  // A front end that floods must leave room for the device's other work.
  constexpr int most = 16;
  for (int i = 0; i < most; ++i) {
    const auto got = channel_.receive(message_);
    if (!got) return end(got.error());
    if (*got == Channel::Got::end) return end({});
    if (*got == Channel::Got::nothing) break;
    const auto taken = take(message_);
    message_.descriptors.clear();
    if (!taken) return end(taken.error());
  }
  listen();
}

void Server::end(const Result<void>& why) {
  if (readable_.is_open()) readable_.release();
  channel_ = Channel(UniqueFd());
  reset_all(true);
  for (auto& ring : rings_) {
    ring.call.clear();
    ring.error.clear();
  }
  backend_channel_->clear();
  memory_.clear();
  try {
    if (!why && options_.log) options_.log(why.error().within(device_->name()));
    if (const auto ended = std::exchange(options_.ended, {})) ended(why);
  } catch (const std::exception&) {
    // Who listens must not take the device with it.
  }
}

Result<void> Server::take(Message& message) {
  const auto all = rules();
  const auto rule = std::ranges::find(all, message.request(), &Rule::request);
  if (rule == all.end()) return refusal(fmt::format("request {}: unknown, or not spoken here", message.header.request));

  reply_.clear();
  auto done = check(*rule, message);
  if (done) done = (this->*rule->handle)(message);
  const bool wants_word = (message.header.flags & abi::flag_need_reply) != 0 && !rule->answers;
  if (wants_word) answer(std::uint64_t{done ? 0U : 1U});
  if (wants_word || (rule->answers && done)) {
    if (auto sent = channel_.send(message.header.request, abi::flag_reply, reply_); !sent && done) {
      return sent.error().within(rule->name);
    }
  }
  if (done) return {};
  const auto error = done.error().within(rule->name);
  if (error.blame() == Blame::guest || !wants_word) return error;
  host_.host_error(error);
  return {};
}

Result<void> Server::check(const Rule& rule, const Message& message) const {
  if ((message.header.flags & abi::flag_reply) != 0) return refusal("a reply, where a request is due");
  if ((message.header.flags & abi::flag_need_reply) != 0 && !has(abi::protocol_f_reply_ack)) {
    return refusal("it wants a reply, but REPLY_ACK was not negotiated");
  }
  if (message.header.size < rule.least_bytes || message.header.size > rule.most_bytes) {
    return refusal(
        fmt::format("a payload of {} bytes, not {} to {}", message.header.size, rule.least_bytes, rule.most_bytes));
  }
  if (message.descriptors.size() < rule.least_descriptors || message.descriptors.size() > rule.most_descriptors) {
    return refusal(fmt::format("{} descriptors, not {} to {}", message.descriptors.size(), rule.least_descriptors,
                               rule.most_descriptors));
  }
  if (!has(rule.needs)) return out_of_order("its protocol feature was not negotiated");
  if (rule.needs_owner && !owned_) return out_of_order("before SET_OWNER");
  return {};
}

// --- what the device says ---

void Server::used(unsigned queue) noexcept {
  rings_[queue].call.signal();
}

void Server::config_changed() noexcept {
  if (!tells_changes_) return;
  changed_ = true;
  if (running_ != 0) tell_change();
}

void Server::tell_change() noexcept {
  if (!changed_.exchange(false)) return;
  constexpr abi::Header message{static_cast<std::uint32_t>(abi::BackendRequest::config_change_msg), abi::version, 0};
  backend_channel_->send(&message, sizeof message);
}

void Server::needs_reset() noexcept {
  status_.fetch_or(virtio::abi::status_needs_reset);
  for (const auto& ring : rings_) ring.error.signal();
}

}  // namespace trivet::test::vhost_user
