// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <string_view>

#include <trivet/virtio/abi/split_ring.hpp>
#include <trivet/virtio/fault.hpp>

namespace trivet::virtio {
namespace {

using Text = std::array<char, 224>;

template <class... Arguments>
Error error_of(Errc code, const char* operation, fmt::format_string<Arguments...> format,
               Arguments&&... arguments) noexcept {
  Text text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), format, std::forward<Arguments>(arguments)...);
  return {code, operation, {text.data(), std::min(end.size, text.size())}, Blame::guest};
}

/// What follows "descriptor N" in a chain's fault; empty for the ring's.
std::string_view chain_text(Rule rule) noexcept {
  switch (rule) {
    case Rule::next_beyond_table:
      return "lies beyond the table (virtio 1.2, 2.7.5): index";
    case Rule::longer_than_queue:
      return "makes the chain longer than the queue (2.7.5.3.1); queue size";
    case Rule::more_than_4_gib:
      return "makes the chain longer than 2^32 bytes (2.7.5.2): bytes";
    case Rule::readable_after_writable:
      return "is device-readable after a device-writable one (2.7.4.2)";
    case Rule::indirect_not_negotiated:
      return "is indirect, and VIRTIO_F_INDIRECT_DESC was not negotiated (2.7.5.3.1)";
    case Rule::indirect_nested:
      return "is indirect inside an indirect table (2.7.5.3.1)";
    case Rule::indirect_with_next:
      return "has both INDIRECT and NEXT (2.7.5.3.1)";
    case Rule::indirect_not_alone:
      return "is indirect, and not alone in its chain (2.8.19)";
    case Rule::indirect_empty:
      return "refers to an empty indirect table (2.7.5.3)";
    case Rule::indirect_ragged:
      return "refers to an indirect table whose length is no multiple of 16 (2.7.5.3): bytes";
    case Rule::indirect_too_long:
      return "refers to an indirect table beyond 32768 entries (2.7): entries";
    case Rule::indirect_outside_memory:
      return "refers to an indirect table outside memory: address";
    case Rule::changed:
      return "was reached after the driver changed a chain that it had made available (2.7.13)";
    default:
      return {};
  }
}

Error chain_error(const Fault& fault) noexcept {
  Text text{};
  auto end =
      fmt::format_to_n(text.data(), text.size(), "queue {}: chain {}: {}descriptor {} {}", fault.queue,
                       fault.numbers[0], fault.indirect ? "indirect " : "", fault.numbers[1], chain_text(fault.rule));
  auto size = std::min(end.size, text.size());
  if (fault.value != 0) {
    const auto room = text.size() - size;
    size += std::min(fmt::format_to_n(text.data() + size, room, " {:#x}", fault.value).size, room);
  }
  return Error::malformed("virtio chain", {text.data(), size});
}

}  // namespace

Error Fault::error() const noexcept {
  constexpr const char* operation = "virtio queue";
  switch (rule) {
    case Rule::memory_gone: {  // the part's number, its bytes in two halves, whether the device writes it
      constexpr std::array<std::string_view, 3> parts{"descriptor area", "driver area", "device area"};
      const auto part = std::min<std::size_t>(numbers[0], parts.size() - 1);
      return error_of(Errc::out_of_range, operation, "queue {}: {}, {:#x} bytes at {:#x}, is not in {} memory", queue,
                      parts[part], numbers[1] | std::uint32_t{numbers[2]} << 16, value,
                      numbers[3] != 0 ? "writable" : "one region of");
    }
    case Rule::available_index_jumps:  // the index, popped, in flight, size
      return error_of(Errc::malformed, operation,
                      "queue {}: available index {} is too far ahead: {} popped, {} in flight, size {} (virtio 1.2, "
                      "2.7.6)",
                      queue, numbers[0], numbers[1], numbers[2], numbers[3]);
    case Rule::head_beyond_table:  // the entry, its head, size
      return error_of(Errc::malformed, operation,
                      "queue {}: available entry {} names descriptor {} of {} (virtio 1.2, 2.7.6)", queue, numbers[0],
                      numbers[1], numbers[2]);
    case Rule::head_in_flight:  // the entry, its head
      return error_of(Errc::malformed, operation,
                      "queue {}: available entry {} names descriptor {}, which is in flight (virtio 1.2, 2.7.13)",
                      queue, numbers[0], numbers[1]);
    case Rule::more_than_is_free:  // the place, free, size
      return error_of(
          Errc::malformed, operation,
          "queue {}: the chain at descriptor {} takes more than the {} of {} that are not in flight (virtio "
          "1.2, 2.8.17)",
          queue, numbers[0] & 0x7fffU, numbers[1], numbers[2]);
    default:
      return chain_error(*this);
  }
}

}  // namespace trivet::virtio
