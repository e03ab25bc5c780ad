// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "kvm.hpp"

namespace trivet::mshv_sim {

/// The partition's memory map: SET_GUEST_MEMORY and the dirty bits. Thread rule: any thread.
class GuestMemory {
 public:
  explicit GuestMemory(bool lose_dirty) : lose_dirty_(lose_dirty) {}
  void set_vm(int vm_fd) { vm_fd_ = vm_fd; }

  /// As SET_GUEST_MEMORY.
  int map(std::uint64_t gpa, std::uint64_t size, std::byte* host, bool writable, bool executable);
  int unmap(std::uint64_t gpa, std::uint64_t size, const std::byte* host);

  bool read(std::uint64_t gpa, void* to, std::size_t bytes) const;
  bool write(std::uint64_t gpa, const void* from, std::size_t bytes) const;
  [[nodiscard]] bool mapped(std::uint64_t gpa) const;
  [[nodiscard]] bool writable(std::uint64_t gpa) const;

  /// GPA_PAGE_ACCESS_TRACKING. Off is refused while bits are clear that were set before.
  int set_tracking(bool on);
  int access_bitmap(std::uint64_t first_page, std::uint64_t pages, unsigned operation, std::uint8_t* bitmap);

 private:
  struct Region {
    std::uint64_t gpa = 0;
    std::uint64_t size = 0;
    std::byte* host = nullptr;
    bool writable = false;
    std::uint32_t slot = 0;
    std::vector<bool> dirty{};  // while tracked
  };
  int set_slot(const Region& region, std::uint64_t size) const;
  int collect(Region& region) const;
  const Region* find(std::uint64_t gpa) const;

  const bool lose_dirty_;
  int vm_fd_ = -1;
  bool tracking_ = false;
  mutable std::recursive_mutex mutex_;
  std::map<std::uint64_t, Region> regions_;  // by start
  std::vector<bool> slots_;
};

}  // namespace trivet::mshv_sim
