// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "io_claims.hpp"

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <string>

namespace trivet::xen {
namespace {

constexpr auto claim_operation = "claim guest accesses";
constexpr auto release_operation = "release guest accesses";

std::string text_of(bool memory, std::uint64_t first, std::uint64_t last) {
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "%s 0x%" PRIx64 " to 0x%" PRIx64, memory ? "memory" : "ports", first, last);
  return text.data();
}

std::string text_of(const PciAddress& function) {
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "PCI %04x:%02x:%02x.%x", function.segment, function.bus, function.device,
                function.function);
  return text.data();
}

Error refused(int os_errno, const std::string& what) {
  // Xen's range sets are bounded, and say so with this one.
  if (os_errno == ENOMEM || os_errno == ENOSPC) {
    return Error(Errc::limit, claim_operation,
                 what + ": Xen has room for " + std::to_string(max_claimed_ranges) + " ranges of a kind", Blame::host);
  }
  if (os_errno == EEXIST) return Error(Errc::already_exists, claim_operation, what);
  return Error::from_errno(os_errno, claim_operation, what);
}

Result<void> check_ports(const char* operation, std::uint16_t first, std::uint32_t count) {
  if (count != 0 && count <= 0x10000U - first) return {};
  return Error(Errc::invalid_argument, operation,
               "ports: " + std::to_string(count) + " from " + std::to_string(first) + " (0 to 65535 there are)");
}

Result<void> check_memory(const char* operation, const GuestRange& range) {
  if (range.valid()) return {};
  return Error(Errc::invalid_argument, operation, "memory: the range is empty or wraps");
}

}  // namespace

Result<void> ServerClaims::claim(Ranges& ranges, bool memory, std::uint64_t first, std::uint64_t last) {
  const std::scoped_lock lock(mutex_);
  const auto after = ranges.upper_bound(last);
  if (after != ranges.begin() && std::prev(after)->second >= first) {
    return Error(Errc::already_exists, claim_operation,
                 text_of(memory, first, last) + " overlaps " +
                     text_of(memory, std::prev(after)->first, std::prev(after)->second));
  }
  if (xendevicemodel_map_io_range_to_ioreq_server(context_.device_model(), context_.domain, server_.id(), memory, first,
                                                  last) != 0) {
    return refused(errno, text_of(memory, first, last));
  }
  ranges.emplace(first, last);
  return {};
}

Result<void> ServerClaims::release(Ranges& ranges, bool memory, std::uint64_t first, std::uint64_t last) {
  const std::scoped_lock lock(mutex_);
  const auto found = ranges.find(first);
  if (found == ranges.end() || found->second != last) {
    return Error(Errc::not_found, release_operation, text_of(memory, first, last) + " was not claimed, as such");
  }
  if (xendevicemodel_unmap_io_range_from_ioreq_server(context_.device_model(), context_.domain, server_.id(), memory,
                                                      first, last) != 0) {
    return Error::from_errno(errno, release_operation, text_of(memory, first, last));
  }
  ranges.erase(found);
  return {};
}

Result<void> ServerClaims::claim_ports(std::uint16_t first, std::uint32_t count) {
  TRIVET_TRY(check_ports(claim_operation, first, count));
  return claim(ports_, false, first, std::uint64_t{first} + count - 1);
}

Result<void> ServerClaims::claim_memory(const GuestRange& range) {
  TRIVET_TRY(check_memory(claim_operation, range));
  return claim(memory_, true, range.start.value, range.last().value);
}

Result<void> ServerClaims::release_ports(std::uint16_t first, std::uint32_t count) {
  TRIVET_TRY(check_ports(release_operation, first, count));
  return release(ports_, false, first, std::uint64_t{first} + count - 1);
}

Result<void> ServerClaims::release_memory(const GuestRange& range) {
  TRIVET_TRY(check_memory(release_operation, range));
  return release(memory_, true, range.start.value, range.last().value);
}

Result<void> ServerClaims::claim_pci(const PciAddress& function) {
  if (function.device > 31 || function.function > 7) {
    return Error(Errc::invalid_argument, claim_operation,
                 text_of(function) + ": devices are 0 to 31, functions 0 to 7");
  }
  const std::scoped_lock lock(mutex_);
  if (functions_.count(function) != 0) return Error(Errc::already_exists, claim_operation, text_of(function));
  if (xendevicemodel_map_pcidev_to_ioreq_server(context_.device_model(), context_.domain, server_.id(),
                                                function.segment, function.bus, function.device,
                                                function.function) != 0) {
    return refused(errno, text_of(function));
  }
  functions_.insert(function);
  return {};
}

Result<void> ServerClaims::release_pci(const PciAddress& function) {
  const std::scoped_lock lock(mutex_);
  if (functions_.count(function) == 0) {
    return Error(Errc::not_found, release_operation, text_of(function) + " was not claimed");
  }
  if (xendevicemodel_unmap_pcidev_from_ioreq_server(context_.device_model(), context_.domain, server_.id(),
                                                    function.segment, function.bus, function.device,
                                                    function.function) != 0) {
    return Error::from_errno(errno, release_operation, text_of(function));
  }
  functions_.erase(function);
  return {};
}

}  // namespace trivet::xen
