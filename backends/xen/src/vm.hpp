// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <trivet/core/vm.hpp>

#include "context.hpp"
#include "io_claims.hpp"
#include "ioreq_server.hpp"
#include "irq_router.hpp"
#include "irqchip_x86_64.hpp"
#include "memory.hpp"
#include "runner.hpp"
#include "vcpu.hpp"

namespace trivet::xen {

/// Ends a domain that we made, at the latest when this goes.
class OwnedDomain {
 public:
  OwnedDomain() = default;
  OwnedDomain(const Domctl& domctl, DomainId domain) noexcept : domctl_(&domctl), domain_(domain) {}
  OwnedDomain(OwnedDomain&& other) noexcept : domctl_(std::exchange(other.domctl_, nullptr)), domain_(other.domain_) {}
  OwnedDomain& operator=(OwnedDomain&&) = delete;
  ~OwnedDomain() {
    if (domctl_ != nullptr) (void)domctl_->destroy(domain_);
  }

 private:
  const Domctl* domctl_ = nullptr;
  DomainId domain_ = 0;
};

/// A domain: one that we made, or another's that we serve.
class XenVm final : public Vm {
 public:
  /// `address_bits`: of a guest physical address.
  static Result<std::unique_ptr<XenVm>> create(const Domctl& domctl, const VmConfig& config, unsigned address_bits);
  static Result<std::unique_ptr<XenVm>> attach(DomainId domain, unsigned address_bits);
  ~XenVm() override;

  Result<MappedRegion> map(const RegionSpec& spec) override { return memory_.map(spec); }
  Result<void> unmap(const GuestRange& range) override { return memory_.unmap(range); }
  Result<std::vector<GuestRange>> populated(const GuestRange& within) const override;
  Result<Vcpu*> create_vcpu(unsigned index) override;
  [[nodiscard]] std::span<Vcpu* const> vcpus() const noexcept override { return vcpus_; }
  /// Xen's own numbering, of which its LAPICs and CPUID tell the guest too.
  [[nodiscard]] std::uint32_t processor_id(unsigned index) const noexcept override { return 2 * index; }
  [[nodiscard]] std::span<Runner* const> runners() const noexcept override { return runners_; }
  Result<void> resume() override;
  Result<void> pause() override;
  [[nodiscard]] StateSupport state_support(StateElement element) const noexcept override;

  [[nodiscard]] IrqRouter* irq_router() noexcept override { return &router_; }
  [[nodiscard]] Irqchip* irqchip() noexcept override { return context_.attached() ? nullptr : &irqchip_; }
  [[nodiscard]] Doorbells* doorbells() noexcept override { return nullptr; }
  [[nodiscard]] IoClaims* io_claims() noexcept override { return claims_.get(); }
  [[nodiscard]] DirtyLog* dirty_log() noexcept override { return &memory_; }
  [[nodiscard]] Clock* clock() noexcept override { return nullptr; }
  [[nodiscard]] PostedWrites* posted_writes() noexcept override { return nullptr; }
  [[nodiscard]] MsrIntercepts* msr_intercepts() noexcept override { return nullptr; }

 private:
  XenVm(const Domctl* domctl, DomainId domain, Handles handles, const VmConfig& config, unsigned vcpus,
        unsigned address_bits, OwnedDomain owned);
  Result<void> serve();
  Result<void> revive() const;

  // In this order: what is mapped must be unmapped, and the server gone, before the domain is destroyed.
  OwnedDomain owned_;
  Context context_;
  Memory memory_;
  std::unique_ptr<IoreqServer> server_;
  std::unique_ptr<ServerClaims> claims_;
  std::unique_ptr<ServerRunner> runner_;
  Router router_;
  DomainIrqchip irqchip_;
  std::mutex mutex_;                            // of create_vcpu, pause and resume
  std::vector<std::unique_ptr<XenVcpu>> cpus_;  // by index, empty where not made
  std::vector<Vcpu*> vcpus_;                    // those made; room for all from the start, so that spans stay good
  std::vector<Runner*> runners_;
};

}  // namespace trivet::xen
