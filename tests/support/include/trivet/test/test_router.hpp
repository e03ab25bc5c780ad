// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include <trivet/core/irq_router.hpp>

namespace trivet::test {

/// An IRQ router whose messages go into a list. Thread rule: any thread.
class TestRouter final : public IrqRouter {
 public:
  Result<std::unique_ptr<InterruptLine>> line(std::uint32_t, Trigger) override {
    return Error::unsupported("line", "as the test wants");
  }
  Result<std::unique_ptr<MsiRoute>> msi_route(const MsiMessage& message) override {
    const std::lock_guard lock(mutex_);
    if (routes_ >= most_routes) return Error(Errc::limit, "msi route", "as the test wants", Blame::host);
    ++routes_;
    return std::unique_ptr<MsiRoute>(std::make_unique<Route>(*this, message));
  }
  Result<void> signal_msi(const MsiMessage& message) noexcept override {
    raise(message);
    return {};
  }
  [[nodiscard]] bool masked_elsewhere(const MsiMessage& message) const noexcept override {
    return event_channel != 0 && message.data == event_channel;
  }

  [[nodiscard]] std::size_t routes() const {
    const std::lock_guard lock(mutex_);
    return routes_;
  }
  [[nodiscard]] std::size_t count() const {
    const std::lock_guard lock(mutex_);
    return raised_.size();
  }
  /// How often a message with this data was raised.
  [[nodiscard]] std::size_t count(std::uint32_t data) const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(raised_.begin(), raised_.end(), [&](const MsiMessage& it) { return it.data == data; }));
  }
  [[nodiscard]] MsiMessage last() const {
    const std::lock_guard lock(mutex_);
    return raised_.empty() ? MsiMessage{} : raised_.back();
  }

  std::size_t most_routes = 4096;
  std::uint32_t event_channel = 0;  ///< messages with this data are masked elsewhere; 0: none
  std::function<void()> on_raise;   ///< set before the first signal

 private:
  class Route final : public MsiRoute {
   public:
    Route(TestRouter& router, const MsiMessage& message) : router_(router), message_(message) {}
    ~Route() override {
      const std::lock_guard lock(router_.mutex_);
      --router_.routes_;
    }
    Result<void> signal() noexcept override {
      MsiMessage now;
      {
        const std::lock_guard lock(router_.mutex_);
        now = message_;
      }
      router_.raise(now);
      return {};
    }
    Result<void> set_level(bool) noexcept override { return Error::unsupported("set level", "a message"); }
    [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
    [[nodiscard]] int resample_fd() const noexcept override { return -1; }
    Result<void> set_message(const MsiMessage& message) override {
      const std::lock_guard lock(router_.mutex_);
      message_ = message;
      return {};
    }

   private:
    TestRouter& router_;
    MsiMessage message_;
  };

  void raise(const MsiMessage& message) {
    {
      const std::lock_guard lock(mutex_);
      raised_.push_back(message);
    }
    if (on_raise) on_raise();
  }

  mutable std::mutex mutex_;
  std::vector<MsiMessage> raised_;
  std::size_t routes_ = 0;
};

}  // namespace trivet::test
