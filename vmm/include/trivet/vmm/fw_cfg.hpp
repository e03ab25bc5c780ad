// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

/// By which firmware made for QEMU's machines learns what its machine is: numbered items and named files, read byte by
/// byte through a port, or by DMA into guest memory. The guest writes none of them.
///
/// Attached at port 0x510, 12 bytes. What it reads beyond an item's end is zero. A transfer whose place is not memory,
/// or of more than `most_transfer`, ends with the error bit in its descriptor; one whose descriptor is not memory
/// changes nothing (guest). Thread rule: `add` and `add_file` before the first access; accesses from any thread, one
/// at a time under a lock of its own.
/// Source: QEMU, docs/specs/fw_cfg.
class FwCfg final : public BusDevice {
 public:
  static constexpr std::uint16_t base = 0x510;
  static constexpr std::uint64_t size = 12;
  /// Bytes that one transfer moves: more than any item has, and little enough for a vCPU's thread to be away.
  static constexpr std::uint64_t most_transfer = std::uint64_t{16} << 20;

  /// It has a signature, an id that tells of DMA, and a directory without files. `memory` is where DMA goes.
  explicit FwCfg(std::shared_ptr<const memory::MemoryMap> memory);

  /// `already_exists` when the key is taken (caller).
  Result<void> add(std::uint16_t key, std::vector<std::byte> content);

  /// An item that the directory lists. `already_exists`; `invalid_argument` when the name is empty or longer than 55
  /// bytes; `limit` for more files than there are keys (caller).
  Result<void> add_file(std::string_view name, std::vector<std::byte> content);

  void read(std::uint64_t offset, Bytes data) noexcept override;
  void write(std::uint64_t offset, ConstBytes data) noexcept override;

 private:
  /// What it moves next, of which item.
  struct Place {
    const std::vector<std::byte>* item = nullptr;  // none: all zero
    std::uint64_t offset = 0;
  };

  void select(std::uint16_t key) noexcept;
  std::byte next() noexcept;
  void transfer(GuestAddress descriptor) noexcept;
  /// False when the guest asked for what cannot be.
  [[nodiscard]] bool perform(const memory::GuestMemory& memory, std::uint32_t control, std::uint64_t length,
                             GuestAddress to) noexcept;

  std::shared_ptr<const memory::MemoryMap> memory_;
  std::map<std::uint16_t, std::vector<std::byte>> items_;
  std::vector<std::byte>& directory_;
  std::mutex mutex_;
  Place place_;
  std::uint32_t dma_high_ = 0;
};

}  // namespace trivet::vmm
