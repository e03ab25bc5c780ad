// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msrs_x86_64.hpp"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>

#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

constexpr auto get_msrs = TRIVET_KVM_REQUEST(KVM_GET_MSRS, kvm_msrs);
constexpr auto set_msrs = TRIVET_KVM_REQUEST(KVM_SET_MSRS, kvm_msrs);

Error refused(const char* operation, const MsrValue& value) {
  std::array<char, 80> text{};
  std::snprintf(text.data(), text.size(), "this host's KVM refuses MSR 0x%" PRIx32 " = 0x%" PRIx64, value.index,
                value.value);
  return Error(Errc::unsupported, operation, text.data(), Blame::host);
}

/// How many of them the kernel took, from the first.
Result<std::size_t> write_run(int vcpu_fd, std::span<const MsrValue> values) {
  MsrBuffer buffer(values.size());
  buffer.header()->nmsrs = static_cast<std::uint32_t>(values.size());
  std::transform(values.begin(), values.end(), buffer.elements().begin(), [](const MsrValue& value) {
    kvm_msr_entry entry{};
    entry.index = value.index;
    entry.data = value.value;
    return entry;
  });
  TRIVET_ASSIGN(const int done, call(vcpu_fd, set_msrs, buffer.header()));
  return static_cast<std::size_t>(done);
}

}  // namespace

Result<void> MsrList::load() {
  MsrListBuffer none(0);
  const auto asked = call(device_.fd(), TRIVET_KVM_REQUEST(KVM_GET_MSR_INDEX_LIST, kvm_msr_list), none.header());
  if (!asked && asked.error().os_errno() != E2BIG) return asked.error();
  const std::size_t count = none.header()->nmsrs;
  MsrListBuffer list(count);
  list.header()->nmsrs = static_cast<std::uint32_t>(count);
  TRIVET_TRY(call(device_.fd(), TRIVET_KVM_REQUEST(KVM_GET_MSR_INDEX_LIST, kvm_msr_list), list.header()));
  const auto indices = list.elements().first(std::min<std::size_t>(count, list.header()->nmsrs));
  indices_.assign(indices.begin(), indices.end());
  std::erase(indices_, msr_tsc);
  return {};
}

Result<std::vector<MsrValue>> MsrList::read(int vcpu_fd) {
  const std::scoped_lock lock(mutex_);
  if (indices_.empty()) TRIVET_TRY(load());
  while (true) {
    MsrBuffer buffer(indices_.size());
    buffer.header()->nmsrs = static_cast<std::uint32_t>(indices_.size());
    for (std::size_t i = 0; i < indices_.size(); ++i) buffer.elements()[i].index = indices_[i];
    TRIVET_ASSIGN(const int done, call(vcpu_fd, get_msrs, buffer.header()));
    const auto count = static_cast<std::size_t>(done);
    if (count < indices_.size()) {
      // The kernel stops at one that it cannot read: it is no part of the state here.
      indices_.erase(indices_.begin() + done);
      continue;
    }
    std::vector<MsrValue> values;
    values.reserve(count);
    for (const auto& entry : buffer.elements()) values.push_back({entry.index, entry.data});
    return values;
  }
}

Result<void> MsrList::write(int vcpu_fd, std::span<const MsrValue> values) {
  std::vector<MsrValue> order(values.begin(), values.end());
  std::stable_partition(order.begin(), order.end(),
                        [](const MsrValue& value) { return value.index != msr_tsc_deadline; });
  std::span<const MsrValue> left = order;
  while (!left.empty()) {
    TRIVET_ASSIGN(const std::size_t done, write_run(vcpu_fd, left.first(std::min<std::size_t>(left.size(), 256))));
    left = left.subspan(done);
    if (done == 256 || left.empty()) continue;
    if (left.front().value != 0) return refused("restore MSRs", left.front());
    left = left.subspan(1);
  }
  return {};
}

Result<std::uint64_t> read_msr(int vcpu_fd, std::uint32_t index) {
  MsrBuffer buffer(1);
  buffer.header()->nmsrs = 1;
  buffer.elements()[0].index = index;
  TRIVET_ASSIGN(const int done, call(vcpu_fd, get_msrs, buffer.header()));
  if (done != 1) return refused("read an MSR", {index, 0});
  return buffer.elements()[0].data;
}

Result<void> write_msr(int vcpu_fd, const MsrValue& value) {
  TRIVET_ASSIGN(const std::size_t done, write_run(vcpu_fd, {&value, 1}));
  if (done != 1) return refused("write an MSR", value);
  return {};
}

}  // namespace trivet::kvm
