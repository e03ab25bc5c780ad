// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>

#include <trivet/virtio/chain.hpp>

namespace trivet::virtio {

bool Chain::is_mapped_on_demand(const memory::GuestMemory& memory, std::uint64_t at, std::uint32_t bytes) noexcept {
  return memory.has_on_demand() && memory.contains({{at}, bytes});
}

Chain::Words Chain::mapped_words(const memory::GuestMemory& memory, std::uint64_t table, std::uint32_t entries,
                                 std::uint32_t index) noexcept {
  if (index >= entries) return {index, 0, Rule::next_beyond_table};
  const auto at = table + std::uint64_t{sizeof(abi::VirtqDesc)} * index;
  if (const auto words = memory.read_object<std::array<std::uint64_t, 2>>({at})) {
    return {(*words)[0], (*words)[1], Rule::none};
  }
  return {at, 0, Rule::indirect_outside_memory};
}

}  // namespace trivet::virtio
