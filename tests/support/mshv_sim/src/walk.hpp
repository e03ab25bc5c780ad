// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>

#include "guest_memory.hpp"

namespace trivet::mshv_sim {

/// Where `linear` leads by the page tables in force; nothing where it leads nowhere.
struct Walked {
  std::uint64_t gpa = 0;
  bool writable = true;
  bool user = true;
};
std::optional<Walked> walk(const kvm_sregs& sregs, const GuestMemory& memory, std::uint64_t linear);

}  // namespace trivet::mshv_sim
