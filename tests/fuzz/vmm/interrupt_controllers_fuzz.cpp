// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest at the I/O APIC, the PICs and the PIT: any register at any width, lines and time between. What was saved can
// be restored and is the same; INTR tells whether there is a vector; ticks are bounded.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include <trivet/test/require.hpp>
#include <trivet/vmm/ioapic.hpp>
#include <trivet/vmm/pic.hpp>
#include <trivet/vmm/pit.hpp>

namespace {

using namespace trivet;
using namespace trivet::vmm;
using test::require;

struct Route final : MsiRoute {
  Result<void> signal() noexcept override { return {}; }
  Result<void> set_level(bool) noexcept override { return Error::unsupported("set a level", "a message"); }
  [[nodiscard]] int trigger_fd() const noexcept override { return -1; }
  [[nodiscard]] int resample_fd() const noexcept override { return -1; }
  Result<void> set_message(const MsiMessage& message) noexcept override {
    require(message.address >> 20 == 0xfee && (message.data & ~0xc7ffU) == 0);
    return {};
  }
};
struct Router final : IrqRouter {
  Result<std::unique_ptr<InterruptLine>> line(std::uint32_t, Trigger) override {
    return Error::unsupported("make a line", "a router of messages");
  }
  Result<std::unique_ptr<MsiRoute>> msi_route(const MsiMessage&) override { return std::make_unique<Route>(); }
  Result<void> signal_msi(const MsiMessage&) noexcept override { return {}; }
};

class Machine {
 public:
  Machine() {
    for (std::uint32_t gsi = 0; gsi < IoApic::pins; ++gsi) {
      const auto trigger = gsi % 3 == 0 ? Trigger::edge : Trigger::level;
      lines_.push_back(*ioapic_.line(gsi, trigger));
    }
  }

  void step(unsigned what, unsigned where, unsigned value) {
    switch (what % 8) {
      case 0:
        return touch(ioapic_, where % 2 != 0 ? 0x10 : where & 0xff, 4 - (what >> 3) % 4, what, value);
      case 1:
        return touch(pic_.master(), where % 2, 1 + (what >> 3) % 2, what, value);
      case 2:
        return touch(pic_.slave(), where % 2, 1, what, value);
      case 3:
        return touch(where % 4 == 3 ? pic_.edge_level_control() : pit_.port_b(), where % 2, 1, what, value);
      case 4:
        return touch(pit_, where % 4, 1, what, value);
      case 5:
        return line(where % IoApic::pins, value);
      case 6:
        ioapic_.end_of_interrupt(static_cast<std::uint8_t>(where));
        return acknowledge();
      default:
        now_ += std::uint64_t{value} << (where % 32);
        if (!wake_at_ || *wake_at_ > now_) return;
        wake_at_.reset();  // a timer fires once
        pit_.wake();
    }
  }

  void check() {
    const auto pics = pic_.save();
    const bool before = intr_;
    require(pic_.restore(pics).has_value() && pic_.save() == pics && intr_ == before);
    require(ioapic_.restore(ioapic_.save()).has_value());
    const auto timer = pit_.save();
    Pit other({[this] { return now_; }, [] {}, [](std::optional<std::uint64_t>) {}});
    require(other.restore(timer).has_value() && other.save() == timer);
    require(!wake_at_ || *wake_at_ >= last_tick_);
  }

 private:
  void touch(BusDevice& device, std::uint64_t offset, std::size_t width, unsigned what, unsigned value) {
    std::array<std::byte, 8> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    const auto part = std::span(bytes).first(width);
    (what & 0x80) != 0 ? device.read(offset, part) : device.write(offset, part);
  }
  void line(std::size_t gsi, unsigned value) {
    if (gsi % 3 == 0) {
      require(lines_[gsi]->signal().has_value());
    } else {
      require(lines_[gsi]->set_level(value % 2 != 0).has_value());
    }
    if (value % 4 == 3) pic_.set_line(static_cast<unsigned>(gsi), (value & 8) != 0);
  }
  void acknowledge() {
    const bool wanted = intr_;
    const auto vector = pic_.acknowledge();
    require(vector.has_value() == wanted);
    const auto state = pic_.save();
    if (vector) require((*vector & 0xf8) == state.master.vector_base || (*vector & 0xf8) == state.slave.vector_base);
  }
  void tick() {
    require(now_ - last_tick_ >= Pit::shortest_tick_ns);
    last_tick_ = now_;
    pic_.set_line(0, false);
    pic_.set_line(0, true);
  }

  bool intr_ = false;
  std::uint64_t now_ = 1'000'000'000;
  std::uint64_t last_tick_ = 0;
  std::optional<std::uint64_t> wake_at_;
  Router router_;
  Pic pic_{[this](bool asserted) {
    require(asserted != intr_);
    intr_ = asserted;
  }};
  Pit pit_{{[this] { return now_; }, [this] { tick(); }, [this](std::optional<std::uint64_t> at) { wake_at_ = at; }}};
  IoApic ioapic_{router_, &pic_};
  std::vector<std::unique_ptr<InterruptLine>> lines_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Machine machine;
  for (; size >= 4; data += 4, size -= 4) machine.step(data[0], data[1], data[2] | unsigned{data[3]} << 8);
  machine.check();
  return 0;
}
