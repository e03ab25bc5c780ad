// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// GET_VP_STATE and SET_VP_STATE.
#include <algorithm>
#include <cstring>

#include "vp.hpp"

namespace trivet::mshv_sim {

namespace abi = mshv::abi;

namespace {

constexpr std::size_t legacy_and_header = 576;

struct Component {
  unsigned bit;
  std::uint32_t size, standard_offset;
  bool aligned;
};

/// The XSAVE components beyond x87 and SSE that the host has, in order.
std::vector<Component> components(const std::vector<CpuidEntry>& cpuid, std::uint64_t states) {
  std::vector<Component> found;
  for (const auto& entry : cpuid) {
    if (entry.leaf != 0xd || entry.subleaf < 2 || entry.subleaf > 62 || (states >> entry.subleaf & 1) == 0) continue;
    found.push_back({entry.subleaf, entry.eax, entry.ebx, (entry.ecx & 2) != 0});
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.bit < b.bit; });
  return found;
}

struct Placed {
  Component component;
  std::size_t offset;
};
std::vector<Placed> place(const std::vector<Component>& all, std::size_t& end) {
  std::vector<Placed> placed;
  end = legacy_and_header;
  for (const auto& component : all) {
    if (component.aligned) end = (end + 63) & ~std::size_t{63};
    placed.push_back({component, end});
    end += component.size;
  }
  return placed;
}

}  // namespace

std::uint32_t Partition::xsave_size() const {
  std::size_t end = 0;
  (void)place(components(host_cpuid_, xsave_states_), end);
  return static_cast<std::uint32_t>((end + abi::page_size - 1) & ~(abi::page_size - 1));
}

int Vp::state(abi::VpState& request, bool write) {
  const std::scoped_lock lock(mutex_);
  if (request.type > static_cast<std::uint8_t>(abi::VpStateType::synthetic_timers)) return -EINVAL;
  if (request.size == 0 || request.size % abi::page_size != 0 || request.buffer % abi::page_size != 0) return -EINVAL;
  // SAFETY: the caller's buffer, as with the kernel; it is as large as it says.
  auto* const buffer = reinterpret_cast<std::uint8_t*>(request.buffer);
  const auto given = request.size;
  const auto type = static_cast<abi::VpStateType>(request.type);
  take_page();
  switch (type) {
    case abi::VpStateType::lapic:
      request.size = abi::page_size;
      return partition_->has_lapic() ? lapic(buffer, write) : -EINVAL;
    case abi::VpStateType::xsave:
      request.size = partition_->xsave_size();
      return request.size > given ? -EINVAL : xsave(buffer, request.size, write);
    default: {
      const bool timers = type == abi::VpStateType::synthetic_timers;
      const std::size_t at = (static_cast<std::size_t>(type) - 2) * abi::page_size;
      request.size = timers ? static_cast<std::uint32_t>(abi::synthetic_timers_size) : abi::page_size;
      if (write)
        std::memcpy(synthetic_.data() + at, buffer, request.size);
      else
        std::memcpy(buffer, synthetic_.data() + at, request.size);
      return 0;
    }
  }
}

int Vp::lapic(std::uint8_t* buffer, bool write) const {
  kvm_lapic_state kernel{};
  if (const int got = kvm_call(vcpu_.value(), KVM_GET_LAPIC, &kernel); got < 0) return got;
  abi::LapicState state{};
  struct Field {
    std::uint32_t* field;
    unsigned at;
    bool writable;
  };
  std::vector<Field> fields{{&state.version, 0x30, false},
                            {&state.ldr, 0xd0, true},
                            {&state.dfr, 0xe0, true},
                            {&state.spurious, 0xf0, true},
                            {&state.esr, 0x280, true},
                            {&state.icr_high, 0x310, true},
                            {&state.icr_low, 0x300, true},
                            {&state.lvt_timer, 0x320, true},
                            {&state.lvt_thermal, 0x330, true},
                            {&state.lvt_perfmon, 0x340, true},
                            {&state.lvt_lint0, 0x350, true},
                            {&state.lvt_lint1, 0x360, true},
                            {&state.lvt_error, 0x370, true},
                            {&state.lvt_cmci, 0x2f0, true},
                            {&state.initial_count, 0x380, true},
                            {&state.counter_value, 0x390, true},
                            {&state.divide_configuration, 0x3e0, true}};
  for (unsigned i = 0; i < 8; ++i) {
    fields.push_back({&state.isr[i], 0x100 + 16 * i, true});
    fields.push_back({&state.tmr[i], 0x180 + 16 * i, true});
    fields.push_back({&state.irr[i], 0x200 + 16 * i, true});
  }
  if (!write) {
    for (const auto& field : fields) std::memcpy(field.field, kernel.regs + field.at, 4);
    state.id = index_;
    std::memcpy(buffer, &state, sizeof state);
    return 0;
  }
  std::memcpy(&state, buffer, sizeof state);
  if (state.id != index_) return -EINVAL;
  for (const auto& field : fields)
    if (field.writable) std::memcpy(kernel.regs + field.at, field.field, 4);
  return kvm_call(vcpu_.value(), KVM_SET_LAPIC, &kernel);
}

int Vp::xsave(std::uint8_t* buffer, std::uint32_t size, bool write) const {
  const int wanted = kvm_call(partition_->vm(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_XSAVE2));
  std::vector<std::uint8_t> standard(std::max<std::size_t>(4096, static_cast<std::size_t>(std::max(wanted, 0))));
  const auto get = wanted > 0 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
  if (const int got = kvm_call(vcpu_.value(), get, standard.data()); got < 0) return got;
  std::size_t end = 0;
  const auto placed = place(components(partition_->cpuid(index_), partition_->xsave_states()), end);
  const auto fits = [&](const Placed& part) {
    return part.component.standard_offset + part.component.size <= standard.size();
  };
  std::uint64_t present = 0;
  if (!write) {
    std::memset(buffer, 0, size);
    std::memcpy(buffer, standard.data(), legacy_and_header);
    std::memcpy(&present, buffer + 512, 8);
    present &= partition_->xsave_states();
    const std::uint64_t compacted = 1ULL << 63 | partition_->xsave_states();
    std::memcpy(buffer + 512, &present, 8);
    std::memcpy(buffer + 520, &compacted, 8);
    for (const auto& part : placed) {
      if ((present >> part.component.bit & 1) != 0 && fits(part))
        std::memcpy(buffer + part.offset, standard.data() + part.component.standard_offset, part.component.size);
    }
    return 0;
  }
  std::uint64_t format = 0;
  std::memcpy(&present, buffer + 512, 8);
  std::memcpy(&format, buffer + 520, 8);
  if (format != (1ULL << 63 | partition_->xsave_states()) || (present & ~partition_->xsave_states()) != 0)
    return -EINVAL;
  std::memcpy(standard.data(), buffer, legacy_and_header);
  std::memset(standard.data() + 520, 0, 56);
  for (const auto& part : placed) {
    if ((present >> part.component.bit & 1) != 0 && fits(part))
      std::memcpy(standard.data() + part.component.standard_offset, buffer + part.offset, part.component.size);
  }
  return kvm_call(vcpu_.value(), KVM_SET_XSAVE, standard.data());
}

}  // namespace trivet::mshv_sim
