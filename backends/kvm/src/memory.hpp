// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <trivet/core/dirty_log.hpp>
#include <trivet/core/region.hpp>
#include <trivet/core/result.hpp>

#include "context.hpp"
#include "dirty_ring.hpp"
#include "mapping.hpp"

namespace trivet::kvm {

/// The guest's memory map: regions by address, each in one of KVM's slots, and what the guest wrote in them.
///
/// Thread rule: any thread, also while vCPUs run.
/// Source: Linux Documentation/virt/kvm/api.rst, KVM_SET_USER_MEMORY_REGION, KVM_GET_DIRTY_LOG.
class Memory final : public DirtyLog {
 public:
  Memory(const Context& context, DirtyRings* rings) noexcept : context_(context), rings_(rings) {}

  Result<MappedRegion> map(const RegionSpec& spec);
  Result<void> unmap(const GuestRange& range);

  Result<DirtyBitmap> take(const GuestRange& range) override;

  /// Copies guest memory for a page walk; false where nothing is mapped. Not across regions.
  [[nodiscard]] bool read(GuestAddress at, void* to, std::size_t bytes) const;

  /// Bits of a guest physical address, once known (36 at least): what lies beyond is refused.
  void set_address_bits(unsigned bits) noexcept { address_bits_ = bits; }

 private:
  struct Region {
    GuestRange range;
    std::uint32_t slot = 0;
    bool log_dirty = false;
    Access access = Access::read_write;
    std::byte* host = nullptr;
    Mapping mapping;     // of a descriptor
    UniqueFd shared_fd;  // its duplicate, or KVM's own
    bool guest_memfd = false;
    std::uint64_t shared_offset = 0;
  };
  using Regions = std::map<GuestAddress, Region>;  // by start

  Result<void> check(const RegionSpec& spec) const;
  Result<void> check_free(const GuestRange& range) const;
  Result<void> check_hypervisor_memory(const RegionSpec& spec) const;
  Result<void> back(Region& region, const RegionSpec& spec) const;
  Result<void> back_by_file(Region& region, const FileMemory& file) const;
  Result<std::uint32_t> free_slot() const;
  Result<void> set_slot(const Region& region, std::uint64_t size) const;
  [[nodiscard]] const Region* find(const GuestRange& range) const;

  const Context& context_;
  DirtyRings* rings_;  // null: bitmaps
  unsigned address_bits_ = 64;
  mutable std::mutex mutex_;
  Regions regions_;
  std::vector<bool> slots_;  // in use
};

}  // namespace trivet::kvm
