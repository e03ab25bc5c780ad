// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <sys/uio.h>
#include <vector>

#include <trivet/memory/slice.hpp>
#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/queue.hpp>

#include "net_shared.hpp"

namespace trivet::virtio {

/// One started receive queue: frames from the network straight into the driver's buffers. On the device's executor
/// only.
///
/// A frame is read into a head of its own (its header, and what the filter looks at), the buffers at hand, and behind
/// them into a spare buffer, so that none is lost for coming while few buffers were taken: its rest is then copied.
class NetReceiver {
 public:
  NetReceiver(Queue queue, NetShared shared, unsigned pair);

  /// Takes what the network has, as far as there are buffers. See Device::process.
  Result<More> process();

  /// A frame that came by another pair and is this one's: its header as the network gave it, room for the driver's, and
  /// the rest. Lost where there are no buffers for it.
  Result<void> take_over(Bytes frame, const NetHash::Value& hash);

  /// Its pair carries no frames any more: buffers and an unfinished frame are let go.
  void rest() noexcept;
  [[nodiscard]] Queue take() noexcept;

 private:
  static constexpr std::size_t most_head = sizeof(abi::NetHashHeader) + NetHash::looks_at;

  enum class Step : std::uint8_t { moved, no_buffers, no_frames };

  /// A chain that was taken and not yet given back.
  struct Buffer {
    std::uint16_t chain;
    std::uint16_t slices;  ///< how many of slices_
    std::uint64_t room;    ///< bytes
  };

  Result<Step> next();
  /// Takes chains until they have room for so many bytes, or there are no more to take.
  Result<void> gather(std::uint64_t bytes);
  Result<bool> take_chain();
  NetIo read_frame() noexcept;
  Result<Step> failed(int os_errno);
  /// Gives the frame in hand to the driver, if there are buffers enough.
  Result<Step> deliver();
  Result<Step> drop_frame();
  /// Of the frame in hand: to another pair.
  Result<Step> hand_over(unsigned pair);
  void copy_frame(Bytes to) const noexcept;
  /// Makes the network's header the driver's.
  void finish_header(Bytes head, std::size_t buffers, const NetHash::Value& hash) const noexcept;
  [[nodiscard]] std::size_t buffers_for(std::uint64_t bytes) const noexcept;
  Result<void> give_back_filled(std::size_t buffers, std::uint64_t bytes);
  /// Of the frame just read: neither filtered nor in a form that the driver did not ask for.
  [[nodiscard]] bool wanted(std::size_t bytes) const noexcept;
  [[nodiscard]] bool takes_segments(abi::u8 gso_type) const noexcept;
  [[nodiscard]] bool has(std::uint64_t feature) const noexcept { return (shared_.features & feature) != 0; }
  /// Copies to the frame's place `at` in the buffers.
  void put(std::uint64_t at, ConstBytes bytes) const noexcept;
  /// That these bytes were written by the network.
  void mark(std::uint64_t at, std::uint64_t bytes) const noexcept;
  void let_go() noexcept;

  Queue queue_;
  NetShared shared_;
  unsigned pair_;
  bool merges_;                  // VIRTIO_NET_F_MRG_RXBUF
  std::vector<Buffer> buffers_;  // in the ring's order
  std::vector<memory::Slice> slices_;
  std::size_t slice_count_ = 0;
  std::uint64_t room_ = 0;  // of all buffers
  bool full_ = false;       // slices_ has no place for the next chain's
  std::vector<iovec> vectors_;
  std::size_t header_size_;  // the driver's: between the network's and the frame there may be room for a hash
  std::size_t head_size_;
  std::array<std::byte, most_head> head_{};
  NetHash::Value hash_{};  // of the frame in hand
  // Of net_most_frame bytes, touched when needed:
  std::unique_ptr<std::byte[]> hand_over_;  // a frame on its way to another pair; with VIRTIO_NET_F_RSS
  std::unique_ptr<std::byte[]> spare_;      // byte n of a frame at n
  std::size_t wanted_room_;                 // as much as the frames of late needed
  std::uint64_t in_place_ = 0;  // of the frame in hand: the bytes that are in the buffers, but for the head's
  std::size_t frame_ = 0;       // bytes of the frame in hand; 0: none
  std::size_t moved_ = 0;       // bytes, in this call of process
  bool broken_ = false;         // the network fails; started anew it is tried again
};

}  // namespace trivet::virtio
