// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <string>

#include <trivet/core/page_walk_x86_64.hpp>

#include "vcpu.hpp"

namespace trivet::xen {
namespace {

constexpr std::uint8_t nmi_vector = 2;
constexpr std::uint8_t page_fault = 14;
constexpr std::uint8_t vectors_of_exceptions = 32;
constexpr std::uint32_t no_error_code = ~std::uint32_t{0};

}  // namespace

Result<void> XenVcpu::set_cpuid(std::span<const CpuidEntry> entries) {
  TRIVET_TRY(check_stopped("set CPUID"));
  return context_.domctl->set_cpuid(context_.domain, entries);
}

Result<std::optional<Translation>> XenVcpu::translate(GuestVirtualAddress at) const {
  TRIVET_TRY(check_stopped("translate an address"));
  TRIVET_ASSIGN(const auto system, system_registers());
  return walk_pages(system, at, [this](GuestAddress entry, void* to, std::size_t bytes) {
    return memory_.read(entry, {static_cast<std::byte*>(to), bytes});
  });
}

Result<void> XenVcpu::inject(const Exception& exception) {
  constexpr auto operation = "inject an exception";
  TRIVET_TRY(check_stopped(operation));
  if (exception.vector >= vectors_of_exceptions || exception.vector == nmi_vector) {
    return Error(Errc::invalid_argument, operation,
                 "vector " + std::to_string(exception.vector) + " is no exception (0-31 without 2)");
  }
  const auto pending = [&](unsigned vector) {
    return Error(Errc::bad_state, operation, "exception " + std::to_string(vector) + " is pending already");
  };
  if (injected_) return pending(injected_->vector);
  TRIVET_ASSIGN(const auto cpu, read_cpu());
  if (cpu.pending_valid) return pending(cpu.pending_vector);
  // A page fault's address is what CR2 holds already: the call would set it.
  const std::uint64_t extra = exception.vector == page_fault ? cpu.cr2 : 0;
  const auto error_code = exception.has_error_code ? exception.error_code : no_error_code;
  if (xendevicemodel_inject_event(context_.device_model(), context_.domain, static_cast<int>(index_), exception.vector,
                                  XEN_DMOP_EVENT_hw_exc, error_code, 0, extra) != 0) {
    if (errno == EBUSY) return pending(exception.vector);
    return Error::from_errno(errno, operation, "vCPU " + std::to_string(index_));
  }
  injected_ = exception;
  return {};
}

}  // namespace trivet::xen
