// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Any 32 bytes as a request, any 16 as buffered ones: refused, or served by accesses that keep the handler's contract,
// with an answer of the element's size.
#include <cstring>

#include <trivet/test/require.hpp>

#include "ioreq.hpp"

namespace {

using namespace trivet;
using test::require;

struct Checker final : IoHandler {
  std::uint64_t accesses = 0;
  static bool sized(std::size_t size, std::size_t most) {
    return size <= most && (size == 1 || size == 2 || size == 4 || size == 8);
  }
  void pio_read(std::uint16_t, Bytes data) noexcept override {
    require(sized(data.size(), 4));
    std::memset(data.data(), 0x5a, data.size());
    ++accesses;
  }
  void pio_write(std::uint16_t, ConstBytes data) noexcept override { require(sized(data.size(), 4)), ++accesses; }
  void mmio_read(GuestAddress, Bytes data) noexcept override {
    require(sized(data.size(), 8));
    std::memset(data.data(), 0x5a, data.size());
    ++accesses;
  }
  void mmio_write(GuestAddress, ConstBytes data, Posted) noexcept override {
    require(sized(data.size(), 8)), ++accesses;
  }
  void pci_config_read(const PciAddress&, std::uint16_t offset, Bytes data) noexcept override {
    require(sized(data.size(), 4) && offset % data.size() == 0);
    std::memset(data.data(), 0x5a, data.size());
    ++accesses;
  }
  void pci_config_write(const PciAddress&, std::uint16_t offset, ConstBytes data) noexcept override {
    require(sized(data.size(), 4) && offset % data.size() == 0);
    ++accesses;
  }
};

/// A page of memory at 0; nothing above.
struct Page final : xen::GuestCopy {
  std::array<std::byte, 4096> bytes{};
  [[nodiscard]] bool holds(GuestAddress at, std::size_t size) const {
    return at.value <= bytes.size() && size <= bytes.size() - at.value;
  }
  bool read(GuestAddress at, Bytes to) noexcept override {
    if (!holds(at, to.size())) return false;
    std::memcpy(to.data(), bytes.data() + at.value, to.size());
    return true;
  }
  bool write(GuestAddress at, ConstBytes from) noexcept override {
    if (!holds(at, from.size())) return false;
    std::memcpy(bytes.data() + at.value, from.data(), from.size());
    return true;
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::array<std::byte, xen::request_size> bytes{};
  std::memcpy(bytes.data(), data, std::min(size, bytes.size()));
  Checker io;
  static Page page;
  if (const auto request = xen::decode_request(bytes)) {
    const auto answer = xen::serve(*request, io, page);
    require(io.accesses <= 3ULL * request->count);
    if (request->size != 0 && request->read && !request->data_is_pointer && request->size < 8) {
      require(answer >> (8 * request->size) == 0);
    }
  }
  xen::BufferedSlot first;
  xen::BufferedSlot second;
  std::memcpy(first.data(), bytes.data(), first.size());
  std::memcpy(second.data(), bytes.data() + first.size(), second.size());
  if (const auto buffered = xen::decode_buffered(first, second)) {
    require(buffered->two_slots == (buffered->request.size == 8));
    xen::serve_buffered(buffered->request, io);
  }
  return 0;
}
