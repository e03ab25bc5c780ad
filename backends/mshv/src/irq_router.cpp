// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "irq_router.hpp"

#include <string>
#include <utility>
#include <vector>

#include <trivet/core/capability.hpp>

#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

constexpr auto route_operation = "make a message route";

/// Messages go to local APICs at 0xfee00000, which have 8-bit ids. Source: Intel SDM volume 3, 11.11.
bool reaches_an_apic(const MsiMessage& message) {
  return (message.address >> 20) == 0xfee;
}

constexpr std::uint32_t first_vector = 16;  // of an interrupt; those below are refused

bool raises(const MsiMessage& message) {
  const auto mode = message.data >> 8 & 7;
  const bool fixed = mode == abi::interrupt_type::fixed || mode == abi::interrupt_type::lowest_priority;
  return reaches_an_apic(message) && (!fixed || (message.data & 0xff) >= first_vector);
}

class MessageRoute final : public MsiRoute {
 public:
  MessageRoute(Router& router, std::uint32_t gsi, Event event) noexcept
      : router_(router), gsi_(gsi), event_(std::move(event)) {}
  MessageRoute(const MessageRoute&) = delete;
  MessageRoute& operator=(const MessageRoute&) = delete;
  ~MessageRoute() override { router_.remove_route(gsi_, event_.fd()); }
  Result<void> signal() noexcept override {
    event_.signal();
    return {};
  }
  Result<void> set_level(bool /*asserted*/) noexcept override {
    return Error::unsupported("set an interrupt's level", "a message has none");
  }
  [[nodiscard]] int trigger_fd() const noexcept override { return event_.fd(); }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }
  Result<void> set_message(const MsiMessage& message) override { return router_.change_route(gsi_, message); }

 private:
  Router& router_;
  const std::uint32_t gsi_;
  Event event_;
};

}  // namespace

Result<std::unique_ptr<InterruptLine>> Router::line(std::uint32_t /*gsi*/, Trigger /*trigger*/) {
  return Error::unsupported("make an interrupt line", to_string(Cap::lines));
}

Result<std::unique_ptr<MsiRoute>> Router::msi_route(const MsiMessage& message) {
  TRIVET_ASSIGN(auto event, Event::create());
  TRIVET_ASSIGN(const auto gsi, add_route(message, event.fd()));
  return std::unique_ptr<MsiRoute>(std::make_unique<MessageRoute>(*this, gsi, std::move(event)));
}

Result<void> Router::connect(std::uint32_t gsi, int event_fd, int resample_fd) const {
  abi::IrqFd request{event_fd, -1, gsi, 0};
  if (resample_fd >= 0) {
    request.resample_fd = resample_fd;
    request.flags = abi::irqfd_flag::resample;
  }
  TRIVET_TRY(call(context_.partition, abi::irqfd, &request, "MSHV_IRQFD", "GSI " + std::to_string(gsi)));
  return {};
}

void Router::disconnect(std::uint32_t gsi, int event_fd) const noexcept {
  abi::IrqFd request{event_fd, -1, gsi, abi::irqfd_flag::deassign};
  // Fails only for an irqfd that is not there.
  (void)context_.partition.system().ioctl(context_.partition.fd(), abi::irqfd, &request);
}

Result<void> Router::write_table() const {
  static_assert(sizeof(abi::MsiRouting) == 8 && sizeof(abi::MsiRoute) == 16);
  std::vector<std::uint32_t> words{0, 0};  // the header; four words a route follow
  std::uint32_t count = 0;
  for (const auto& [gsi, message] : messages_) {
    if (!raises(message)) continue;
    words.insert(words.end(), {gsi, static_cast<std::uint32_t>(message.address), 0, message.data});
    ++count;
  }
  words[0] = count;
  TRIVET_TRY(call(context_.partition, abi::set_msi_routing, words.data(), "MSHV_SET_MSI_ROUTING"));
  return {};
}

Result<std::uint32_t> Router::add_route(const MsiMessage& message, int event_fd) {
  const std::scoped_lock lock(mutex_);
  std::uint32_t gsi = 0;
  for (auto used = messages_.begin(); used != messages_.end() && used->first == gsi; ++used) ++gsi;
  if (gsi >= abi::most_routes) {
    return Error(Errc::limit, route_operation, "the driver's table of 4096 routes is full", Blame::host);
  }
  messages_.emplace(gsi, message);
  auto made = write_table();
  if (made) made = connect(gsi, event_fd, -1);
  if (made) return gsi;
  messages_.erase(gsi);
  (void)write_table();
  return made.error();
}

Result<void> Router::change_route(std::uint32_t gsi, const MsiMessage& message) {
  const std::scoped_lock lock(mutex_);
  auto& kept = messages_.at(gsi);
  if (kept == message) return {};
  const auto before = std::exchange(kept, message);
  auto written = write_table();
  if (!written) kept = before;
  return written;
}

void Router::remove_route(std::uint32_t gsi, int event_fd) noexcept {
  const std::scoped_lock lock(mutex_);
  disconnect(gsi, event_fd);
  messages_.erase(gsi);
  // The kernel keeps the old table if it has no memory for a new one: then the route stays, and nobody signals it.
  (void)write_table();
}

Result<void> Router::signal_msi(const MsiMessage& message) noexcept {
  if (!raises(message)) return {};
  abi::AssertInterrupt input{};
  input.type = message.data >> 8 & 7;
  input.flags = (message.data >> 15 & 1) | (static_cast<std::uint32_t>(message.address) >> 2 & 1) << 1;
  input.destination = message.address >> 12 & 0xff;
  input.vector = message.data & 0xff;
  return hypercall(context_.partition, abi::HypercallCode::assert_virtual_interrupt, bytes_of(input), {},
                   "assert an interrupt");
}

}  // namespace trivet::mshv
