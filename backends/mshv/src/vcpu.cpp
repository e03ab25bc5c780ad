// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vcpu.hpp"

#include <string>

#include "hypercall.hpp"

namespace trivet::mshv {

Result<std::unique_ptr<MshvVcpu>> MshvVcpu::create(const Context& context, Memory& memory, MsrList& msrs,
                                                   unsigned index) {
  abi::CreateVp request{index};
  TRIVET_ASSIGN(const int fd,
                call(context.partition, abi::create_vp, &request, "MSHV_CREATE_VP", std::to_string(index)));
  std::unique_ptr<MshvVcpu> vcpu(new MshvVcpu(context, memory, msrs, index, Handle(context.partition.system(), fd)));
  if (index != 0 && context.has_lapic()) TRIVET_TRY(vcpu->write_activity(Activity::wait_for_sipi));
  return vcpu;
}

MshvVcpu::MshvVcpu(const Context& context, Memory& memory, MsrList& msrs, unsigned index, Handle handle)
    : context_(context),
      memory_(memory),
      msrs_(msrs),
      index_(index),
      handle_(std::move(handle)),
      page_(handle_.system(), handle_.system().map_page(handle_.fd(), abi::register_page_offset)) {}

abi::RegisterPage* MshvVcpu::page() const noexcept {
  // SAFETY: the kernel keeps a register page at the start of this mapping; it is plain bytes.
  auto* const page = reinterpret_cast<abi::RegisterPage*>(page_.address());
  if (page == nullptr || page->version != abi::register_page_version) return nullptr;
  return std::atomic_ref(page->valid).load(std::memory_order_acquire) != 0 ? page : nullptr;
}

Error MshvVcpu::running(const char* operation) const {
  return Error(Errc::bad_state, operation, "vCPU " + std::to_string(index_) + " is running; stop it first");
}

Result<void> MshvVcpu::read_registers_of(std::span<const std::uint32_t> names,
                                         std::span<abi::RegisterValue> values) const {
  return read_registers(handle_, index_, names, values);
}
Result<void> MshvVcpu::write(std::span<const abi::RegisterAssignment> assignments) const {
  return write_registers(handle_, index_, assignments);
}
Result<std::uint64_t> MshvVcpu::read_one(std::uint32_t name) const {
  abi::RegisterValue value{};
  TRIVET_TRY(read_registers_of({&name, 1}, {&value, 1}));
  return value.low;
}
Result<void> MshvVcpu::write_one(std::uint32_t name, std::uint64_t value) const {
  const auto assignment = assign(name, value);
  return write({&assignment, 1});
}

Result<void> MshvVcpu::flush_nmi() const {
  if (!nmi_asked_.load(std::memory_order_relaxed) || !nmi_asked_.exchange(false)) return {};
  abi::AssertInterrupt input{};
  input.type = abi::interrupt_type::nmi;
  input.destination = index_;
  return hypercall(context_.partition, abi::HypercallCode::assert_virtual_interrupt, bytes_of(input), {},
                   "assert an NMI");
}

Result<void> MshvVcpu::inject_nmi() {
  if (!context_.has_lapic()) return Error::unsupported("inject an NMI", "nmi without an interrupt controller");
  // A stopped one takes it with its next run, and until then it is a part of its state.
  nmi_asked_.store(true);
  const StateCall state(*this);
  if (!state.ok()) kicker_.nudge();
  return {};
}

Result<void> MshvVcpu::set_interrupt_pin(bool asserted) noexcept {
  if (!context_.has_lapic()) {
    return Error::unsupported("drive an interrupt pin", "external_interrupts without an interrupt controller");
  }
  if (interrupt_pin_.exchange(asserted, std::memory_order_seq_cst) != asserted && asserted) kicker_.nudge();
  return {};
}

Result<GeneralRegisters> MshvVcpu::registers() const {
  const StateCall state(*this);
  if (!state.ok()) return running("read registers");
  return read_general();
}
Result<void> MshvVcpu::set_registers(const GeneralRegisters& registers) {
  const StateCall state(*this);
  if (!state.ok()) return running("write registers");
  return write_general(registers);
}
Result<SystemRegisters> MshvVcpu::system_registers() const {
  const StateCall state(*this);
  if (!state.ok()) return running("read system registers");
  return read_system();
}
Result<void> MshvVcpu::set_system_registers(const SystemRegisters& registers) {
  const StateCall state(*this);
  if (!state.ok()) return running("write system registers");
  return write_system(registers);
}

}  // namespace trivet::mshv
