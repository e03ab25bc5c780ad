// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// ROOT_HVCALL.
#include <algorithm>
#include <array>
#include <cstring>
#include <map>

#include "vp.hpp"
#include "walk.hpp"

namespace trivet::mshv_sim {

namespace abi = mshv::abi;
namespace status = abi::status;
namespace property = abi::property;
using Code = abi::HypercallCode;

namespace {

constexpr std::uint16_t again = 0xffff;  // not a status: EAGAIN

template <class T>
T take(const std::uint8_t* from) {
  T value{};
  std::memcpy(&value, from, sizeof value);
  return value;
}

int errno_of(std::uint16_t result) {
  switch (result) {
    case status::success:
      return 0;
    case status::access_denied:
      return -EACCES;
    case status::invalid_partition_state:
      return -EBADFD;
    default:
      return -EINVAL;
  }
}

bool known(std::uint16_t code) {
  constexpr std::array all{
      Code::get_partition_property,  Code::set_partition_property,    Code::install_intercept,
      Code::get_vp_registers,        Code::set_vp_registers,          Code::translate_virtual_address,
      Code::clear_virtual_interrupt, Code::register_intercept_result, Code::assert_virtual_interrupt,
      Code::signal_event_direct,     Code::post_message_direct,       Code::get_vp_cpuid_values};
  return std::find(all.begin(), all.end(), static_cast<Code>(code)) != all.end();
}

}  // namespace

int Partition::hypercall(abi::RootHypercall& call, Vp* vp) {
  const bool reserved =
      std::any_of(std::begin(call.reserved), std::end(call.reserved), [](std::uint8_t byte) { return byte != 0; });
  if (call.status != 0 || call.input == 0 || call.input_size < 8 || call.input_size > abi::page_size || reserved)
    return -EINVAL;
  if (call.output != 0 && (call.output_size == 0 || call.output_size > abi::page_size)) return -EINVAL;
  if (!known(call.code)) return -EINVAL;
  if (static_cast<Code>(call.code) == Code::set_partition_property && vp != nullptr) return -EINVAL;
  if (knobs_.again_every != 0 && ++calls_ % knobs_.again_every == 0) {
    call.repetitions = 0;
    call.status = status::insufficient_memory;
    return -EAGAIN;
  }
  std::array<std::uint8_t, abi::page_size> in{}, out{};
  // SAFETY: the caller's buffers, as with the kernel.
  std::memcpy(in.data(), reinterpret_cast<const void*>(call.input), call.input_size);
  const auto result = dispatch(call, in.data(), out.data(), vp);
  call.status = result == again ? status::insufficient_memory : result;
  if (call.output != 0) std::memcpy(reinterpret_cast<void*>(call.output), out.data(), call.output_size);
  return result == again ? -EAGAIN : errno_of(result);
}

std::uint16_t Partition::dispatch(abi::RootHypercall& call, std::uint8_t* in, std::uint8_t* out, Vp* /*vp*/) {
  switch (static_cast<Code>(call.code)) {
    case Code::get_partition_property:
      return get_property(in, out);
    case Code::set_partition_property:
      return set_property(in);
    case Code::get_vp_registers:
      return registers(call, in, out, false);
    case Code::set_vp_registers:
      return registers(call, in, out, true);
    case Code::translate_virtual_address:
      return translate(in, out);
    case Code::assert_virtual_interrupt:
      return assert_interrupt(in);
    case Code::clear_virtual_interrupt:
      return status::success;
    case Code::register_intercept_result:
      return register_result(in);
    case Code::get_vp_cpuid_values:
      return cpuid_values(call, in, out);
    case Code::install_intercept:
      return install_intercept(in);
    case Code::signal_event_direct:  // there is no synthetic interrupt controller
    case Code::post_message_direct:
      return status::operation_denied;
  }
  return status::invalid_parameter;
}

std::uint16_t Partition::get_property(const std::uint8_t* in, std::uint8_t* out) const {
  const auto code = take<abi::GetProperty>(in).code;
  std::uint64_t value = 0;
  const std::scoped_lock lock(mutex_);
  switch (code) {
    case property::reference_time:
      value = reference_time();
      break;
    case property::physical_address_width:
      value = 36;
      for (const auto& entry : host_cpuid_)
        if (entry.leaf == 0x80000008 && (entry.eax & 0xff) != 0) value = entry.eax & 0xff;
      break;
    case property::xsave_states:
      value = xsave_states_;
      break;
    case property::max_xsave_size:
      value = xsave_size();
      break;
    default: {
      const auto found = properties_.find(code);
      if (found != properties_.end()) value = found->second;
    }
  }
  std::memcpy(out, &value, sizeof value);
  return status::success;
}

std::uint16_t Partition::set_property(const std::uint8_t* in) {
  const auto request = take<abi::SetProperty>(in);
  if (request.code == property::page_access_tracking) {
    if (memory_.set_tracking(request.value != 0) < 0) return status::operation_denied;
  }
  const std::scoped_lock lock(mutex_);
  switch (request.code) {
    case property::synthetic_processor_features:
      if (initialized_) return status::invalid_partition_state;
      break;
    case property::unimplemented_msr_action:
      if (!initialized_ || request.value > abi::msr_action_ignore) return status::invalid_parameter;
      break;
    case property::reference_time: {
      const auto now = reference_time();
      time_offset_ += request.value - now;
      if (frozen_at_ != 0) frozen_at_ = std::max<std::uint64_t>(request.value, 1);
      break;
    }
    case property::time_freeze: {
      const auto now = reference_time();
      if (request.value != 0) {
        if (frozen_at_ == 0) frozen_at_ = std::max<std::uint64_t>(now, 1);
      } else if (frozen_at_ != 0) {
        const auto held = std::exchange(frozen_at_, 0);
        time_offset_ += held - reference_time();
      }
      break;
    }
    default:
      break;
  }
  properties_[request.code] = request.value;
  return status::success;
}

bool Partition::unknown_msrs_ignored() const {
  const std::scoped_lock lock(mutex_);
  const auto found = properties_.find(property::unimplemented_msr_action);
  return found != properties_.end() && found->second == abi::msr_action_ignore;
}

std::uint16_t Partition::registers(abi::RootHypercall& call, std::uint8_t* in, std::uint8_t* out, bool write) {
  const auto header = take<abi::VpRegisters>(in);
  const std::size_t each = write ? sizeof(abi::RegisterAssignment) : sizeof(std::uint32_t);
  const unsigned wanted = call.repetitions;
  call.repetitions = 0;
  if (wanted == 0 || sizeof header + wanted * each > call.input_size) return status::invalid_hypercall_input;
  if (!write && wanted * sizeof(abi::RegisterValue) > call.output_size) return status::invalid_hypercall_input;
  const auto target = vp(header.vp);
  if (!target) return status::invalid_vp_index;
  const std::scoped_lock lock(target->lock());
  auto file = target->open_registers();
  const unsigned most = knobs_.most_repetitions != 0 ? std::min(knobs_.most_repetitions, wanted) : wanted;
  unsigned done = 0;
  auto result = status::success;
  for (; done < most; ++done) {
    const auto* const item = in + sizeof header + done * each;
    abi::RegisterValue value{};
    bool good = false;
    if (write) {
      const auto assignment = take<abi::RegisterAssignment>(item);
      good = assignment.reserved1 == 0 && assignment.reserved2 == 0 && file.set(assignment.name, assignment.value);
    } else {
      good = file.get(take<std::uint32_t>(item), value);
      std::memcpy(out + done * sizeof value, &value, sizeof value);
    }
    if (!good) {
      result = status::invalid_parameter;
      break;
    }
  }
  if (!target->close_registers(file) && result == status::success) {
    result = status::invalid_register_value;
    done = 0;
  }
  call.repetitions = static_cast<std::uint16_t>(done);
  return result == status::success && done < wanted ? again : result;
}

std::uint16_t Partition::translate(const std::uint8_t* in, std::uint8_t* out) const {
  const auto request = take<abi::TranslateAddress>(in);
  const auto target = vp(request.vp);
  if (!target) return status::invalid_vp_index;
  const std::scoped_lock lock(target->lock());
  abi::TranslateResult result{};
  const auto found = walk(target->sregs(), memory_, request.page * abi::page_size);
  if (!found)
    result.code = 1;
  else if ((request.flags & 2) != 0 && !found->writable)
    result.code = 2;
  else if (!memory_.mapped(found->gpa))
    result.code = 4;
  if (found) result.page = found->gpa / abi::page_size;
  std::memcpy(out, &result, sizeof result);
  return status::success;
}

std::uint16_t Partition::assert_interrupt(const std::uint8_t* in) {
  const auto request = take<abi::AssertInterrupt>(in);
  const bool level = (request.flags & 1) != 0, logical = (request.flags & 2) != 0;
  if (!has_lapic() || request.type > abi::interrupt_type::sipi || request.vector > 0xff)
    return status::invalid_parameter;
  if (request.type == abi::interrupt_type::fixed && request.vector < 16) return status::invalid_parameter;
  kvm_msi msi{};
  msi.address_lo = 0xfee00000 | static_cast<std::uint32_t>(request.destination & 0xff) << 12 | (logical ? 4U : 0U);
  msi.data = request.vector | request.type << 8 | (level ? 3U << 14 : 0U);
  {
    const std::scoped_lock lock(mutex_);
    want_end_of(msi.data);
  }
  return kvm_call(vm(), KVM_SIGNAL_MSI, &msi) < 0 ? status::invalid_parameter : status::success;
}

std::uint16_t Partition::register_result(const std::uint8_t* in) {
  const auto request = take<abi::CpuidResult>(in);
  if (request.intercept_type != abi::intercept_cpuid) return status::invalid_parameter;
  const std::scoped_lock lock(mutex_);
  std::erase_if(results_, [&](const abi::CpuidResult& held) {
    return held.vp == request.vp && held.leaf == request.leaf && held.subleaf == request.subleaf &&
           held.subleaf_specific == request.subleaf_specific;
  });
  results_.push_back(request);
  ++cpuid_version_;
  return status::success;
}

std::uint16_t Partition::cpuid_values(abi::RootHypercall& call, const std::uint8_t* in, std::uint8_t* out) const {
  const auto header = take<abi::CpuidValues>(in);
  const unsigned wanted = call.repetitions;
  if (sizeof header + wanted * sizeof(abi::CpuidLeaf) > call.input_size || wanted * 16 > call.output_size)
    return status::invalid_hypercall_input;
  if (!vp(header.vp)) return status::invalid_vp_index;
  const auto entries = cpuid(header.vp);
  for (unsigned i = 0; i < wanted; ++i) {
    const auto leaf = take<abi::CpuidLeaf>(in + sizeof header + i * sizeof(abi::CpuidLeaf));
    std::array<std::uint32_t, 4> value{};
    for (const auto& entry : entries) {
      if (entry.leaf != leaf.eax || (entry.significant && entry.subleaf != leaf.ecx)) continue;
      value = {entry.eax, entry.ebx, entry.ecx, entry.edx};
      break;
    }
    std::memcpy(out + i * 16, value.data(), 16);
  }
  return status::success;
}

std::uint16_t Partition::install_intercept(const std::uint8_t* in) {
  const auto request = take<abi::InstallIntercept>(in);
  if (request.type != abi::intercept_msr_index || request.access > 3) return status::invalid_parameter;
  const std::scoped_lock lock(mutex_);
  auto wanted = msr_intercepts_;
  const auto number = static_cast<std::uint32_t>(request.parameter);
  std::erase_if(wanted, [&](const auto& held) { return held.first == number; });
  if (request.access != 0) wanted.insert({number, request.access});
  // KVM takes ranges: one for each run of neighbours with the same access.
  static std::array<std::uint8_t, KVM_MSR_FILTER_MAX_BITMAP_SIZE> denied{};
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  std::size_t used = 0;
  for (auto at = wanted.begin(); at != wanted.end();) {
    if (used == KVM_MSR_FILTER_MAX_RANGES) return status::insufficient_memory;
    auto& range = filter.ranges[used++];
    range.base = at->first;
    range.flags = at->second & 3;  // the same bits: 1 read, 2 write
    range.bitmap = denied.data();
    const auto access = at->second;
    for (; at != wanted.end() && at->second == access && at->first == range.base + range.nmsrs; ++at) ++range.nmsrs;
  }
  if (kvm_call(vm(), KVM_X86_SET_MSR_FILTER, &filter) < 0) return status::invalid_parameter;
  msr_intercepts_ = std::move(wanted);
  return status::success;
}

}  // namespace trivet::mshv_sim
