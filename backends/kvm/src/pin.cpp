// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "pin.hpp"

#include "ioctl.hpp"

namespace trivet::kvm {

Result<void> Pin::hold() noexcept {
  holders_.fetch_add(1);
  return apply(false);
}

Result<void> Pin::release() noexcept {
  holders_.fetch_sub(1);
  return apply(false);
}

Result<void> Pin::pulse() noexcept {
  return apply(true);
}

Result<void> Pin::apply(bool edge) noexcept {
  if (edge) edge_.store(true);
  if (changes_.fetch_add(1) != 0) return {};  // the thread that is at it goes round again for us
  Result<void> result;
  std::uint32_t seen = 1;
  do {
    if (edge_.exchange(false)) {
      if (auto raised = set(true); !raised) result = raised.error();
    }
    if (auto settled = set(holders_.load() != 0); !settled) result = settled.error();
  } while (!changes_.compare_exchange_strong(seen, 0));
  return result;
}

Result<void> Pin::set(bool level) const noexcept {
  kvm_irq_level line{};
  line.irq = gsi_;
  line.level = level ? 1 : 0;
  return perform(vm_fd_, TRIVET_KVM_REQUEST(KVM_IRQ_LINE, kvm_irq_level), &line);
}

}  // namespace trivet::kvm
