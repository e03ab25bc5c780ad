// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include <trivet/core/dirty_log.hpp>
#include <trivet/core/region.hpp>
#include <trivet/core/result.hpp>

#include "context.hpp"
#include "ioreq.hpp"
#include "ioreq_server.hpp"
#include "mapping.hpp"

namespace trivet::xen {

/// The guest's memory: regions that Xen owns and this process maps, and what the guest wrote in them.
///
/// Thread rule: any thread, also while the guest runs. Source: xen/memory.h (populate_physmap, decrease_reservation),
/// xen/domctl.h (shadow_op), xen/hvm/dm_op.h (set_mem_type, modified_memory), xenforeignmemory.h.
class Memory final : public DirtyLog, public GuestCopy {
 public:
  Memory(const Context& context, unsigned address_bits) noexcept : context_(context), address_bits_(address_bits) {}
  /// The server that takes the writes to read-only memory. Before the first `map`.
  void set_server(const IoreqServer& server) noexcept { server_ = &server; }

  Result<MappedRegion> map(const RegionSpec& spec);
  Result<void> unmap(const GuestRange& range);

  Result<DirtyBitmap> take(const GuestRange& range) override;
  Result<void> mark(const GuestRange& range) noexcept override;

  // For page walks and requests with a pointer to their data.
  bool read(GuestAddress at, Bytes to) noexcept override { return copy(at, to, false); }
  bool write(GuestAddress at, ConstBytes from) noexcept override;

 private:
  struct Region {
    GuestRange range;
    Access access = Access::read_write;
    bool log_dirty = false;
    Mapping mapping;
    DirtyBitmap dirty{};  // taken from Xen, not yet by the caller
  };
  using Regions = std::map<GuestAddress, Region>;  // by start

  Result<void> check(const RegionSpec& spec) const;
  Result<void> check_free(const GuestRange& range) const;
  Result<Region> make(const RegionSpec& spec);
  Result<void> populate(const GuestRange& range);
  Result<void> depopulate(const GuestRange& range) const;
  Result<void> set_limit(std::uint64_t bytes) const;
  Result<void> make_room(const GuestRange& range);
  Result<void> trap_writes(const GuestRange& range);
  Result<void> remove(Regions::iterator region);
  /// Takes Xen's bitmap, which is the whole domain's, into those of the regions.
  Result<void> harvest();
  [[nodiscard]] bool logging() const noexcept;
  [[nodiscard]] Regions::iterator find(const GuestRange& range);
  bool copy(GuestAddress at, Bytes data, bool to_guest) noexcept;
  bool copy_in_page(GuestAddress at, Bytes data, bool to_guest) noexcept;

  const Context& context_;
  const unsigned address_bits_;
  const IoreqServer* server_ = nullptr;
  std::mutex mutex_;
  Regions regions_;
  std::uint64_t populated_ = 0;  // bytes
  std::uint64_t pool_for_ = 0;   // bytes that the domain's paging pool is good for
  bool traps_writes_ = false;    // the server has the page type
};

}  // namespace trivet::xen
