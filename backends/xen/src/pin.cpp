// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "pin.hpp"

#include <cerrno>

namespace trivet::xen {
namespace {

constexpr std::uint32_t timer_gsi = 2;
constexpr std::uint32_t pci_gsis = end_of_gsis - first_pci_gsi;

}  // namespace

std::optional<Wire> wire_of(std::uint32_t gsi) noexcept {
  if (gsi == 0 || gsi >= end_of_gsis) return std::nullopt;
  if (gsi < first_pci_gsi) {
    return Wire{false, static_cast<std::uint8_t>(gsi == timer_gsi ? 0 : gsi), 0, 0};
  }
  // Xen: gsi = ((device * 4 + device / 8 + intx) & 31) + 16. With device = 24 + k that is 4 k + 3 + intx.
  const auto turned = (gsi - first_pci_gsi + pci_gsis - 3) % pci_gsis;
  return Wire{true, 0, static_cast<std::uint8_t>(24 + turned / 4), static_cast<std::uint8_t>(turned % 4)};
}

Result<void> Pin::hold() noexcept {
  holders_.fetch_add(1);
  return apply(false);
}

Result<void> Pin::release() noexcept {
  holders_.fetch_sub(1);
  return apply(false);
}

Result<void> Pin::pulse() noexcept {
  return apply(true);
}

Result<void> Pin::apply(bool edge) noexcept {
  if (edge) edge_.store(true);
  if (changes_.fetch_add(1) != 0) return {};  // the thread that is at it goes round again for us
  Result<void> result;
  std::uint32_t seen = 1;
  do {
    if (edge_.exchange(false)) {
      if (auto raised = set(true); !raised) result = raised.error();
    }
    if (auto settled = set(holders_.load() != 0); !settled) result = settled.error();
  } while (!changes_.compare_exchange_strong(seen, 0));
  return result;
}

Result<void> Pin::set(bool level) const noexcept {
  const int result =
      wire_.pci ? xendevicemodel_set_pci_intx_level(context_.device_model(), context_.domain, 0, 0, wire_.device,
                                                    wire_.intx, level)
                : xendevicemodel_set_isa_irq_level(context_.device_model(), context_.domain, wire_.isa_irq, level);
  if (result == 0) return {};
  return Error::from_errno(errno, "set an interrupt line");
}

}  // namespace trivet::xen
