// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <trivet/core/dirty_log.hpp>
#include <trivet/core/region.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

#include "abi.hpp"
#include "context.hpp"
#include "mapping.hpp"

namespace trivet::mshv {

/// The guest's memory map, and what the guest wrote in it. The hypervisor pins what is mapped.
///
/// Thread rule: any thread, also while vCPUs run. Source: include/uapi/linux/mshv.h, MSHV_SET_GUEST_MEMORY,
/// MSHV_GET_GPAP_ACCESS_BITMAP.
class Memory final : public DirtyLog {
 public:
  explicit Memory(const Context& context) noexcept : context_(context) {}

  Result<MappedRegion> map(const RegionSpec& spec);
  Result<void> unmap(const GuestRange& range);

  Result<DirtyBitmap> take(const GuestRange& range) override;

  /// Copies guest memory for a page walk; false where nothing is mapped. Not across regions.
  [[nodiscard]] bool read(GuestAddress at, void* to, std::size_t bytes) const;

 private:
  using Written = std::vector<std::atomic<std::uint64_t>>;  // one bit a page

  struct Window {
    GuestRange range;
    std::byte* host = nullptr;
    bool writable = false;
    std::shared_ptr<Written> written;  // null: not logged
  };
  using Map = std::vector<Window>;  // by start

 public:
  /// The map for one runner's emulator: looked at without a lock, let go before anything else is done. What was
  /// unmapped stays in this process until no view shows it.
  class View {
   public:
    explicit View(Memory& memory);
    ~View();
    View(const View&) = delete;
    View& operator=(const View&) = delete;

    /// Good until `let_go`, up to the end of the page. Null: no RAM, or none that the guest may write.
    [[nodiscard]] std::byte* find(GuestAddress at, bool write) noexcept;
    void wrote(GuestAddress at) noexcept;
    void let_go() noexcept { shown_.store(nullptr, std::memory_order_seq_cst); }

   private:
    friend class Memory;
    const Window* window(GuestAddress at) noexcept;
    Memory& memory_;
    std::atomic<const Map*> shown_{nullptr};
  };

 private:
  struct Region {
    Window window;
    Access access = Access::read_write;
    Mapping mapping;     // of a descriptor
    UniqueFd shared_fd;  // its duplicate
    std::uint64_t shared_offset = 0;
  };
  using Regions = std::map<GuestAddress, Region>;  // by start

  Result<void> check(const RegionSpec& spec) const;
  Result<void> check_free(const GuestRange& range) const;
  Result<void> back(Region& region, const RegionSpec& spec) const;
  Result<void> set(const Region& region, bool unmap) const;
  Result<void> set_tracking(bool on);
  Result<void> access_bitmap(const GuestRange& range, abi::AccessOperation operation, DirtyBitmap& bitmap) const;
  [[nodiscard]] const Region* find(const GuestRange& range) const;
  void publish();

  const Context& context_;
  mutable std::mutex mutex_;
  Regions regions_;
  std::size_t logged_ = 0;  // regions
  std::unique_ptr<const Map> map_ = std::make_unique<const Map>();
  std::atomic<const Map*> current_{map_.get()};
  std::vector<View*> views_;
};

}  // namespace trivet::mshv
