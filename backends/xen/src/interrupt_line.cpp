// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupt_line.hpp"

#include <atomic>
#include <utility>

namespace trivet::xen {
namespace {

constexpr auto level_operation = "set an interrupt's level";

class EdgeLine final : public InterruptLine {
 public:
  explicit EdgeLine(std::shared_ptr<Pin> pin) noexcept : pin_(std::move(pin)) {}
  Result<void> signal() noexcept override { return pin_->pulse(); }
  Result<void> set_level(bool /*asserted*/) noexcept override {
    return Error::unsupported(level_operation, "the line is edge triggered");
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }

 private:
  std::shared_ptr<Pin> pin_;
};

class LevelLine final : public InterruptLine {
 public:
  explicit LevelLine(std::shared_ptr<Pin> pin) noexcept : pin_(std::move(pin)) {}
  LevelLine(const LevelLine&) = delete;
  LevelLine& operator=(const LevelLine&) = delete;
  ~LevelLine() override { (void)set_level(false); }
  Result<void> signal() noexcept override { return pin_->pulse(); }
  Result<void> set_level(bool asserted) noexcept override {
    if (asserted_.exchange(asserted) == asserted) return {};
    return asserted ? pin_->hold() : pin_->release();
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }

 private:
  std::shared_ptr<Pin> pin_;
  std::atomic<bool> asserted_{false};
};

class MessageRoute final : public MsiRoute {
 public:
  MessageRoute(Router& router, const MsiMessage& message) noexcept : router_(router) { store(message); }
  Result<void> signal() noexcept override { return router_.signal_msi(load()); }
  Result<void> set_level(bool /*asserted*/) noexcept override {
    return Error::unsupported(level_operation, "a message has none");
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }
  Result<void> set_message(const MsiMessage& message) override {
    store(message);
    return {};
  }

 private:
  // Two words that change together while others read them, without a lock: odd while they change.
  void store(const MsiMessage& message) noexcept {
    auto version = version_.load(std::memory_order_relaxed);
    while ((version & 1) != 0 || !version_.compare_exchange_weak(version, version + 1, std::memory_order_acquire)) {
      version = version_.load(std::memory_order_relaxed);
    }
    address_.store(message.address, std::memory_order_seq_cst);
    data_.store(message.data, std::memory_order_seq_cst);
    version_.store(version + 2, std::memory_order_release);
  }
  [[nodiscard]] MsiMessage load() const noexcept {
    while (true) {
      const auto version = version_.load(std::memory_order_acquire);
      const MsiMessage message{address_.load(std::memory_order_seq_cst), data_.load(std::memory_order_seq_cst)};
      if ((version & 1) == 0 && version_.load(std::memory_order_seq_cst) == version) return message;
    }
  }

  Router& router_;
  std::atomic<std::uint32_t> version_{0};
  std::atomic<std::uint64_t> address_{0};
  std::atomic<std::uint32_t> data_{0};
};

}  // namespace

Result<std::unique_ptr<InterruptLine>> make_line(std::shared_ptr<Pin> pin) {
  if (pin->trigger() == Trigger::edge) {
    return std::unique_ptr<InterruptLine>(std::make_unique<EdgeLine>(std::move(pin)));
  }
  return std::unique_ptr<InterruptLine>(std::make_unique<LevelLine>(std::move(pin)));
}

Result<std::unique_ptr<MsiRoute>> make_route(Router& router, const MsiMessage& message) {
  return std::unique_ptr<MsiRoute>(std::make_unique<MessageRoute>(router, message));
}

}  // namespace trivet::xen
