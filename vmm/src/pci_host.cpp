// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <mutex>

#include <boost/endian/conversion.hpp>

#include <trivet/virtio/pci/config_space.hpp>
#include <trivet/vmm/pci_host.hpp>

#include "log.hpp"
#include "mapped_memory.hpp"

namespace trivet::vmm {

namespace reg = pci::reg;

namespace {

constexpr auto operation = "attach a PCI function";
constexpr std::uint64_t bus_size = std::uint64_t{1} << 20;

/// The bridge from the processor to bus 0: nothing but an identity, by which guests see that the mechanism works.
class HostBridge final : public pci::Function {
 public:
  HostBridge(std::uint16_t subsystem_vendor, std::uint16_t subsystem) noexcept
      // The generic bridge of Red Hat's list of ids for virtual machines, which no guest has quirks for.
      : config_({.vendor = 0x1b36,
                 .device = 0x0008,
                 .class_code = reg::class_host_bridge,
                 .subsystem_vendor = subsystem_vendor,
                 .subsystem = subsystem}) {}
  void read_config(std::uint16_t offset, Bytes data) noexcept override {
    const std::lock_guard lock(mutex_);
    config_.read(offset, data);
  }
  void write_config(std::uint16_t offset, ConstBytes data) noexcept override {
    const std::lock_guard lock(mutex_);
    config_.write(offset, data);
  }
  [[nodiscard]] const std::array<pci::Bar, pci::bar_count>& bars() const noexcept override { return config_.bars(); }
  void read_bar(unsigned, std::uint64_t, Bytes) noexcept override {}
  void write_bar(unsigned, std::uint64_t, ConstBytes) noexcept override {}
  void listen(pci::BarListener*) noexcept override {}

 private:
  std::mutex mutex_;
  pci::ConfigSpace config_;
};

std::unique_ptr<pci::Function> plain_bridge() {
  return std::make_unique<HostBridge>(std::uint16_t{0}, std::uint16_t{0});
}
/// What SeaBIOS, U-Boot and OVMF know QEMU's machines by.
std::unique_ptr<pci::Function> qemu_bridge() {
  return std::make_unique<HostBridge>(std::uint16_t{0x1af4}, std::uint16_t{0x1100});
}

Result<void> check_ecam(const GuestRange& ecam) {
  if (ecam.valid() && ecam.size == bus_size && ecam.start.is_aligned(bus_size)) return {};
  return Error(Errc::invalid_argument, "make a PCI host", "ECAM must be an aligned megabyte for bus 0");
}

std::string text_of(const PciAddress& address) {
  return fmt::format("{:02x}:{:02x}.{}", address.bus, address.device, address.function);
}

template <class T>
void write_value(pci::Function& function, unsigned offset, T value) {
  boost::endian::native_to_little_inplace(value);
  function.write_config(static_cast<std::uint16_t>(offset), std::as_bytes(std::span(&value, 1)));
}

/// Calls `access(offset, part)` for the parts of an access that the configuration mechanism can carry.
template <class Data, class Access>
void in_parts(std::uint64_t offset, Data data, Access&& access) {
  while (!data.empty()) {
    std::size_t size = std::min<std::size_t>(4 - offset % 4, data.size());
    if (size == 3) size = offset % 2 == 0 ? 2 : 1;
    access(offset, data.first(size));
    offset += size;
    data = data.subspan(size);
  }
}

}  // namespace

Result<std::unique_ptr<PciHost>> PciHost::create_with_ecam(const GuestRange& ecam, const GuestRange& window,
                                                           const std::optional<GuestRange>& high, bool places,
                                                           std::unique_ptr<pci::Function> bridge) {
  TRIVET_TRY(check_ecam(ecam));
  TRIVET_ASSIGN(auto below, AddressAllocator::create(window));
  std::optional<Free> free(Free{std::move(below), std::nullopt});
  if (high) {
    TRIVET_ASSIGN(free->high, AddressAllocator::create(*high));
  }
  if (!places) free.reset();
  std::unique_ptr<PciHost> host(
      new PciHost(ecam, window, high.value_or(GuestRange{}), std::move(free), std::move(bridge)));
  TRIVET_TRY(host->attach({}, *host->bridge_, "host bridge"));
  return host;
}

Result<std::unique_ptr<PciHost>> PciHost::create(const GuestRange& ecam, const GuestRange& window,
                                                 const std::optional<GuestRange>& high) {
  return create_with_ecam(ecam, window, high, true, plain_bridge());
}

Result<std::unique_ptr<PciHost>> PciHost::create_for_firmware(const GuestRange& ecam, const GuestRange& window,
                                                              const std::optional<GuestRange>& high) {
  return create_with_ecam(ecam, window, high, false, qemu_bridge());
}

Result<std::unique_ptr<PciHost>> PciHost::create_beside(IoClaims& claims, const std::optional<GuestRange>& bars) {
  constexpr GuestRange everything{{0}, std::uint64_t{1} << 52};
  std::optional<Free> free;
  if (bars) {
    TRIVET_ASSIGN(auto window, AddressAllocator::create(*bars));
    free.emplace(Free{std::move(window), std::nullopt});
  }
  std::unique_ptr<PciHost> host(new PciHost({}, everything, {}, std::move(free), plain_bridge()));
  host->claims_ = &claims;
  host->claims_bars_ = true;
  if (bars) TRIVET_TRY(host->attach({}, *host->bridge_, "host bridge"));
  return host;
}

PciHost::PciHost(const GuestRange& ecam, const GuestRange& window, const GuestRange& high, std::optional<Free> free,
                 std::unique_ptr<pci::Function> bridge)
    : ecam_range_(ecam), window_range_(window), high_range_(high), free_(std::move(free)), bridge_(std::move(bridge)) {}

PciHost::~PciHost() = default;

Result<void> PciHost::claim_through(IoClaims& claims) {
  claims_ = &claims;
  return claims.claim_pci({});  // the host bridge's
}

Result<void> PciHost::attach(const PciAddress& address, pci::Function& function, std::string_view name) {
  if (address.segment != 0 || address.bus != 0 || address.device >= most_devices || address.function > 7) {
    return Error(Errc::out_of_range, operation,
                 fmt::format("{} at {}: this host has bus 0 only", name, text_of(address)));
  }
  auto*& slot = functions_.at(address.bdf());
  if (slot != nullptr) {
    return Error(Errc::already_exists, operation, fmt::format("{} at {}: it is taken", name, text_of(address)));
  }
  if (claims_ != nullptr) TRIVET_TRY(claims_->claim_pci(address));
  function.listen(this);
  TRIVET_TRY(place_bars(function, name));
  TRIVET_TRY(check_memory(function, name));
  slot = &function;
  return {};
}

void PciHost::detach(pci::Function& function) noexcept {
  const std::lock_guard lock(memory_mutex_);
  std::ranges::replace(functions_, &function, nullptr);
  for (auto& place : places_) {
    if (place.function != &function) continue;
    place.at = Place::nowhere;
    place.memory.reset();
  }
}

/// In the high window only what has no room below: more guests can reach it there.
Result<GuestRange> PciHost::allocate(const pci::Bar& bar) {
  auto range = free_->window.allocate(bar.size, bar.size);
  return range || !bar.wide || !free_->high ? range : free_->high->allocate(bar.size, bar.size);
}

/// What firmware does: each BAR an address, then memory decoding on. Bus mastering is the driver's to allow.
Result<void> PciHost::place_bars(pci::Function& function, std::string_view name) {
  bool any = false;
  for (unsigned index = 0; index < pci::bar_count; ++index) {
    const auto& bar = function.bars().at(index);
    if (bar.size == 0) continue;
    add_place(function, index);
    if (!free_) continue;
    any = true;
    const auto range = allocate(bar);
    if (!range) return range.error().within(fmt::format("{}: BAR {} of {:#x} bytes", name, index, bar.size));
    write_value(function, reg::bar0 + 4 * index, static_cast<std::uint32_t>(range->start.value));
    if (bar.wide) {
      write_value(function, reg::bar0 + 4 * index + 4, static_cast<std::uint32_t>(range->start.value >> 32));
    }
  }
  if (any) write_value<std::uint16_t>(function, reg::command, reg::command_memory);
  return {};
}

void PciHost::add_place(pci::Function& function, unsigned bar) {
  auto& place = places_.emplace_back();
  place.function = &function;
  place.bar = bar;
  place.size = function.bars().at(bar).size;
  if (vm_ == nullptr) return;
  if (auto memory = function.bar_memory(bar); !memory.empty()) {
    place.memory = std::make_unique<MappedMemory>(*vm_, std::move(memory));
  }
}

/// That all of what `place_bars` placed is mapped.
Result<void> PciHost::check_memory(const pci::Function& function, std::string_view name) {
  const std::lock_guard lock(memory_mutex_);
  for (const auto& place : places_) {
    if (place.function == &function && place.refused) {
      return place.refused->within(fmt::format("{}: BAR {}", name, place.bar));
    }
  }
  return {};
}

/// Where nobody claimed a window for all of them. What cannot be claimed, for it is taken or there are too many,
/// answers nowhere: the guest put it there.
void PciHost::claim_place(std::uint64_t before, std::uint64_t after, std::uint64_t size) noexcept {
  if (!claims_bars_ || before == after) return;
  if (before != Place::nowhere) (void)claims_->release_memory({{before}, size});
  if (after != Place::nowhere) (void)claims_->claim_memory({{after}, size});
}

void PciHost::bar_moved(pci::Function& function, unsigned bar, std::optional<GuestAddress> at) noexcept {
  const std::lock_guard lock(memory_mutex_);
  for (auto& place : places_) {
    if (place.function == &function && place.bar == bar) {
      const auto after = at ? at->value : Place::nowhere;
      claim_place(place.at.exchange(after, std::memory_order_acq_rel), after, place.size);
    }
  }
  settle_memory();
}

/// What is mapped answers before everything else, so that it must be alone.
std::optional<GuestAddress> PciHost::where_to_map(const Place& place) const noexcept {
  const GuestAddress at{place.at.load(std::memory_order_relaxed)};
  const GuestRange range{at, place.size};
  if (!window_range_.contains(at, place.size) && !high_range_.contains(at, place.size)) return std::nullopt;
  for (const auto& other : places_) {
    const GuestAddress start{other.at.load(std::memory_order_relaxed)};
    if (&other != &place && start.value != Place::nowhere && range.overlaps({start, other.size})) return std::nullopt;
  }
  return at;
}

/// First out of where nothing may be any more, then to where there is room now.
void PciHost::settle_memory() noexcept {
  for (auto& place : places_) {
    if (place.memory && place.memory->at() != where_to_map(place)) move_memory(place, std::nullopt);
  }
  for (auto& place : places_) {
    if (place.memory) move_memory(place, where_to_map(place));
  }
}

/// A guest may cause what is refused as often as it likes.
void PciHost::move_memory(Place& place, std::optional<GuestAddress> at) noexcept {
  const auto moved = place.memory->move_to(at);
  if (moved || place.refused) return;
  place.refused = moved.error();
  log::warning(to_string(moved.error().within("PCI: memory that stays out of the guest")));
}

// --- configuration space ---

pci::Function* PciHost::find(const PciAddress& address) const noexcept {
  const auto index = address.bdf();
  return address.segment == 0 && index < functions_.size() ? functions_[index] : nullptr;
}

void PciHost::read(const PciAddress& address, std::uint16_t offset, Bytes data) const noexcept {
  if (auto* function = find(address)) return function->read_config(offset, data);
  std::ranges::fill(data, std::byte{0xff});
}

void PciHost::write(const PciAddress& address, std::uint16_t offset, ConstBytes data) const noexcept {
  if (auto* function = find(address)) function->write_config(offset, data);
}

namespace {

constexpr std::uint64_t address_port = 0;
constexpr std::uint64_t data_port = 4;
constexpr std::uint32_t address_enable = 1U << 31;
constexpr std::uint32_t address_bits = 0x80ff'fffc;

PciAddress function_of(std::uint32_t address) {
  return PciAddress::from_bdf(0, static_cast<std::uint16_t>(address >> 8 & 0xffff));
}
std::uint16_t register_of(std::uint32_t address, std::uint64_t port) {
  return static_cast<std::uint16_t>((address & 0xfc) + (port - data_port));
}

PciAddress ecam_function(std::uint64_t offset) {
  return PciAddress::from_bdf(0, static_cast<std::uint16_t>(offset >> 12 & 0xffff));
}

}  // namespace

void PciHost::Ports::read(std::uint64_t offset, Bytes data) noexcept {
  std::ranges::fill(data, std::byte{0xff});
  const auto address = address_.load(std::memory_order_relaxed);
  if (offset == address_port && data.size() == 4) {
    const auto little = boost::endian::native_to_little(address);
    std::memcpy(data.data(), &little, sizeof little);
  } else if (offset >= data_port && (address & address_enable) != 0) {
    host_.read(function_of(address), register_of(address, offset), data);
  }
}

void PciHost::Ports::write(std::uint64_t offset, ConstBytes data) noexcept {
  if (offset == address_port && data.size() == 4) {
    std::uint32_t address = 0;
    std::memcpy(&address, data.data(), sizeof address);
    address_.store(boost::endian::little_to_native(address) & address_bits, std::memory_order_relaxed);
    return;
  }
  const auto address = address_.load(std::memory_order_relaxed);
  if (offset >= data_port && (address & address_enable) != 0) {
    host_.write(function_of(address), register_of(address, offset), data);
  }
}

void PciHost::Ecam::read(std::uint64_t offset, Bytes data) noexcept {
  in_parts(offset, data, [this](std::uint64_t at, Bytes part) {
    host_.read(ecam_function(at), static_cast<std::uint16_t>(at & 0xfff), part);
  });
}

void PciHost::Ecam::write(std::uint64_t offset, ConstBytes data) noexcept {
  in_parts(offset, data, [this](std::uint64_t at, ConstBytes part) {
    host_.write(ecam_function(at), static_cast<std::uint16_t>(at & 0xfff), part);
  });
}

// --- memory ---

const PciHost::Place* PciHost::find_place(std::uint64_t at, std::uint64_t size, std::uint64_t& offset) const noexcept {
  for (const auto& place : places_) {
    const auto start = place.at.load(std::memory_order_acquire);
    if (at < start || at - start >= place.size || size > place.size - (at - start)) continue;
    offset = at - start;
    return &place;
  }
  return nullptr;
}

void PciHost::Window::read(std::uint64_t offset, Bytes data) noexcept {
  std::uint64_t inside = 0;
  if (const auto* place = host_.find_place(range_.start.value + offset, data.size(), inside)) {
    return place->function->read_bar(place->bar, inside, data);
  }
  std::ranges::fill(data, std::byte{0xff});
}

void PciHost::Window::write(std::uint64_t offset, ConstBytes data) noexcept {
  std::uint64_t inside = 0;
  if (const auto* place = host_.find_place(range_.start.value + offset, data.size(), inside)) {
    place->function->write_bar(place->bar, inside, data);
  }
}

}  // namespace trivet::vmm
