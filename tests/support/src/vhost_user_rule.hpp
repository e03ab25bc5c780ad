// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/test/vhost_user_server.hpp>

namespace trivet::test::vhost_user {

/// What a request looks like, and what must have come before it.
struct Server::Rule {
  abi::Request request;
  const char* name;
  std::uint32_t least_bytes;
  std::uint32_t most_bytes;
  unsigned least_descriptors;
  unsigned most_descriptors;
  bool needs_owner;
  std::uint64_t needs;  ///< protocol features
  bool answers;         ///< has an answer of its own
  Result<void> (Server::*handle)(Message& message);
};

/// A request that breaks the protocol: the front end is to blame.
inline Error refusal(std::string_view why) {
  return Error::malformed("vhost-user request", why);
}
/// One that may be right at another time.
inline Error out_of_order(std::string_view why) {
  return Error(Errc::bad_state, "vhost-user request", why, Blame::guest);
}

template <class T>
void Server::answer(const T& object) {
  const auto bytes = std::as_bytes(std::span(&object, 1));
  reply_.insert(reply_.end(), bytes.begin(), bytes.end());
}

}  // namespace trivet::test::vhost_user
