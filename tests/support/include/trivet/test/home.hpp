// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <ostream>

namespace trivet::test {

/// The homes that a device's tests run in, and the rings that its driver takes there: split ones unless said.
enum class Home { mmio, pci, mmio_packed, pci_packed_in_order, vhost_user, vhost_user_packed };
inline constexpr std::array all_homes{
    Home::mmio, Home::pci, Home::mmio_packed, Home::pci_packed_in_order, Home::vhost_user, Home::vhost_user_packed};
/// For what a driver can do with a split ring only.
inline constexpr std::array split_homes{Home::mmio, Home::pci, Home::vhost_user};
/// And with a packed one.
inline constexpr std::array packed_homes{Home::mmio_packed, Home::pci_packed_in_order, Home::vhost_user_packed};

inline const char* name(Home home) {
  constexpr std::array names{"Mmio", "Pci", "MmioPacked", "PciPackedInOrder", "VhostUser", "VhostUserPacked"};
  return names.at(static_cast<std::size_t>(home));
}
inline void PrintTo(Home home, std::ostream* out) {
  *out << name(home);
}

}  // namespace trivet::test
