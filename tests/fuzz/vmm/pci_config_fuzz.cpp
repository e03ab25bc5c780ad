// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest at the PCI host: configuration space by ports, by ECAM and as a hypervisor decodes it, BARs moved anywhere,
// the memory window used at any place. After each access the memory in BARs is mapped where it should be, and only
// there.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include <trivet/test/require.hpp>
#include <trivet/test/table_vm.hpp>
#include <trivet/virtio/pci/config_space.hpp>
#include <trivet/vmm/bus_io.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/pci_host.hpp>

namespace {

using namespace trivet;
using test::require;

/// Checks that it is reached only where it said that it is.
class Target final : public pci::Function {
 public:
  explicit Target(std::uint64_t size, bool wide, std::byte* memory = nullptr) : memory_(memory) {
    require(config_.add_bar(2, {size, wide}).has_value());
  }
  [[nodiscard]] std::vector<pci::BarMemory> bar_memory(unsigned bar) const override {
    require(bar == 2);
    if (memory_ == nullptr) return {};
    return {{0, 0x1000, memory_}, {0x2000, bars()[2].size - 0x2000, memory_ + 0x2000}};
  }
  /// Nothing where it is not decoded, or outside the window.
  [[nodiscard]] std::optional<GuestRange> range() const {
    const auto at = config_.bar_address(2);
    if (!at || !vmm::layout::pci_memory.contains(*at, bars()[2].size)) return std::nullopt;
    return GuestRange{*at, bars()[2].size};
  }
  void read_config(std::uint16_t offset, Bytes data) noexcept override {
    check_width(offset, data.size());
    config_.read(offset, data);
  }
  void write_config(std::uint16_t offset, ConstBytes data) noexcept override {
    check_width(offset, data.size());
    const auto before = config_.bar_address(2);
    config_.write(offset, data);
    require(config_.value<std::uint32_t>(0) == 0x56781234);
    const auto now = config_.bar_address(2);
    require(!now || now->value % bars()[2].size == 0);
    if (now != before) listener_->bar_moved(*this, 2, now);
  }
  [[nodiscard]] const std::array<pci::Bar, pci::bar_count>& bars() const noexcept override { return config_.bars(); }
  void read_bar(unsigned bar, std::uint64_t offset, Bytes data) noexcept override { touch(bar, offset, data.size()); }
  void write_bar(unsigned bar, std::uint64_t offset, ConstBytes data) noexcept override {
    touch(bar, offset, data.size());
  }
  void listen(pci::BarListener* listener) noexcept override { listener_ = listener; }

  std::uint64_t expected = 0;  ///< the guest's address of the access that is under way

 private:
  static void check_width(std::uint16_t offset, std::size_t size) {
    require((size == 1 || size == 2 || size == 4) && offset % 4 + size <= 4);
  }
  void touch(unsigned bar, std::uint64_t offset, std::size_t size) {
    require(bar == 2 && offset + size <= bars()[2].size);
    const auto at = config_.bar_address(2);
    require(at && at->value + offset == expected);
  }

  std::byte* memory_;
  pci::ConfigSpace config_{{.vendor = 0x1234, .device = 0x5678}};
  pci::BarListener* listener_ = nullptr;
};

template <class T>
T take(const std::uint8_t*& data, std::size_t& size) {
  T value{};
  const auto bytes = size < sizeof value ? size : sizeof value;
  std::memcpy(&value, data, bytes);
  data += bytes;
  size -= bytes;
  return value;
}

using Targets = std::array<std::unique_ptr<Target>, 4>;

void check_mapped(const test::TableVm& vm, const Targets& targets) {
  std::size_t expected = 0;
  const auto mapped = vm.mapped();
  for (const auto& target : targets) {
    const auto range = target->range();
    if (!range) continue;
    const bool alone = std::ranges::none_of(targets, [&](const auto& other) {
      const auto its = other->range();
      return other != target && its && its->overlaps(*range);
    });
    for (const auto& piece : target->bar_memory(2)) {
      const test::TableVm::Entry entry{{{range->start.value + piece.offset}, piece.size}, piece.host};
      require((std::ranges::find(mapped, entry) != mapped.end()) == alone);
      expected += alone ? 1 : 0;
    }
  }
  require(mapped.size() == expected);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trivet::vmm;
  auto host = *PciHost::create(layout::pci_ecam, layout::pci_memory);
  static std::array<std::byte, 0x8000> memory;
  test::TableVm vm;
  host->map_through(vm);
  Targets targets{std::make_unique<Target>(0x1000, false), std::make_unique<Target>(0x100000, true),
                  std::make_unique<Target>(0x4000, true, memory.data()),
                  std::make_unique<Target>(0x8000, true, memory.data())};
  require(host->attach({0, 0, 3, 0}, *targets[0], "one").has_value());
  require(host->attach({0, 0, 4, 1}, *targets[1], "two").has_value());
  require(host->attach({0, 0, 5, 0}, *targets[2], "three").has_value());
  require(host->attach({0, 0, 6, 0}, *targets[3], "four").has_value());
  Bus ports("port", 16), addresses("memory", 64);
  require(ports.insert(PciHost::ports_first, PciHost::ports_size, host->ports(), "ports").has_value());
  require(addresses.insert(layout::pci_ecam.start.value, layout::pci_ecam.size, host->ecam(), "ecam").has_value());
  require(addresses.insert(layout::pci_memory.start.value, layout::pci_memory.size, host->window(), "w").has_value());
  BusIo io({ports, addresses, host.get()});

  while (size != 0) {
    const auto what = take<std::uint8_t>(data, size);
    const auto where = take<std::uint32_t>(data, size);
    const auto value = take<std::uint64_t>(data, size);
    std::array<std::byte, 8> bytes{};
    std::memcpy(bytes.data(), &value, sizeof value);
    const bool write = (what & 1) != 0;
    const auto width = std::size_t{1} << (what >> 1 & 3);
    const auto part = std::span(bytes).first(width);
    const auto access = [&](GuestAddress at) { write ? io.mmio_write(at, part, Posted::no) : io.mmio_read(at, part); };
    switch (what >> 3 & 3) {
      case 0: {
        const auto port = static_cast<std::uint16_t>(PciHost::ports_first + where % 8);
        const auto narrow = part.first(width % 8 == 0 ? 4 : width);
        write ? io.pio_write(port, narrow) : io.pio_read(port, narrow);
        break;
      }
      case 1:
        access({layout::pci_ecam.start.value + where % layout::pci_ecam.size});
        break;
      case 2: {
        const auto at = layout::pci_memory.start.value + where % layout::pci_memory.size;
        for (auto& target : targets) target->expected = at;
        access({at});
        break;
      }
      default: {
        const auto offset = static_cast<std::uint16_t>(where % 0x1000 & ~3U);
        const auto function =
            PciAddress::from_bdf(static_cast<std::uint16_t>(what >> 7), static_cast<std::uint16_t>(where >> 16));
        const auto narrow = part.first(width % 8 == 0 ? 4 : width);
        write ? io.pci_config_write(function, offset, narrow) : io.pci_config_read(function, offset, narrow);
      }
    }
    check_mapped(vm, targets);
  }
  for (auto& target : targets) host->detach(*target);
  require(vm.mapped().empty());
  return 0;
}
