// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "cpuid_x86_64.hpp"

namespace trivet::xen {

unsigned physical_address_bits(std::span<const CpuidEntry> entries) {
  for (const auto& entry : entries) {
    if (entry.leaf == 0x80000008 && (entry.eax & 0xff) != 0) return entry.eax & 0xff;
  }
  return 36;
}

}  // namespace trivet::xen
