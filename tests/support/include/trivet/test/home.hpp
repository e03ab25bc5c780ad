// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <ostream>

namespace trivet::test {

/// The homes that a device's tests run in.
enum class Home { mmio, pci, vhost_user };

inline constexpr std::array all_homes{Home::mmio, Home::pci, Home::vhost_user};

inline const char* name(Home home) {
  switch (home) {
    case Home::mmio:
      return "Mmio";
    case Home::pci:
      return "Pci";
    case Home::vhost_user:
      break;
  }
  return "VhostUser";
}
inline void PrintTo(Home home, std::ostream* out) {
  *out << name(home);
}

}  // namespace trivet::test
