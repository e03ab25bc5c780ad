// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/core/irq_router.hpp>
#include <trivet/core/result.hpp>

namespace trivet::pci {

/// A function's MSI-X vectors: table, pending bits and routes. A vector that is masked keeps one pending bit and raises
/// its message when it is unmasked; none is lost when a signal and an unmasking meet.
///
/// Thread rule: `signal` from any thread, without a lock or an allocation; the rest from any thread, serialised here.
/// Source: PCI 3.0, 6.8.2 and 6.8.3.
class Msix {
 public:
  /// Where a host error goes that nobody waits for.
  using ErrorLog = std::function<void(const Error&)>;

  /// `router` outlives this; `device_id` goes into the messages. 1 to 2048 vectors.
  Msix(IrqRouter& router, std::uint16_t vectors, std::uint32_t device_id, ErrorLog log);
  Msix(const Msix&) = delete;
  Msix& operator=(const Msix&) = delete;
  ~Msix();

  [[nodiscard]] std::uint16_t vectors() const noexcept { return static_cast<std::uint16_t>(entries_.size()); }
  [[nodiscard]] std::uint64_t table_size() const noexcept;    ///< bytes
  [[nodiscard]] std::uint64_t pending_size() const noexcept;  ///< bytes, a multiple of 8

  /// The capability's message control, as the guest has written it.
  void set_control(std::uint16_t control) noexcept;
  [[nodiscard]] bool enabled() const noexcept { return (state_.load() & on) != 0; }

  /// Makes sure that the vector has a route, whose message may come later. `limit` (host); `out_of_range` (guest).
  Result<void> reserve(std::uint16_t vector) noexcept;

  /// Raises a vector that was reserved, now or when it is unmasked. Nothing while MSI-X is off.
  void signal(std::uint16_t vector) noexcept;
  /// Forgets what is pending.
  void clear_pending() noexcept;

  /// The guest reads and writes the table: 4 or 8 bytes, aligned; other writes are ignored, other reads give what is
  /// there.
  void read_table(std::uint64_t offset, Bytes data) const noexcept;
  void write_table(std::uint64_t offset, ConstBytes data) noexcept;
  /// One bit a vector; read only.
  void read_pending(std::uint64_t offset, Bytes data) const noexcept;

 private:
  static constexpr std::uint32_t on = 1;
  static constexpr std::uint32_t all_masked = 2;

  struct Entry {
    std::uint32_t address_low = 0;
    std::uint32_t address_high = 0;
    std::uint32_t data = 0;
    std::uint32_t control = 1;        // masked, as after power-up
    MsiMessage given{};               // what the route has
    std::unique_ptr<MsiRoute> owned;  // made once, stays
    // What `signal` reads without the lock. Sequentially consistent: see `signal`.
    std::atomic<bool> masked{true};
    std::atomic<bool> pending{false};
    std::atomic<MsiRoute*> route{nullptr};
  };

  [[nodiscard]] std::uint32_t word(std::uint64_t index) const noexcept;
  void set_word(std::uint64_t index, std::uint32_t value) noexcept;
  [[nodiscard]] MsiMessage message_of(const Entry& entry) const noexcept;
  Result<void> give_message(Entry& entry);
  void update(Entry& entry) noexcept;
  void raise_if_due(Entry& entry) noexcept;
  void report(const Error& error) const noexcept;

  IrqRouter& router_;
  std::uint32_t device_id_;
  ErrorLog log_;
  mutable std::mutex mutex_;
  std::vector<Entry> entries_;
  std::atomic<std::uint32_t> state_{0};
};

}  // namespace trivet::pci
