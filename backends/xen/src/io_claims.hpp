// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>

#include <trivet/core/io_claims.hpp>

#include "context.hpp"
#include "ioreq_server.hpp"

namespace trivet::xen {

/// What our ioreq server takes. Source: xen/hvm/dm_op.h, XEN_DMOP_map_io_range_to_ioreq_server.
class ServerClaims final : public IoClaims {
 public:
  ServerClaims(const Context& context, const IoreqServer& server) noexcept : context_(context), server_(server) {}

  Result<void> claim_ports(std::uint16_t first, std::uint32_t count) override;
  Result<void> claim_memory(const GuestRange& range) override;
  Result<void> claim_pci(const PciAddress& function) override;
  Result<void> release_ports(std::uint16_t first, std::uint32_t count) override;
  Result<void> release_memory(const GuestRange& range) override;
  Result<void> release_pci(const PciAddress& function) override;

 private:
  using Ranges = std::map<std::uint64_t, std::uint64_t>;  // last by first
  Result<void> claim(Ranges& ranges, bool memory, std::uint64_t first, std::uint64_t last);
  Result<void> release(Ranges& ranges, bool memory, std::uint64_t first, std::uint64_t last);

  const Context& context_;
  const IoreqServer& server_;
  std::mutex mutex_;
  Ranges ports_;
  Ranges memory_;
  std::set<PciAddress> functions_;
};

}  // namespace trivet::xen
