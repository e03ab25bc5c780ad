// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <span>

#include <trivet/core/event.hpp>
#include <trivet/vmm/ioapic.hpp>

#include "log.hpp"

namespace trivet::vmm {
namespace {

constexpr std::uint64_t offset_select = 0x00;
constexpr std::uint64_t offset_window = 0x10;

constexpr std::uint8_t register_id = 0x00;
constexpr std::uint8_t register_version = 0x01;
constexpr std::uint8_t register_arbitration = 0x02;
constexpr std::uint8_t register_redirection = 0x10;  // two to a pin, low half first

constexpr std::uint32_t version = 0x11;  // ends of interrupts come by broadcast
constexpr unsigned id_shift = 24;
constexpr std::uint8_t id_mask = 0x0f;

// Redirection table entry.
constexpr std::uint64_t entry_vector = 0xff;
constexpr unsigned entry_delivery_shift = 8;
constexpr std::uint64_t entry_delivery = 7;
constexpr std::uint64_t entry_logical = 1ULL << 11;
constexpr std::uint64_t entry_pending = 1ULL << 12;  // delivery status: never pending, a message goes at once
constexpr std::uint64_t entry_remote_irr = 1ULL << 14;
constexpr std::uint64_t entry_level = 1ULL << 15;
constexpr std::uint64_t entry_masked = 1ULL << 16;
constexpr unsigned entry_destination_shift = 56;
constexpr std::uint64_t entry_read_only = entry_pending | entry_remote_irr;
constexpr std::uint64_t entry_exists = 0xff00'0000'0001'ffff;

// A message to local APICs.
constexpr std::uint64_t message_base = 0xfee0'0000;
constexpr unsigned message_destination_shift = 12;
constexpr std::uint64_t message_redirection_hint = 1ULL << 3;
constexpr std::uint64_t message_logical = 1ULL << 2;
constexpr std::uint32_t message_assert = 1U << 14;
constexpr std::uint32_t message_level = 1U << 15;
constexpr std::uint64_t delivery_lowest_priority = 1;

MsiMessage message_of(std::uint64_t entry) {
  const auto delivery = entry >> entry_delivery_shift & entry_delivery;
  MsiMessage message;
  message.address = message_base | entry >> entry_destination_shift << message_destination_shift;
  if ((entry & entry_logical) != 0) message.address |= message_logical;
  if (delivery == delivery_lowest_priority) message.address |= message_redirection_hint;
  message.data = static_cast<std::uint32_t>((entry & entry_vector) | delivery << entry_delivery_shift);
  if ((entry & entry_level) != 0) message.data |= message_level | message_assert;
  return message;
}

std::uint64_t half_of(std::uint64_t entry, bool high) {
  return high ? entry >> 32 : entry & 0xffff'ffff;
}

/// Where the guest's own access has no way to say that the host failed.
void report(const Result<void>& done) noexcept {
  if (!done) log::warning(to_string(done.error()));
}

}  // namespace

/// One input and its redirection entry. Delivery is decided by whoever changes something last, without a lock: Remote
/// IRR is taken by compare-and-swap, so that one interrupt goes out for a level however many look.
struct IoApic::Pin {
  std::atomic<std::uint64_t> entry{entry_masked};
  std::atomic<std::uint32_t> holders{0};
  // Made with the first line, and not unmade: a hypervisor that reports ends of interrupts does so for its routes.
  std::unique_ptr<MsiRoute> owned_route;
  std::atomic<MsiRoute*> route{nullptr};
  std::mutex mutex;  // the lines; not taken to raise an interrupt, but for the PIC
  std::vector<Line*> lines;
  Pic* pic = nullptr;  // sees this pin's lines too
  unsigned index = 0;

  void edge_to_pic() noexcept {
    if (pic == nullptr) return;
    const std::scoped_lock lock(mutex);
    pic->set_line(index, false);
    pic->set_line(index, true);
  }
  /// As it is now: whoever comes last says it right.
  void level_to_pic() noexcept {
    if (pic == nullptr) return;
    const std::scoped_lock lock(mutex);
    pic->set_line(index, holders.load() != 0);
  }

  Result<void> edge() noexcept {
    const auto now = entry.load();
    if ((now & entry_masked) != 0) return {};
    return (now & entry_level) == 0 ? route.load()->signal() : pass_level();
  }

  /// Sends the level that is held, unless it is masked or its interrupt is not yet ended.
  Result<void> deliver_level() noexcept {
    if (holders.load() == 0) return {};
    return pass_level();
  }

  Result<void> pass_level() noexcept {
    auto now = entry.load();
    while ((now & (entry_masked | entry_remote_irr)) == 0 && (now & entry_level) != 0) {
      if (entry.compare_exchange_weak(now, now | entry_remote_irr)) return route.load()->signal();
    }
    return {};
  }

  void set_entry(std::uint64_t value, bool high) noexcept {
    auto now = entry.load();
    std::uint64_t next = 0;
    do {
      const auto kept = high ? (now & 0xffff'ffff) : (now & (0xffff'ffff'0000'0000 | entry_read_only));
      next = (kept | (high ? value << 32 : value & ~entry_read_only)) & entry_exists;
      if ((next & entry_level) == 0) next &= ~entry_remote_irr;  // nobody will end an edge
    } while (!entry.compare_exchange_weak(now, next));
    update_route();
  }

  /// Whoever sets the message last has looked at the entry after that, so that no older one stays.
  void update_route() noexcept {
    auto* const to = route.load();
    while (to != nullptr) {
      const auto now = entry.load();
      if ((now & entry_masked) != 0) return;
      report(to->set_message(message_of(now)));
      if (((entry.load() ^ now) & ~entry_remote_irr) == 0) return;
    }
  }

  void end() noexcept;
};

class IoApic::Line final : public InterruptLine {
 public:
  Line(Pin& pin, Trigger trigger, std::optional<Event> resampled)
      : pin_(pin), trigger_(trigger), resampled_(std::move(resampled)) {}

  ~Line() override {
    {
      const std::scoped_lock lock(pin_.mutex);
      std::erase(pin_.lines, this);
    }
    report(change(false));
  }

  Result<void> signal() noexcept override {
    if (trigger_ != Trigger::edge) return change(true);
    pin_.edge_to_pic();
    return pin_.edge();
  }

  Result<void> set_level(bool asserted) noexcept override {
    if (trigger_ == Trigger::edge) return Error::unsupported("set the level of a line", "it is an edge line");
    return change(asserted);
  }

  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return resampled_ ? resampled_->fd() : -1; }
  [[nodiscard]] Trigger trigger() const noexcept { return trigger_; }

  /// The guest ended the interrupt: down, and the device looks whether it still wants one.
  void resample() noexcept {
    if (!resampled_) return;
    report(change(false));
    resampled_->signal();
  }

 private:
  Result<void> change(bool asserted) noexcept {
    if (asserted_.exchange(asserted) == asserted) return {};
    if (asserted) {
      pin_.holders.fetch_add(1);
    } else {
      pin_.holders.fetch_sub(1);
    }
    if (!resampled_) pin_.level_to_pic();
    return asserted ? pin_.deliver_level() : Result<void>{};
  }

  Pin& pin_;
  const Trigger trigger_;
  std::optional<Event> resampled_;
  std::atomic<bool> asserted_{false};
};

void IoApic::Pin::end() noexcept {
  {
    const std::scoped_lock lock(mutex);
    for (auto* line : lines) line->resample();
  }
  entry.fetch_and(~entry_remote_irr);
  report(deliver_level());
}

IoApic::IoApic(IrqRouter& messages, Pic* pic) noexcept : messages_(messages), pin_(std::make_unique<Pin[]>(pins)) {
  // Not 0 and 2: the PIT is on the one here and the other there.
  for (unsigned i = 1; i < Pic::lines; ++i) {
    pin_[i].index = i;
    if (i != Pic::cascade) pin_[i].pic = pic;
  }
}
IoApic::~IoApic() = default;

Result<std::unique_ptr<InterruptLine>> IoApic::line(std::uint32_t gsi, Trigger trigger) {
  constexpr auto operation = "make an interrupt line";
  if (gsi >= pins) {
    return Error(Errc::out_of_range, operation, fmt::format("GSI {}: the I/O APIC has {} pins", gsi, pins));
  }
  std::optional<Event> resampled;
  if (trigger == Trigger::level_resample) {
    TRIVET_ASSIGN(resampled, Event::create());
  }
  auto& pin = pin_[gsi];
  const std::scoped_lock lock(pin.mutex);
  if (!pin.lines.empty() && (pin.lines.front()->trigger() == Trigger::edge) != (trigger == Trigger::edge)) {
    return Error(Errc::already_exists, operation, fmt::format("GSI {} has a line of another trigger", gsi));
  }
  if (!pin.owned_route) {
    TRIVET_ASSIGN(pin.owned_route, messages_.msi_route(message_of(pin.entry.load())));
    pin.route = pin.owned_route.get();
    pin.update_route();  // the guest may have written the entry meanwhile
  }
  auto line = std::make_unique<Line>(pin, trigger, std::move(resampled));
  pin.lines.push_back(line.get());
  return line;
}

void IoApic::end_of_interrupt(std::uint8_t vector) noexcept {
  for (auto& pin : std::span(pin_.get(), pins)) {
    const auto entry = pin.entry.load();
    if ((entry & entry_remote_irr) != 0 && (entry & entry_vector) == vector) pin.end();
  }
}

std::uint32_t IoApic::read_register() const noexcept {
  const auto select = select_.load(std::memory_order_relaxed);
  switch (select) {
    case register_id:
    case register_arbitration:
      return std::uint32_t{id_.load(std::memory_order_relaxed)} << id_shift;
    case register_version:
      return version | (pins - 1) << 16;
    default:
      break;
  }
  const auto index = static_cast<unsigned>(select - register_redirection);
  if (select < register_redirection || index / 2 >= pins) return 0;
  return static_cast<std::uint32_t>(half_of(pin_[index / 2].entry.load(), index % 2 != 0));
}

void IoApic::write_register(std::uint32_t value) noexcept {
  const auto select = select_.load(std::memory_order_relaxed);
  if (select == register_id) {
    id_.store(value >> id_shift & id_mask, std::memory_order_relaxed);
    return;
  }
  const auto index = static_cast<unsigned>(select - register_redirection);
  if (select < register_redirection || index / 2 >= pins) return;
  auto& pin = pin_[index / 2];
  pin.set_entry(value, index % 2 != 0);
  report(pin.deliver_level());
}

void IoApic::read(std::uint64_t offset, Bytes data) noexcept {
  std::uint32_t value = 0;
  if (offset == offset_select) value = select_.load(std::memory_order_relaxed);
  if (offset == offset_window) value = read_register();
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = i < sizeof value ? static_cast<std::byte>(value >> (8 * i)) : std::byte{0};
  }
}

void IoApic::write(std::uint64_t offset, ConstBytes data) noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < std::min(data.size(), sizeof value); ++i) {
    value |= std::to_integer<std::uint32_t>(data[i]) << (8 * i);
  }
  if (offset == offset_select) select_.store(static_cast<std::uint8_t>(value), std::memory_order_relaxed);
  // The window is a doubleword: a part of it would write the rest with what nobody meant.
  if (offset == offset_window && data.size() == sizeof value) write_register(value);
}

IoApicState IoApic::save() const noexcept {
  IoApicState state{id_.load(), select_.load(), {}};
  for (unsigned i = 0; i < pins; ++i) state.redirection[i] = pin_[i].entry.load();
  return state;
}

Result<void> IoApic::restore(const IoApicState& state) noexcept {
  constexpr auto operation = "restore the I/O APIC";
  if ((state.id & ~id_mask) != 0) return Error::malformed(operation, "its id is 0 to 15");
  for (const auto entry : state.redirection) {
    if ((entry & ~entry_exists) != 0) return Error::malformed(operation, "an entry has bits that do not exist");
    if ((entry & entry_level) == 0 && (entry & entry_remote_irr) != 0) {
      return Error::malformed(operation, "an edge entry has Remote IRR");
    }
  }
  id_.store(state.id);
  select_.store(state.select);
  for (unsigned i = 0; i < pins; ++i) {
    pin_[i].entry.store(state.redirection[i]);
    pin_[i].update_route();
    report(pin_[i].deliver_level());
  }
  return {};
}

}  // namespace trivet::vmm
