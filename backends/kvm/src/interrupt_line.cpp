// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "interrupt_line.hpp"

#include <atomic>
#include <utility>

namespace trivet::kvm {
namespace {

/// An event that the kernel turns into an interrupt.
class IrqEvent {
 public:
  static Result<IrqEvent> create(Router& router, std::uint32_t gsi, int resample_fd) {
    TRIVET_ASSIGN(auto event, Event::create());
    TRIVET_TRY(router.connect(gsi, event.fd(), resample_fd));
    return IrqEvent(router, gsi, std::move(event));
  }
  IrqEvent(IrqEvent&& other) noexcept
      : router_(std::exchange(other.router_, nullptr)), gsi_(other.gsi_), event_(std::move(other.event_)) {}
  IrqEvent& operator=(IrqEvent&&) = delete;
  ~IrqEvent() {
    if (router_ != nullptr) router_->disconnect(gsi_, event_.fd());
  }

  [[nodiscard]] const Event& event() const noexcept { return event_; }

 private:
  IrqEvent(Router& router, std::uint32_t gsi, Event event) noexcept
      : router_(&router), gsi_(gsi), event_(std::move(event)) {}
  Router* router_;
  std::uint32_t gsi_;
  Event event_;
};

class EdgeLine final : public InterruptLine {
 public:
  EdgeLine(std::shared_ptr<Pin> pin, IrqEvent event) noexcept : pin_(std::move(pin)), event_(std::move(event)) {}
  // The pin rather than the event: the kernel hands an irqfd's pin to a worker thread, and this is done when it
  // returns.
  Result<void> signal() noexcept override { return pin_->pulse(); }
  Result<void> set_level(bool /*asserted*/) noexcept override {
    return Error::unsupported("set an interrupt's level", "the line is edge triggered");
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return event_.event().fd(); }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }

 private:
  std::shared_ptr<Pin> pin_;
  IrqEvent event_;
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
  // An irqfd pulses, and its fall would pull down what others hold.
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }

 private:
  std::shared_ptr<Pin> pin_;
  std::atomic<bool> asserted_{false};
};

class ResampleLine final : public InterruptLine {
 public:
  ResampleLine(std::shared_ptr<Pin> pin, Event resample, IrqEvent event) noexcept
      : pin_(std::move(pin)), resample_(std::move(resample)), event_(std::move(event)) {}
  Result<void> signal() noexcept override {
    event_.event().signal();
    return {};
  }
  Result<void> set_level(bool /*asserted*/) noexcept override {
    return Error::unsupported("set an interrupt's level", "the guest's end-of-interrupt deasserts this line");
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return event_.event().fd(); }
  [[nodiscard]] int resample_fd() const noexcept override { return resample_.fd(); }

 private:
  std::shared_ptr<Pin> pin_;  // keeps the trigger of the GSI
  Event resample_;
  IrqEvent event_;
};

class MessageRoute final : public MsiRoute {
 public:
  MessageRoute(Router& router, std::uint32_t gsi, Event event) noexcept
      : router_(router), gsi_(gsi), event_(std::move(event)) {}
  MessageRoute(const MessageRoute&) = delete;
  MessageRoute& operator=(const MessageRoute&) = delete;
  ~MessageRoute() override { router_.remove_route(gsi_, event_.fd()); }
  Result<void> signal() noexcept override {
    event_.signal();  // the kernel delivers a message from within the write
    return {};
  }
  Result<void> set_level(bool /*asserted*/) noexcept override {
    return Error::unsupported("set an interrupt's level", "a message has none");
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return event_.fd(); }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }
  Result<void> set_message(const MsiMessage& message) override {
    return router_.change_route(gsi_, message, event_.fd());
  }

 private:
  Router& router_;
  std::uint32_t gsi_;  // the router's business
  Event event_;
};

}  // namespace

Result<std::unique_ptr<InterruptLine>> make_line(Router& router, std::uint32_t gsi, std::shared_ptr<Pin> pin) {
  switch (pin->trigger()) {
    case Trigger::edge: {
      TRIVET_ASSIGN(auto event, IrqEvent::create(router, gsi, -1));
      return std::unique_ptr<InterruptLine>(std::make_unique<EdgeLine>(std::move(pin), std::move(event)));
    }
    case Trigger::level:
      return std::unique_ptr<InterruptLine>(std::make_unique<LevelLine>(std::move(pin)));
    case Trigger::level_resample: {
      TRIVET_ASSIGN(auto resample, Event::create());
      TRIVET_ASSIGN(auto event, IrqEvent::create(router, gsi, resample.fd()));
      return std::unique_ptr<InterruptLine>(
          std::make_unique<ResampleLine>(std::move(pin), std::move(resample), std::move(event)));
    }
  }
  return Error(Errc::invalid_argument, "make an interrupt line", "no such trigger");
}

Result<std::unique_ptr<MsiRoute>> make_route(Router& router, const MsiMessage& message) {
  TRIVET_ASSIGN(auto event, Event::create());
  TRIVET_ASSIGN(const auto gsi, router.add_route(message, event.fd()));
  return std::unique_ptr<MsiRoute>(std::make_unique<MessageRoute>(router, gsi, std::move(event)));
}

}  // namespace trivet::kvm
