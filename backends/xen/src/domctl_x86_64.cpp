// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>

#include "domctl.hpp"
#include "domctl_impl.hpp"

namespace trivet::xen {
namespace {

constexpr auto context_operation = "read a domain's vCPU state";
constexpr auto cpuid_operation = "read a domain's CPUID";
constexpr auto set_cpuid_operation = "set CPUID";
constexpr std::uint32_t native_tsc = 2;  // XEN_CPUID_TSC_MODE_NEVER_EMULATE: the default emulates RDTSC(P) of a guest

class Policy {
 public:
  Policy() noexcept : policy_(xc_cpu_policy_init()) {}
  ~Policy() { xc_cpu_policy_destroy(policy_); }
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;
  [[nodiscard]] xc_cpu_policy_t* get() const noexcept { return policy_; }

 private:
  xc_cpu_policy_t* policy_;
};

Result<std::vector<CpuidEntry>> leaves_of(xc_interface* xc, const Policy& policy) {
  std::uint32_t leaf_count = 0;
  std::uint32_t msr_count = 0;
  if (xc_cpu_policy_get_size(xc, &leaf_count, &msr_count) != 0) return Error::from_errno(errno, cpuid_operation);
  std::vector<xen_cpuid_leaf_t> leaves(leaf_count);
  std::vector<xen_msr_entry_t> msrs(msr_count);
  if (xc_cpu_policy_serialise(xc, policy.get(), leaves.data(), &leaf_count, msrs.data(), &msr_count) != 0) {
    return Error::from_errno(errno, cpuid_operation);
  }
  leaves.resize(leaf_count);
  std::vector<CpuidEntry> entries;
  entries.reserve(leaves.size());
  for (const auto& leaf : leaves) {
    const bool matters = leaf.subleaf != XEN_CPUID_NO_SUBLEAF;
    entries.push_back({leaf.leaf, matters ? leaf.subleaf : 0, matters, leaf.a, leaf.b, leaf.c, leaf.d});
  }
  return entries;
}

}  // namespace

Result<void> Domctl::set_up_x86(DomainId domain, unsigned triple_fault_reason) const {
  TRIVET_TRY(done(xc_cpuid_apply_policy(impl_->xc, domain, false, nullptr, 0, true, false, false, nullptr, nullptr),
                  "give a domain its CPUID", domain));
  TRIVET_TRY(done(xc_domain_set_tsc_info(impl_->xc, domain, native_tsc, 0, 0, 0), "give a domain its TSC", domain));
  return done(xc_hvm_param_set(impl_->xc, domain, HVM_PARAM_TRIPLE_FAULT_REASON, triple_fault_reason),
              "set what a triple fault is", domain);
}

Result<std::vector<std::uint8_t>> Domctl::context(DomainId domain) const {
  while (true) {
    const int size = xc_domain_hvm_getcontext(impl_->xc, domain, nullptr, 0);
    if (size < 0) return domain_error(errno, context_operation, domain);
    std::vector<std::uint8_t> context(static_cast<std::size_t>(size));
    const int got = xc_domain_hvm_getcontext(impl_->xc, domain, context.data(), static_cast<std::uint32_t>(size));
    if (got < 0 && errno == ENOSPC) continue;  // it grew: a vCPU came up
    if (got < 0) return domain_error(errno, context_operation, domain);
    context.resize(static_cast<std::size_t>(got));
    return context;
  }
}

Result<void> Domctl::set_context(DomainId domain, std::span<const std::uint8_t> context) const {
  // libxenctrl only reads from it.
  auto* bytes = const_cast<std::uint8_t*>(context.data());
  const int result = xc_domain_hvm_setcontext(impl_->xc, domain, bytes, static_cast<std::uint32_t>(context.size()));
  if (result == 0) return {};
  if (errno == EINVAL || errno == EOPNOTSUPP) {
    return Error(Errc::malformed, "write a domain's vCPU state",
                 "domain " + std::to_string(domain) + ": Xen refuses it (xl dmesg says which register)");
  }
  return domain_error(errno, "write a domain's vCPU state", domain);
}

Result<bool> Domctl::read_record(DomainId domain, std::uint16_t type, std::uint16_t instance,
                                 std::span<std::uint8_t> to) const {
  const int result = xc_domain_hvm_getcontext_partial(impl_->xc, domain, type, instance, to.data(),
                                                      static_cast<std::uint32_t>(to.size()));
  if (result == 0) return true;
  if (errno == ENODATA || errno == ENOENT) return false;
  return domain_error(errno, context_operation, domain,
                      "record " + std::to_string(type) + " of vCPU " + std::to_string(instance));
}

Result<VcpuInfo> Domctl::vcpu_info(DomainId domain, unsigned vcpu) const {
  xc_vcpuinfo_t info{};
  TRIVET_TRY(done(xc_vcpu_getinfo(impl_->xc, domain, vcpu, &info), "look at a vCPU", domain, std::to_string(vcpu)));
  return VcpuInfo{info.online != 0, info.blocked != 0};
}

Result<void> Domctl::trigger_nmi(DomainId domain, unsigned vcpu) const {
  return done(xc_domain_send_trigger(impl_->xc, domain, XEN_DOMCTL_SENDTRIGGER_NMI, vcpu), "inject an NMI", domain);
}

Result<std::vector<CpuidEntry>> Domctl::default_cpuid() const {
  const Policy policy;
  if (policy.get() == nullptr) return Error::from_errno(ENOMEM, cpuid_operation);
  if (xc_cpu_policy_get_system(impl_->xc, XEN_SYSCTL_cpu_policy_hvm_default, policy.get()) != 0) {
    return Error::from_errno(errno, cpuid_operation, "the default of HVM domains");
  }
  return leaves_of(impl_->xc, policy);
}

Result<std::vector<CpuidEntry>> Domctl::cpuid(DomainId domain) const {
  const Policy policy;
  if (policy.get() == nullptr) return Error::from_errno(ENOMEM, cpuid_operation);
  TRIVET_TRY(done(xc_cpu_policy_get_domain(impl_->xc, domain, policy.get()), cpuid_operation, domain));
  return leaves_of(impl_->xc, policy);
}

Result<void> Domctl::set_cpuid(DomainId domain, std::span<const CpuidEntry> entries) const {
  const Policy policy;
  if (policy.get() == nullptr) return Error::from_errno(ENOMEM, set_cpuid_operation);
  TRIVET_TRY(done(xc_cpu_policy_get_domain(impl_->xc, domain, policy.get()), cpuid_operation, domain));
  std::vector<xen_cpuid_leaf_t> leaves;
  leaves.reserve(entries.size());
  for (const auto& entry : entries) {
    leaves.push_back({entry.leaf, entry.subleaf_matters ? entry.subleaf : XEN_CPUID_NO_SUBLEAF, entry.eax, entry.ebx,
                      entry.ecx, entry.edx});
  }
  if (xc_cpu_policy_update_cpuid(impl_->xc, policy.get(), leaves.data(), static_cast<std::uint32_t>(leaves.size())) !=
      0) {
    return Error(Errc::invalid_argument, set_cpuid_operation,
                 "Xen does not know one of the leaves, or has it by subleaf");
  }
  if (xc_cpu_policy_set_domain(impl_->xc, domain, policy.get()) == 0) return {};
  if (errno == EEXIST) {
    return Error(Errc::bad_state, set_cpuid_operation, "the domain has run; Xen takes no other CPUID then");
  }
  if (errno == EINVAL)
    return Error(Errc::invalid_argument, set_cpuid_operation, "this host cannot give a guest that set");
  return domain_error(errno, set_cpuid_operation, domain);
}

}  // namespace trivet::xen
