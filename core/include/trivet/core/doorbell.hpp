// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

/// Where a guest's write rings.
struct DoorbellSpec {
  enum class Space : std::uint8_t { memory, port };

  Space space = Space::memory;
  GuestAddress at;                       ///< the port's number for Space::port
  std::uint8_t size = 0;                 ///< bytes of the write: 1, 2, 4, 8; 0: any
  std::optional<std::uint64_t> value{};  ///< rings only for this value; needs a size

  friend bool operator==(const DoorbellSpec&, const DoorbellSpec&) = default;
};

/// A guest write turned into an event (P10). Destroying it withdraws it. Keep it no longer than its Vm.
/// Thread rule: any thread.
class Doorbell {
 public:
  virtual ~Doorbell() = default;
  /// Readable after the guest rang; read it (8 bytes) to take the count. Owned by the doorbell.
  [[nodiscard]] virtual int fd() const noexcept = 0;
};

/// Gives out doorbells; a facet of Vm. Where it is null the VMM's bus rings instead.
/// Thread rule: any thread, also while vCPUs run.
class Doorbells {
 public:
  /// `already_exists` when one that would also ring stands there (caller), `unsupported` names what is missing,
  /// `limit` when the host has no room for more.
  virtual Result<std::unique_ptr<Doorbell>> create(const DoorbellSpec& spec) = 0;

 protected:
  ~Doorbells() = default;
};

}  // namespace trivet
