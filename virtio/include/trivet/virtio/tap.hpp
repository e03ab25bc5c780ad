// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <trivet/virtio/packet_fds.hpp>

namespace trivet::virtio {

/// A tap of Linux: frames go to and come from a network interface of the host (Documentation/networking/tuntap.rst).
/// With checksum, TSO and, where the kernel has it (6.2), USO both ways; with queue pairs if it was made multi_queue.
/// What the host sends stays in the interface's queue (txqueuelen) until the driver has buffers.
class Tap final : public PacketFds {
 public:
  /// Attaches to the interface with this name, with so many queue pairs (1 to 256). Never makes one. `not_found` when
  /// there is no such interface, `permission` when it is not this user's and CAP_NET_ADMIN is missing (host);
  /// `invalid_argument` when it is no tap, or for more than one pair was not made multi_queue (caller); `bad_state`
  /// when all its queues are in use (host).
  static Result<std::unique_ptr<Tap>> open(const std::string& name, unsigned pairs = 1);

  /// Takes over descriptors that are attached to one tap already, one a queue pair. `invalid_argument` when one is no
  /// tap with IFF_NO_PI and IFF_VNET_HDR (caller); `io` (host).
  static Result<std::unique_ptr<Tap>> adopt(std::vector<UniqueFd> fds);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }

  Result<void> set_offloads(std::uint64_t guest_offloads) noexcept override;
  Result<void> use_pairs(unsigned pairs) noexcept override;

 private:
  Tap(std::vector<UniqueFd> fds, std::uint64_t offloads, std::string name, bool multi_queue);
  /// What open and adopt share.
  static Result<std::unique_ptr<Tap>> finish(std::vector<UniqueFd> fds);

  std::string name_;
  bool multi_queue_;
  unsigned attached_;  // pairs, from the first on
};

}  // namespace trivet::virtio
