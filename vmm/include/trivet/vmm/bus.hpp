// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>

namespace trivet::vmm {

/// Something that answers accesses to a range of ports or memory.
///
/// `offset` is in bytes from where it is attached; `data` is 1, 2, 4 or 8 bytes and lies wholly inside its range.
/// Thread rule: any vCPU's thread, several at a time; must not block for long.
class BusDevice {
 public:
  virtual void read(std::uint64_t offset, Bytes data) noexcept = 0;
  virtual void write(std::uint64_t offset, ConstBytes data) noexcept = 0;

 protected:
  ~BusDevice() = default;
};

/// Who answers at which address: sorted ranges that do not overlap. Ports and memory have one each.
///
/// Thread rule: `insert` from one thread before `seal`; everything else from any thread after it. A lookup is a binary
/// search that takes no lock and allocates nothing.
class Bus {
 public:
  /// A device and the range it claims.
  struct Entry {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    BusDevice* device = nullptr;
    std::string name;
  };

  /// `address_bits`: 16 for ports. `name` is for errors.
  Bus(const char* name, unsigned address_bits) noexcept;

  /// `device` must outlive the bus. `already_exists` names the device it overlaps, `out_of_range` when it leaves the
  /// address space, `bad_state` after `seal` (caller).
  Result<void> insert(std::uint64_t first, std::uint64_t size, BusDevice& device, std::string_view device_name);

  /// Tells the hypervisor of a range that is about to be attached; see IoClaims.
  using Claim = std::function<Result<void>(std::uint64_t first, std::uint64_t size)>;

  /// From now on `insert` claims each range first, and gives its errors too. Before `seal`.
  void claim_through(Claim claim) { claim_ = std::move(claim); }

  /// From here on the bus is immutable, and vCPUs may use it.
  void seal() noexcept { sealed_ = true; }

  /// The device that holds all `size` bytes at `at`; null where nobody does.
  [[nodiscard]] const Entry* find(std::uint64_t at, std::uint64_t size) const noexcept;

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  const char* name_;
  std::uint64_t last_;
  bool sealed_ = false;
  Claim claim_;
  std::vector<Entry> entries_;
};

}  // namespace trivet::vmm
