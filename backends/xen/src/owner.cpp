// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "owner.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>

namespace trivet::xen {
namespace {

constexpr std::array<std::uint8_t, 8> prefix{'T', 'r', 'i', 'v', 'e', 't', 0, 1};  // with the version of the layout
constexpr std::size_t process_at = 8;
constexpr std::size_t start_at = 12;
constexpr int start_field = 22;

void put_number(DomainHandle& handle, std::size_t at, std::uint32_t value) noexcept {
  for (std::size_t i = 0; i < 4; ++i) handle[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

std::uint32_t number_at(const DomainHandle& handle, std::size_t at) noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | handle[at + i];
  return value;
}

/// When a process was started; nothing if there is none.
std::optional<std::uint32_t> start_of(std::uint32_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  // The name, field 2, is in brackets and may hold anything, brackets too.
  auto at = text.rfind(')');
  if (at == std::string::npos) return std::nullopt;
  for (int field = 2; field < start_field; ++field) {
    at = text.find(' ', at + 1);
    if (at == std::string::npos) return std::nullopt;
  }
  return static_cast<std::uint32_t>(std::strtoull(text.c_str() + at, nullptr, 10));
}

}  // namespace

DomainHandle handle_of(const Owner& owner) noexcept {
  DomainHandle handle{};
  std::copy(prefix.begin(), prefix.end(), handle.begin());
  put_number(handle, process_at, owner.process);
  put_number(handle, start_at, owner.start);
  return handle;
}

std::optional<Owner> owner_of(const DomainHandle& handle) noexcept {
  if (!std::equal(prefix.begin(), prefix.end(), handle.begin())) return std::nullopt;
  return Owner{number_at(handle, process_at), number_at(handle, start_at)};
}

Result<Owner> this_process() {
  const auto process = static_cast<std::uint32_t>(::getpid());
  const auto start = start_of(process);
  if (!start) return Error::from_errno(ENOENT, "create a domain", "/proc/self/stat, to mark the domain as ours");
  return Owner{process, *start};
}

bool alive(const Owner& owner) {
  return start_of(owner.process) == owner.start;
}

Result<unsigned> reap(const Domctl& domctl) {
  TRIVET_ASSIGN(const auto domains, domctl.list());
  unsigned reaped = 0;
  std::optional<Error> failed;
  for (const auto& domain : domains) {
    const auto owner = owner_of(domain.handle);
    if (!owner || domain.dying || alive(*owner)) continue;
    const auto destroyed = domctl.destroy(domain.id);
    if (destroyed) {
      ++reaped;
    } else if (destroyed.error().code() != Errc::not_found) {
      failed = destroyed.error();
    }
  }
  if (failed) return *failed;
  return reaped;
}

}  // namespace trivet::xen
