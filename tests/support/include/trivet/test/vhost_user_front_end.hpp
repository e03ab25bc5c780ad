// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/test/vhost_user_abi.hpp>
#include <trivet/test/vhost_user_channel.hpp>

namespace trivet::test::vhost_user {

/// The other side of a vhost-user connection: sends requests as a VMM does and waits for their answers. It keeps to the
/// protocol where it is told to, and sends anything where it is told to. Thread rule: one thread at a time.
///
/// Errors: as Channel; `timed_out` (host) when no answer came; `bad_state` (host) when the back end ended the
/// connection or answered with a refusal.
class FrontEnd {
 public:
  explicit FrontEnd(UniqueFd socket) : channel_(std::move(socket)) {}

  /// Two sockets that are connected. A failure ends the program.
  static std::pair<UniqueFd, UniqueFd> sockets();

  /// SET_OWNER and the protocol features, as far as both sides have them; the channel for the back end's requests.
  Result<void> connect(std::uint64_t wanted_protocol_features);

  /// \name Requests
  /// @{
  /// One that has no answer; where REPLY_ACK was negotiated, the back end's word is asked for.
  Result<void> tell(abi::Request request, ConstBytes payload = {}, std::span<const int> descriptors = {});
  template <class T>
  requires(!std::convertible_to<const T&, ConstBytes>) Result<void> tell(abi::Request request, const T& payload,
                                                                         std::span<const int> descriptors = {}) {
    return tell(request, std::as_bytes(std::span(&payload, 1)), descriptors);
  }
  Result<void> tell(abi::Request request, std::uint32_t queue, std::uint32_t value) {
    return tell(request, abi::VringState{queue, value});
  }
  /// One that has an answer, which is of the same type.
  Result<Message> ask(abi::Request request, ConstBytes payload = {});
  Result<std::uint64_t> ask_number(abi::Request request);
  /// GET_VRING_BASE.
  Result<std::uint32_t> stop_queue(std::uint32_t queue);
  /// SET_VRING_KICK, SET_VRING_CALL or SET_VRING_ERR.
  Result<void> set_event(abi::Request request, std::uint32_t queue, int fd);
  /// GET_CONFIG and SET_CONFIG.
  Result<void> read_config(std::uint32_t offset, Bytes out);
  Result<void> write_config(std::uint32_t offset, ConstBytes in);
  /// @}

  /// \name As it likes
  /// @{
  Result<void> send(std::uint32_t request, std::uint32_t flags, ConstBytes payload,
                    std::span<const int> descriptors = {}) {
    return channel_.send(request, flags, payload, descriptors);
  }
  /// The next answer, of any kind.
  Result<Message> receive();
  /// Whether the back end ends the connection, without another word than refusals.
  bool wait_end();
  [[nodiscard]] int fd() const noexcept { return channel_.fd(); }
  void hang_up() { channel_ = Channel(UniqueFd()); }
  /// @}

  /// Whether protocol features were negotiated, few or many.
  [[nodiscard]] bool speaks_protocol() const noexcept { return protocol_features_ != 0; }
  [[nodiscard]] bool has(std::uint64_t protocol_feature) const noexcept {
    return (protocol_features_ & protocol_feature) == protocol_feature;
  }
  /// How many CONFIG_CHANGE_MSG came since the last call; does not wait.
  unsigned take_config_changes();

  std::chrono::milliseconds patience = std::chrono::seconds(20);

 private:
  Channel channel_;
  Channel backend_channel_{UniqueFd()};
  std::uint64_t protocol_features_ = 0;
};

}  // namespace trivet::test::vhost_user
