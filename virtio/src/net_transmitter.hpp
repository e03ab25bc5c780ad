// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <sys/uio.h>
#include <vector>

#include <trivet/memory/slice.hpp>
#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/queue.hpp>
#include <trivet/virtio/reader.hpp>

#include "net_shared.hpp"

namespace trivet::virtio {

/// One started transmit queue: frames from the driver's buffers straight into the network, as fast as it takes them.
/// The header is copied first and checked: what was checked is what is sent. On the device's executor only.
class NetTransmitter {
 public:
  NetTransmitter(Queue queue, NetShared shared, unsigned pair);

  /// Sends what the driver has made available; `link_up` false: to nobody. See Device::process.
  Result<More> process(bool link_up);
  /// The network may take frames again.
  void resume() noexcept { waiting_ = false; }

  [[nodiscard]] Queue take() noexcept { return std::move(queue_); }

 private:
  enum class Step : std::uint8_t { moved, no_frames, must_wait };

  Result<Step> next(bool link_up);
  /// False when the network takes it later.
  Result<bool> send(Reader& frame, abi::NetHeader header);
  /// The frame's bytes behind `header` in vectors_; how many vectors.
  Result<std::size_t> gather(Reader& frame, abi::NetHeader& header);
  [[nodiscard]] bool acceptable(const abi::NetHeader& header, std::uint64_t bytes) const noexcept;
  [[nodiscard]] bool has(std::uint64_t feature) const noexcept { return (shared_.features & feature) != 0; }

  Queue queue_;
  NetShared shared_;
  unsigned pair_;
  bool waiting_ = false;  // for the network
  std::vector<memory::Slice> slices_;
  std::vector<iovec> vectors_;
  std::vector<std::byte> copy_;  // of a frame in too many pieces; at first need
  std::size_t moved_ = 0;        // bytes, in this call of process
};

}  // namespace trivet::virtio
