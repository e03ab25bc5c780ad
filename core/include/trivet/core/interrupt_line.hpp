// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/result.hpp>

namespace trivet {

/// An interrupt that a device holds and raises (P10): a wired line or a message route.
///
/// Keep it no longer than its Vm. Thread rule: any thread; `signal` takes no lock and allocates nothing.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;

  /// Raises an edge: one interrupt, however many are not yet taken. Errors are the host's.
  virtual Result<void> signal() noexcept = 0;

  /// Sets the level of a level-triggered line. `unsupported` on an edge line or a message. An interrupt that a local
  /// APIC accepted before the line fell is still delivered, as on hardware: drivers take it as spurious.
  virtual Result<void> set_level(bool asserted) noexcept = 0;

  /// An event descriptor whose signalling does the same as `signal`, for vhost and other processes; -1 where there is
  /// none.
  [[nodiscard]] virtual int trigger_fd() const noexcept = 0;

  /// Turns readable when the guest ends a level interrupt (Cap::resample); -1 where there is none.
  [[nodiscard]] virtual int resample_fd() const noexcept = 0;
};

/// A message-signalled interrupt: the write that raises it. `device_id` is for interrupt remapping; x86 ignores it.
struct MsiMessage {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  std::uint32_t device_id = 0;

  friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

/// An InterruptLine whose message can change, as a guest reprograms its MSI-X table.
class MsiRoute : public InterruptLine {
 public:
  /// From now on `signal` raises `message`. Any thread.
  virtual Result<void> set_message(const MsiMessage& message) = 0;
};

}  // namespace trivet
