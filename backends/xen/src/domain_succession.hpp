// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <trivet/core/succession.hpp>

#include "domctl.hpp"

namespace trivet::xen {

/// Goes by the domain's handle (xl's UUID), which xl gives to the next one too.
///
/// What a domain shut down for is known as long as the domain is: one of its pages is kept mapped, so that it stays,
/// dying, until asked. The next one is paused a second time while it is being built, so that its toolstack's unpause
/// is not the last.
class DomainSuccession final : public Succession {
 public:
  /// `domctl` outlives it.
  static Result<std::unique_ptr<DomainSuccession>> create(const Domctl& domctl, DomainId domain);
  ~DomainSuccession() override;

  Result<bool> expected() override;
  Result<std::optional<VmId>> find() override;
  Result<void> let_go() override;

 private:
  explicit DomainSuccession(const Domctl& domctl) noexcept : domctl_(domctl) {}
  Result<void> keep(DomainId domain);
  void release() noexcept;
  Result<void> look_for_next();

  const Domctl& domctl_;
  DomainId domain_ = 0;  ///< the one that is followed
  DomainHandle handle_{};
  DomainId next_ = 0;  ///< the one that is held; 0: none
  ForeignMemory memory_;
  void* pages_ = nullptr;
};

}  // namespace trivet::xen
