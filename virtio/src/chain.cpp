// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>

#include <trivet/virtio/chain.hpp>

namespace trivet::virtio {

bool Chain::is_mapped_on_demand(const memory::GuestMemory& memory, std::uint64_t at, std::uint32_t bytes) noexcept {
  return memory.has_on_demand() && memory.contains({{at}, bytes});
}

Chain::Words Chain::unusual_words(const memory::GuestMemory& memory, const std::byte* table, Table kind,
                                  std::uint32_t entries, std::uint32_t index) noexcept {
  if (index >= entries) return {index, 0, Rule::next_beyond_table};
  const auto offset = std::uint64_t{sizeof(abi::VirtqDesc)} * index;
  std::array<std::uint64_t, 2> words;
  if (kind == Table::packed) {
    words = {memory::load_unaligned_at<std::uint64_t>(table + offset),
             memory::load_unaligned_at<std::uint64_t>(table + offset + 8)};
  } else {
    const GuestAddress at{std::bit_cast<std::uint64_t>(table) + offset};
    const auto read = memory.read_object<std::array<std::uint64_t, 2>>(at);
    if (!read) return {at.value, 0, Rule::indirect_outside_memory};
    words = *read;
  }
  if (kind == Table::on_demand) return {words[0], words[1], Rule::none};
  // 2.8.7: one after the other, and WRITE is the only flag that counts.
  std::uint64_t flags = words[1] >> 48 & abi::desc_f_write;
  if (index + 1 != entries) flags |= abi::desc_f_next | std::uint64_t{index + 1} << 16;
  return {words[0], static_cast<std::uint32_t>(words[1]) | flags << 32, Rule::none};
}

}  // namespace trivet::virtio
