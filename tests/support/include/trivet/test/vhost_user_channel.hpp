// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/test/vhost_user_abi.hpp>

namespace trivet::test::vhost_user {

/// A message that came, with the descriptors that came with it.
struct Message {
  abi::Header header{};
  std::array<std::byte, abi::most_payload> bytes{};
  std::vector<UniqueFd> descriptors;

  [[nodiscard]] abi::Request request() const noexcept { return static_cast<abi::Request>(header.request); }
  [[nodiscard]] ConstBytes payload() const noexcept { return ConstBytes(bytes).first(header.size); }
  /// What lies at `offset` of the payload; zeros beyond its end.
  template <class T>
  [[nodiscard]] T at(std::size_t offset) const noexcept {
    T object{};
    const auto out = std::as_writable_bytes(std::span(&object, 1));
    if (offset + out.size() <= header.size)
      std::copy_n(bytes.begin() + static_cast<long>(offset), out.size(), out.begin());
    return object;
  }
};

/// One end of a vhost-user connection: whole messages in and out of a stream socket, of either side. Never waits.
/// Thread rule: one thread at a time.
class Channel {
 public:
  explicit Channel(UniqueFd socket) noexcept : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const noexcept { return socket_.value(); }

  /// What there is to receive.
  enum class Got : std::uint8_t {
    message,  ///< a whole one
    nothing,  ///< or only a part of one so far
    end,      ///< the peer has closed its end, after a whole message
  };
  /// `malformed` (guest: the peer): another version, an unknown flag, a payload or descriptors beyond the protocol's
  /// limits, an end inside a message. `io` (host). After an error there is nothing more to be had.
  Result<Got> receive(Message& message);

  /// `limit` (guest: the peer) when the peer does not take what it is sent; `io` (host) when it is gone.
  Result<void> send(std::uint32_t request, std::uint32_t flags, ConstBytes payload,
                    std::span<const int> descriptors = {}) const;

 private:
  Result<Got> fill(Bytes out, std::size_t& got);

  UniqueFd socket_;
  // What is here of a message so far.
  std::array<std::byte, sizeof(abi::Header)> header_{};
  std::array<std::byte, abi::most_payload> payload_{};
  std::size_t header_got_ = 0;
  std::size_t payload_got_ = 0;
  std::vector<UniqueFd> descriptors_;
};

}  // namespace trivet::test::vhost_user
