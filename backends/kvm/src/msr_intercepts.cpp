// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msr_intercepts.hpp"

#include <array>

#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

constexpr auto operation = "set MSR intercepts";
constexpr std::uint32_t first_x2apic = 0x800;
constexpr std::uint32_t last_x2apic = 0x8ff;
constexpr std::uint32_t most_in_range = KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8;

Result<void> check(std::span<const MsrRange> ranges) {
  if (ranges.size() > KVM_MSR_FILTER_MAX_RANGES)
    return Error(Errc::limit, operation, "KVM takes 16 ranges", Blame::host);
  for (const auto& range : ranges) {
    const auto refuse = [](Errc code, const char* why) { return Error(code, operation, why); };
    if (range.count == 0 || (!range.reads && !range.writes)) {
      return refuse(Errc::invalid_argument, "a range without MSRs, or without reads and writes");
    }
    if (range.count - 1 > UINT32_MAX - range.first) return refuse(Errc::invalid_argument, "a range wraps");
    if (range.count > most_in_range) return Error(Errc::limit, operation, "KVM takes 12288 MSRs a range", Blame::host);
    const auto last = range.first + (range.count - 1);
    if (range.first <= last_x2apic && last >= first_x2apic) {
      return Error::unsupported(operation, "msr_exits for the x2APIC's MSRs (0x800-0x8ff), which KVM never filters");
    }
  }
  return {};
}

}  // namespace

Result<void> MsrFilter::set(std::span<const MsrRange> ranges) {
  TRIVET_TRY(check(ranges));
  // All bits clear: denied, which makes them exit. The kernel copies it.
  static std::array<std::uint8_t, KVM_MSR_FILTER_MAX_BITMAP_SIZE> denied{};
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    auto& entry = filter.ranges[i];
    entry.flags = (ranges[i].reads ? KVM_MSR_FILTER_READ : 0U) | (ranges[i].writes ? KVM_MSR_FILTER_WRITE : 0U);
    entry.base = ranges[i].first;
    entry.nmsrs = ranges[i].count;
    entry.bitmap = denied.data();
  }
  TRIVET_TRY(enable(context_.vm(), KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_FILTER, "MSR exits"));
  return perform(context_.vm(), TRIVET_KVM_REQUEST(KVM_X86_SET_MSR_FILTER, kvm_msr_filter), &filter);
}

}  // namespace trivet::kvm
