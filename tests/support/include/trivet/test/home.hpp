// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <ostream>

namespace trivet::test {

/// The homes that a device's tests run in.
enum class Home { mmio, pci };

inline const char* name(Home home) {
  return home == Home::mmio ? "Mmio" : "Pci";
}
inline void PrintTo(Home home, std::ostream* out) {
  *out << name(home);
}

}  // namespace trivet::test
