// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msr_intercepts.hpp"

#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

constexpr auto operation = "set MSR intercepts";
constexpr std::uint32_t read_access = 1, write_access = 2;
constexpr std::size_t most = 4096;  // each is a call of its own

}  // namespace

Result<void> MsrFilter::install(std::uint32_t index, std::uint32_t access) const {
  abi::InstallIntercept input{};
  input.access = access;
  input.type = abi::intercept_msr_index;
  input.parameter = index;
  return hypercall(context_.partition, abi::HypercallCode::install_intercept, bytes_of(input), {}, operation);
}

Result<void> MsrFilter::set(std::span<const MsrRange> ranges) {
  std::map<std::uint32_t, std::uint32_t> wanted;
  for (const auto& range : ranges) {
    if (range.count == 0 || (!range.reads && !range.writes)) {
      return Error(Errc::invalid_argument, operation, "a range without MSRs, or without reads and writes");
    }
    if (range.count - 1 > UINT32_MAX - range.first) return Error(Errc::invalid_argument, operation, "a range wraps");
    if (range.count > most || wanted.size() + range.count > most) {
      return Error(Errc::limit, operation, "4096 MSRs at most", Blame::host);
    }
    const std::uint32_t access = (range.reads ? read_access : 0) | (range.writes ? write_access : 0);
    for (std::uint32_t i = 0; i < range.count; ++i) wanted[range.first + i] |= access;
  }
  for (auto held = installed_.begin(); held != installed_.end();) {
    if (!wanted.contains(held->first)) TRIVET_TRY(install(held->first, 0));
    held = wanted.contains(held->first) ? std::next(held) : installed_.erase(held);
  }
  for (const auto& [index, access] : wanted) {
    const auto held = installed_.find(index);
    if (held != installed_.end() && held->second == access) continue;
    TRIVET_TRY(install(index, access));
    installed_[index] = access;
  }
  return {};
}

}  // namespace trivet::mshv
