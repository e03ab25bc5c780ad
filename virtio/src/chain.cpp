// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>

#include <trivet/virtio/chain.hpp>

namespace trivet::virtio {

bool Chain::is_mapped_on_demand(const memory::GuestMemory& memory, std::uint64_t at, std::uint32_t bytes) noexcept {
  return memory.has_on_demand() && memory.contains({{at}, bytes});
}

Chain::Words Chain::words_on_demand(const memory::GuestMemory& memory, const std::byte* table,
                                    std::uint64_t at) noexcept {
  const GuestAddress address{std::bit_cast<std::uint64_t>(table) + at};
  const auto words = memory.read_object<std::array<std::uint64_t, 2>>(address);
  if (!words) return {address.value, 0, Rule::indirect_outside_memory};
  return {(*words)[0], (*words)[1], Rule::none};
}

}  // namespace trivet::virtio
