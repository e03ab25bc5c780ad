// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Xen's I/O requests: from the bytes of a shared page to accesses. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <trivet/core/io_handler.hpp>
#include <trivet/core/result.hpp>

namespace trivet::xen {

/// One request. Source: xen/hvm/ioreq.h.
struct IoRequest {
  enum class Kind : std::uint8_t {
    port = 0,
    memory = 1,
    pci_config = 2,
    time_offset = 7,  ///< the guest set its clock; nothing to serve
    invalidate = 8,   ///< pages were taken out of the guest
  };

  Kind kind = Kind::port;
  bool read = false;
  bool data_is_pointer = false;  ///< `data` is the guest address of the data, not the data
  bool backwards = false;        ///< a string instruction with the direction flag set
  std::uint8_t size = 0;         ///< bytes of one element: 1, 2, 4, 8
  std::uint32_t count = 0;       ///< elements, 1 or more
  std::uint64_t address = 0;     ///< port, guest address, or segment-bus-device-function << 32 | register
  std::uint64_t data = 0;
};

inline constexpr std::size_t request_size = 32;

/// `malformed` names what no Xen sends: an unknown type, a size or count that cannot be.
[[gnu::hot]] Result<IoRequest> decode_request(std::span<const std::byte, request_size> bytes);

/// The guest's memory, for requests whose data lie there.
class GuestCopy {
 public:
  /// False where there is nothing; reads then give ones.
  virtual bool read(GuestAddress at, Bytes to) noexcept = 0;
  virtual bool write(GuestAddress at, ConstBytes from) noexcept = 0;

 protected:
  ~GuestCopy() = default;
};

/// Makes the accesses of one request, in the guest's order. Gives what the request's data become: the answer of a read,
/// else what they were. Allocates nothing.
[[gnu::hot]] std::uint64_t serve(const IoRequest& request, IoHandler& io, GuestCopy& memory) noexcept;

/// The ring of requests that need no answer.
inline constexpr std::uint32_t buffered_slots = 511;
inline constexpr std::size_t buffered_slot_size = 8;
using BufferedSlot = std::array<std::byte, buffered_slot_size>;

/// One request of the ring, and whether it takes a second slot (8 bytes of data). `second` is the next slot.
struct BufferedRequest {
  IoRequest request;
  bool two_slots = false;
};
/// `malformed` as above; a read cannot be buffered.
Result<BufferedRequest> decode_buffered(const BufferedSlot& first, const BufferedSlot& second);

/// The same for a request without an answer: a memory write is Posted::yes.
void serve_buffered(const IoRequest& request, IoHandler& io) noexcept;

}  // namespace trivet::xen
