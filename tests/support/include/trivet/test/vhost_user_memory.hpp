// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/test/vhost_user_abi.hpp>

namespace trivet::test::vhost_user {

/// The guest's memory as a front end gave it, and where the front end itself sees it (vhost-user, "Memory access").
///
/// Errors that blame the guest are the front end's: a region that overlaps another in either way of seeing it, is
/// empty, wraps or is torn, that lies outside its file, or whose descriptor is no file. Thread rule: one thread; who
/// reads the map, any.
class Memory {
 public:
  /// Slots that a front end may fill.
  static constexpr std::size_t most_slots = 32;

  explicit Memory(bool track_dirty) : track_dirty_(track_dirty), map_(std::make_shared<memory::MemoryMap>()) {}

  [[nodiscard]] const std::shared_ptr<memory::MemoryMap>& map() const noexcept { return map_; }

  /// Instead of all there was; after an error it is as before.
  Result<void> set(std::span<const abi::MemoryRegion> regions, std::span<const UniqueFd> files);
  /// `limit` (host) when all slots are taken.
  Result<void> add(const abi::MemoryRegion& region, const UniqueFd& file);
  Result<void> remove(const abi::MemoryRegion& region);
  void clear() noexcept;

  /// Where the guest sees what the front end sees at `user`; nothing unless all bytes are in one region.
  [[nodiscard]] std::optional<GuestAddress> translate(std::uint64_t user, std::uint64_t bytes) const noexcept;

 private:
  struct Slot {
    abi::MemoryRegion place;
    std::shared_ptr<const memory::Region> region;
  };
  using Slots = std::vector<Slot>;

  [[nodiscard]] Result<Slot> map_slot(const abi::MemoryRegion& region, const UniqueFd& file) const;
  Result<void> adopt(Slots slots);

  bool track_dirty_;
  std::shared_ptr<memory::MemoryMap> map_;
  Slots slots_;
};

}  // namespace trivet::test::vhost_user
