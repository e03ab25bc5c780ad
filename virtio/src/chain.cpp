// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <bit>
#include <fmt/format.h>
#include <string_view>

#include <trivet/virtio/chain.hpp>

namespace trivet::virtio {

Chain Chain::failed(Chain chain, Rule rule, std::uint64_t value) noexcept {
  chain.rule_ = rule;
  chain.bytes_ = value;
  chain.ended_ = true;
  return chain;
}

Chain Chain::entered(Chain chain, std::uint64_t address, std::uint32_t length, std::uint16_t flags) noexcept {
  // The write flag of such a descriptor is ignored (2.7.5.3.2).
  if (!chain.indirect_allowed_) return failed(chain, Rule::indirect_not_negotiated, 0);
  if (chain.in_indirect_) return failed(chain, Rule::indirect_nested, 0);
  if ((flags & abi::desc_f_next) != 0) return failed(chain, Rule::indirect_with_next, 0);
  if (length == 0) return failed(chain, Rule::indirect_empty, 0);
  if (length % sizeof(abi::VirtqDesc) != 0) return failed(chain, Rule::indirect_ragged, length);
  const std::uint32_t entries = length / std::uint32_t{sizeof(abi::VirtqDesc)};
  if (entries > abi::max_queue_size) return failed(chain, Rule::indirect_too_long, entries);
  const auto descriptor = chain.next_;
  const auto table = chain.memory_->find({{address}, length}, memory::Permission::read);
  chain.next_ = 0;
  chain.in_indirect_ = true;
  if (table) [[likely]] {
    chain.table_ = table->host();
    chain.table_size_ = entries;
    return chain;
  }
  if constexpr (memory::maps_on_demand) {
    if (chain.memory_->has_on_demand() && chain.memory_->contains({{address}, length})) {
      chain.table_ = std::bit_cast<const std::byte*>(address);
      chain.table_size_ = 0;
      chain.mapped_entries_ = static_cast<std::uint16_t>(entries);
      return chain;
    }
  }
  chain.in_indirect_ = false;
  chain.next_ = descriptor;
  return failed(chain, Rule::indirect_outside_memory, address);
}

Chain::Words Chain::mapped_words(Chain chain) noexcept {
  if constexpr (memory::maps_on_demand) {
    if (chain.next_ >= chain.mapped_entries_) return {chain.next_, 0, Rule::next_beyond_table};
    const auto at = std::bit_cast<std::uint64_t>(chain.table_) + std::uint64_t{16} * chain.next_;
    if (const auto words = chain.memory_->read_object<std::array<std::uint64_t, 2>>({at})) {
      return {(*words)[0], (*words)[1], Rule::none};
    }
    return {at, 0, Rule::indirect_outside_memory};
  }
  return {0, 0, Rule::next_beyond_table};
}

Error Chain::fault(Chain chain) noexcept {
  std::string_view text;
  switch (chain.rule_) {
    case Rule::none:
      break;
    case Rule::next_beyond_table:
      text = "lies beyond the table (virtio 1.2, 2.7.5): index";
      break;
    case Rule::longer_than_queue:
      text = "makes the chain longer than the queue (2.7.5.3.1); queue size";
      break;
    case Rule::more_than_4_gib:
      text = "makes the chain longer than 2^32 bytes (2.7.5.2): bytes";
      break;
    case Rule::readable_after_writable:
      text = "is device-readable after a device-writable one (2.7.4.2)";
      break;
    case Rule::indirect_not_negotiated:
      text = "is indirect, and VIRTIO_F_INDIRECT_DESC was not negotiated (2.7.5.3.1)";
      break;
    case Rule::indirect_nested:
      text = "is indirect inside an indirect table (2.7.5.3.1)";
      break;
    case Rule::indirect_with_next:
      text = "has both INDIRECT and NEXT (2.7.5.3.1)";
      break;
    case Rule::indirect_empty:
      text = "refers to an empty indirect table (2.7.5.3)";
      break;
    case Rule::indirect_ragged:
      text = "refers to an indirect table whose length is no multiple of 16 (2.7.5.3): bytes";
      break;
    case Rule::indirect_too_long:
      text = "refers to an indirect table beyond 32768 entries (2.7): entries";
      break;
    case Rule::indirect_outside_memory:
      text = "refers to an indirect table outside memory: address";
      break;
    case Rule::changed:
      text = "was reached after the driver changed a chain that it had made available (2.7.13)";
      break;
  }
  std::array<char, 192> detail{};
  auto end = fmt::format_to_n(detail.data(), detail.size(), "queue {}: chain {}: {}descriptor {} {}", chain.queue_,
                              chain.head_, chain.in_indirect_ ? "indirect " : "", chain.next_, text);
  auto size = std::min(end.size, detail.size());
  if (chain.bytes_ != 0) {
    const auto room = detail.size() - size;
    size += std::min(fmt::format_to_n(detail.data() + size, room, " {:#x}", chain.bytes_).size, room);
  }
  return Error::malformed("virtio chain", {detail.data(), size});
}

}  // namespace trivet::virtio
