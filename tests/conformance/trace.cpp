// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "trace.hpp"

#include <array>

#include "trivet_guest/protocol.hpp"

namespace conformance {
namespace {

Expected memory_access(AccessKind kind, std::uint64_t at, std::uint32_t size, std::uint64_t value) {
  return {.access = {.kind = kind, .at = at, .size = size, .value = value}, .may_split = at % size != 0};
}

bool same(const Access& left, const Access& right) {
  return left.kind == right.kind && left.at == right.at && left.size == right.size && left.value == right.value;
}

// Takes the pieces of `wanted` from `seen`, starting at `next`; false where they are not it.
bool take_pieces(const std::vector<Access>& seen, std::size_t& next, const Access& wanted) {
  std::uint32_t done = 0;
  while (done < wanted.size) {
    if (next == seen.size()) return false;
    const Access& piece = seen[next];
    const bool fits = piece.kind == wanted.kind && piece.at == wanted.at + done && piece.size <= wanted.size - done;
    if (!fits) return false;
    const std::uint64_t mask = piece.size == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << (8 * piece.size)) - 1;
    if (piece.value != ((wanted.value >> (8 * done)) & mask)) return false;
    done += piece.size;
    ++next;
  }
  return true;
}

}  // namespace

Expected port_in(std::uint64_t port, std::uint32_t size, std::uint64_t value) {
  return {.access = {.kind = AccessKind::port_in, .at = port, .size = size, .value = value}};
}
Expected port_out(std::uint64_t port, std::uint32_t size, std::uint64_t value) {
  return {.access = {.kind = AccessKind::port_out, .at = port, .size = size, .value = value}};
}
Expected load(std::uint64_t at, std::uint32_t size, std::uint64_t value) {
  return memory_access(AccessKind::load, at, size, value);
}
Expected store(std::uint64_t at, std::uint32_t size, std::uint64_t value) {
  return memory_access(AccessKind::store, at, size, value);
}

std::string to_string(const Access& access) {
  static constexpr std::array names{"in", "out", "load", "store"};
  return fmt::format("{} {:#x} size {} value {:#x}{}", names[static_cast<std::size_t>(access.kind)], access.at,
                     access.size, access.value, access.posted ? " posted" : "");
}

Outcome match_trace(const std::vector<Access>& seen, const std::vector<Expected>& wanted) {
  std::size_t next = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const std::size_t before = next;
    const bool found = wanted[i].may_split ? take_pieces(seen, next, wanted[i].access)
                                           : next < seen.size() && same(seen[next++], wanted[i].access);
    if (found) continue;
    return failed(fmt::format("access {} of {} should be \"{}\", was {}", i + 1, wanted.size(),
                              to_string(wanted[i].access),
                              before < seen.size() ? "\"" + to_string(seen[before]) + "\"" : "missing"));
  }
  if (next != seen.size()) {
    return failed(fmt::format("{} accesses too many, the first \"{}\"", seen.size() - next, to_string(seen[next])));
  }
  return passed();
}

std::uint64_t pattern(std::uint64_t offset, std::uint32_t size) {
  std::uint64_t value = 0;
  for (std::uint32_t i = 0; i < size; ++i) {
    value |= std::uint64_t{trivet_guest::test_pattern(offset + i)} << (8 * i);
  }
  return value;
}

}  // namespace conformance
