// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The host's end of what the guest does: test windows whose accesses are recorded, and the ports it reports through.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <trivet/core/io_handler.hpp>

#include "trace.hpp"
#include "trivet_guest/protocol.hpp"

namespace conformance {

/// Thread rule: the handler's calls from any runner; the rest while no runner runs, but for the atomics.
class TestBus final : public trivet::IoHandler {
 public:
  TestBus();
  virtual ~TestBus() = default;

  void pio_read(std::uint16_t port, trivet::Bytes data) noexcept override;
  void pio_write(std::uint16_t port, trivet::ConstBytes data) noexcept override;
  void mmio_read(trivet::GuestAddress at, trivet::Bytes data) noexcept override;
  void mmio_write(trivet::GuestAddress at, trivet::ConstBytes data, trivet::Posted posted) noexcept override;

  std::optional<std::uint8_t> acknowledge_interrupt() noexcept override {
    return legacy != nullptr ? legacy->acknowledge_interrupt() : std::nullopt;
  }

  /// Takes the ports of a PC's legacy devices, and acknowledges interrupts; null: nobody does.
  trivet::IoHandler* legacy = nullptr;

  /// Everything recorded so far, and starts again. The windows and holes are recorded, the guest's reports are not.
  [[nodiscard]] std::vector<Access> take_trace();
  [[nodiscard]] std::size_t trace_size();
  /// Accesses that nobody claims, reads and writes.
  [[nodiscard]] std::uint64_t hole_count() const { return holes_; }
  [[nodiscard]] std::string text();

  /// Called on the runner's thread for each stage; returns whether the runner shall stop there.
  std::function<bool(std::uint32_t stage)> on_stage;
  /// Called on the runner's thread for each value.
  std::function<void(std::uint32_t value)> on_value;
  /// Called when the guest has ended.
  std::function<void()> on_result;
  std::function<void(std::uint32_t stage)> on_stop;

  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] std::uint32_t result() const { return result_; }
  /// Forgets a result, for another run.
  void restart();

 private:
  void record(AccessKind kind, std::uint64_t at, trivet::ConstBytes data, bool posted = false);
  bool report(std::uint16_t port, std::uint64_t value);

  std::mutex mutex_;
  std::vector<Access> trace_;
  std::string text_;
  std::array<std::uint8_t, trivet_guest::mmio_window_size> window_{};
  std::uint8_t sequence_ = 0;
  std::atomic<std::uint64_t> holes_ = 0;
  std::atomic<bool> finished_ = false;
  std::atomic<std::uint32_t> result_ = 0;
};

}  // namespace conformance
