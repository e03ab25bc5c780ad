// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "ioreq.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "abi.hpp"

namespace trivet::xen {
namespace {

constexpr auto decode_operation = "decode an I/O request";

// Bit fields have no offsets: the byte at 30 holds state (0-3), data_is_ptr (4), dir (5), df (6).
constexpr std::size_t flags_at = 30;
constexpr std::size_t type_at = 31;
static_assert(sizeof(ioreq) == request_size && offsetof(ioreq, type) == type_at);
static_assert(offsetof(ioreq, addr) == 0 && offsetof(ioreq, data) == 8 && offsetof(ioreq, count) == 16);
static_assert(offsetof(ioreq, size) == 20 && offsetof(ioreq, vp_eport) == 24);
static_assert(IOREQ_TYPE_PIO == static_cast<int>(IoRequest::Kind::port));
static_assert(IOREQ_TYPE_COPY == static_cast<int>(IoRequest::Kind::memory));
static_assert(IOREQ_TYPE_PCI_CONFIG == static_cast<int>(IoRequest::Kind::pci_config));
static_assert(IOREQ_TYPE_TIMEOFFSET == static_cast<int>(IoRequest::Kind::time_offset));
static_assert(IOREQ_TYPE_INVALIDATE == static_cast<int>(IoRequest::Kind::invalidate));
static_assert(sizeof(buf_ioreq) == buffered_slot_size && IOREQ_BUFFER_SLOT_NUM == buffered_slots);

constexpr std::uint64_t all_ones = ~std::uint64_t{0};

template <class T>
T load(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

[[gnu::cold, gnu::noinline]] Error malformed(const char* what, std::uint64_t value) {
  return Error(Errc::malformed, decode_operation, std::string(what) + " " + std::to_string(value), Blame::host);
}

bool known(std::uint8_t type) {
  switch (static_cast<IoRequest::Kind>(type)) {
    case IoRequest::Kind::port:
    case IoRequest::Kind::memory:
    case IoRequest::Kind::pci_config:
    case IoRequest::Kind::time_offset:
    case IoRequest::Kind::invalidate:
      return true;
  }
  return false;
}

bool has_data(IoRequest::Kind kind) {
  return kind == IoRequest::Kind::port || kind == IoRequest::Kind::memory || kind == IoRequest::Kind::pci_config;
}

/// Space for one element, little-endian.
class Element {
 public:
  Element(std::uint64_t value, std::size_t size) noexcept : size_(size) {
    std::memcpy(bytes_.data(), &value, sizeof value);
  }
  [[nodiscard]] Bytes bytes() noexcept { return {bytes_.data(), size_}; }
  [[nodiscard]] std::uint64_t value() const noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes_.data(), size_);
    return value;
  }

 private:
  std::array<std::byte, 8> bytes_{};
  std::size_t size_;
};

/// Configuration space behind the 4-byte window at 0xcfc: what an access reaches beyond it is nobody's.
void config_access(const IoRequest& request, IoHandler& io, Bytes data) noexcept {
  const auto function = PciAddress::from_bdf(static_cast<std::uint16_t>(request.address >> 48),
                                             static_cast<std::uint16_t>(request.address >> 32));
  const auto offset = static_cast<std::uint16_t>(request.address & 0xffff);
  const std::size_t room = 4 - offset % 4U;
  std::size_t done = 0;
  while (done < std::min(room, data.size())) {
    const auto at = static_cast<std::uint16_t>(offset + done);
    // The largest naturally aligned piece: whoever answers knows registers of 1, 2 and 4 bytes.
    std::size_t size = std::bit_floor(std::min(data.size() - done, room - done));
    while (at % size != 0) size /= 2;
    const auto piece = data.subspan(done, size);
    if (request.read) {
      io.pci_config_read(function, at, piece);
    } else {
      io.pci_config_write(function, at, piece);
    }
    done += size;
  }
  if (request.read) std::fill(data.begin() + static_cast<std::ptrdiff_t>(done), data.end(), std::byte{0xff});
}

[[gnu::hot]] void device_access(const IoRequest& request, std::uint64_t address, IoHandler& io, Bytes data) noexcept {
  switch (request.kind) {
    case IoRequest::Kind::port:
      if (request.read) {
        io.pio_read(static_cast<std::uint16_t>(address), data);
      } else {
        io.pio_write(static_cast<std::uint16_t>(address), data);
      }
      return;
    case IoRequest::Kind::memory:
      if (request.read) {
        io.mmio_read({address}, data);
      } else {
        io.mmio_write({address}, data, Posted::no);
      }
      return;
    case IoRequest::Kind::pci_config:
      return config_access(request, io, data);
    default:
      return;
  }
}

}  // namespace

Result<IoRequest> decode_request(std::span<const std::byte, request_size> bytes) {
  const auto flags = load<std::uint8_t>(bytes, flags_at);
  const auto type = load<std::uint8_t>(bytes, type_at);
  if (!known(type)) return malformed("unknown type", type);
  IoRequest request;
  request.kind = static_cast<IoRequest::Kind>(type);
  request.data_is_pointer = (flags & 0x10) != 0;
  request.read = (flags & 0x20) != 0;
  request.backwards = (flags & 0x40) != 0;
  request.address = load<std::uint64_t>(bytes, 0);
  request.data = load<std::uint64_t>(bytes, 8);
  request.count = load<std::uint32_t>(bytes, 16);
  if (!has_data(request.kind)) return request;
  const auto size = load<std::uint32_t>(bytes, 20);
  const std::uint32_t most = request.kind == IoRequest::Kind::memory ? 8 : 4;
  if (size == 0 || size > most || !std::has_single_bit(size)) return malformed("an element of bytes:", size);
  request.size = static_cast<std::uint8_t>(size);
  if (request.count == 0) return malformed("elements:", 0);
  // One element has its data in the request, several have them in memory, within one page.
  if (!request.data_is_pointer && request.count > 1 && request.kind != IoRequest::Kind::memory) {
    return malformed("elements without memory for them:", request.count);
  }
  if (std::uint64_t{request.count} * size > page_size) return malformed("elements beyond a page:", request.count);
  if (request.kind == IoRequest::Kind::port && request.address > 0xffff) return malformed("port", request.address);
  return request;
}

std::uint64_t serve(const IoRequest& request, IoHandler& io, GuestCopy& memory) noexcept {
  if (request.kind == IoRequest::Kind::invalidate) io.pages_removed();
  if (!has_data(request.kind)) return request.data;
  const auto step = request.backwards ? std::uint64_t{0} - request.size : std::uint64_t{request.size};
  // Only memory moves on with each element; a port and a configuration register stay.
  const auto device_step = request.kind == IoRequest::Kind::memory ? step : 0;
  std::uint64_t answer = request.data;
  for (std::uint32_t i = 0; i < request.count; ++i) {
    const auto device_at = request.address + i * device_step;
    if (!request.data_is_pointer) {
      Element element(request.read ? 0 : request.data, request.size);
      device_access(request, device_at, io, element.bytes());
      if (request.read) answer = element.value();
      continue;
    }
    const GuestAddress data_at{request.data + i * step};
    Element element(all_ones, request.size);
    if (!request.read && !memory.read(data_at, element.bytes())) element = Element(all_ones, request.size);
    device_access(request, device_at, io, element.bytes());
    // Where the guest has no memory the answer goes nowhere, as on a bus.
    if (request.read) (void)memory.write(data_at, element.bytes());
  }
  return answer;
}

Result<BufferedRequest> decode_buffered(const BufferedSlot& first, const BufferedSlot& second) {
  // Byte 0 the type; byte 1 pad (bit 0), dir (1), size (2-3), then 20 bits of address; then 4 bytes of data.
  const auto head = load<std::uint32_t>(first, 0);
  const auto type = static_cast<std::uint8_t>(head);
  if (!known(type)) return malformed("unknown type", type);
  BufferedRequest buffered;
  auto& request = buffered.request;
  request.kind = static_cast<IoRequest::Kind>(type);
  request.size = static_cast<std::uint8_t>(1U << (head >> 10 & 3));
  request.count = 1;
  request.address = head >> 12;
  request.data = load<std::uint32_t>(first, 4);
  buffered.two_slots = request.size == 8;
  if (buffered.two_slots) request.data |= std::uint64_t{load<std::uint32_t>(second, 4)} << 32;
  if ((head >> 9 & 1) != 0 && has_data(request.kind)) return malformed("a buffered read, of type", type);
  if (request.kind == IoRequest::Kind::pci_config)
    return malformed("buffered configuration access, register", request.address);
  if (request.kind == IoRequest::Kind::port && (request.address > 0xffff || request.size > 4)) {
    return malformed("buffered access to port", request.address);
  }
  return buffered;
}

void serve_buffered(const IoRequest& request, IoHandler& io) noexcept {
  Element element(request.data, request.size);
  switch (request.kind) {
    case IoRequest::Kind::port:
      return io.pio_write(static_cast<std::uint16_t>(request.address), element.bytes());
    case IoRequest::Kind::memory:
      return io.mmio_write({request.address}, element.bytes(), Posted::yes);
    case IoRequest::Kind::invalidate:
      return io.pages_removed();
    default:
      return;
  }
}

}  // namespace trivet::xen
