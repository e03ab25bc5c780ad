// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/uio.h>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/result.hpp>

namespace trivet::virtio {

/// What a network can do.
struct NetInfo {
  unsigned pairs = 1;  ///< queue pairs, 1 to 256
  /// Which of `abi::net_guest_offloads` and `abi::net_host_offloads` it has: checksums and segmentation that a sender
  /// may leave to it, or that it leaves to a receiver which wants so.
  std::uint64_t offloads = 0;
};

/// What became of one frame.
struct NetIo {
  std::size_t bytes = 0;  ///< with the header; where os_errno is 0
  int os_errno = 0;       ///< EAGAIN: not now, wait for it
};

/// The longest frame that a network carries, its header included: bytes.
inline constexpr std::size_t net_most_frame = std::size_t{68} << 10;

/// Who hears that a wait is over. On the executor.
class NetClient {
 public:
  /// A frame may be there to receive.
  virtual void can_receive(unsigned pair) noexcept = 0;
  /// There may be room to send.
  virtual void can_send(unsigned pair) noexcept = 0;

 protected:
  ~NetClient() = default;
};

/// Where a network device's frames go to and come from: one frame a call, each behind an `abi::NetHeader` of 12 bytes.
///
/// A network keeps what the device has no buffers for, and says when it takes no more; nothing is queued in between.
/// Thread rule: `info` any thread; the rest on the executor given to `start`, one at a time.
class NetBackend {
 public:
  virtual ~NetBackend() = default;

  [[nodiscard]] virtual const NetInfo& info() const noexcept = 0;

  /// Errors are the host's.
  virtual Result<void> start(boost::asio::any_io_executor executor, NetClient& client) = 0;
  /// Which of the guest offloads may come in what is received from now on. Errors are the host's.
  virtual Result<void> set_offloads(std::uint64_t guest_offloads) noexcept = 0;
  /// Pairs 0 to `pairs` - 1 (at least 1, at most `info().pairs`) carry frames from now on, and the waits of the others
  /// end unheard. Errors are the host's.
  virtual Result<void> use_pairs(unsigned pairs) noexcept = 0;

  /// Sends a frame whole or not at all. Allocates nothing.
  virtual NetIo send(unsigned pair, std::span<const iovec> frame) noexcept = 0;
  /// The next frame; what does not fit is lost. Allocates nothing.
  virtual NetIo receive(unsigned pair, std::span<const iovec> room) noexcept = 0;
  /// Has the client told once; asking again meanwhile changes nothing.
  virtual void wait_to_send(unsigned pair) noexcept = 0;
  virtual void wait_to_receive(unsigned pair) noexcept = 0;

  /// Ends all waits and forgets executor and client.
  virtual void stop() noexcept = 0;
};

}  // namespace trivet::virtio
