// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "vp.hpp"

#include <array>
#include <cstdio>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace trivet::mshv_sim {

namespace abi = mshv::abi;

Vp::Vp(std::shared_ptr<Partition> partition, unsigned index, int vcpu_fd)
    : partition_(std::move(partition)), index_(index), vcpu_(vcpu_fd), synthetic_(3 * abi::page_size) {}

Vp::~Vp() {
  if (run_ != nullptr) ::munmap(run_, run_size_);
  if (page_ != nullptr) ::munmap(page_, 3 * abi::page_size);
}

std::shared_ptr<Vp> Vp::create(std::shared_ptr<Partition> partition, unsigned index, int& error) {
  const int size = kvm_call(partition->kvm(), KVM_GET_VCPU_MMAP_SIZE, 0UL);
  const int fd = kvm_call(partition->vm(), KVM_CREATE_VCPU, static_cast<unsigned long>(index));
  if (fd < 0 || size < 0) {
    error = fd < 0 ? fd : size;
    return nullptr;
  }
  std::shared_ptr<Vp> vp(new Vp(std::move(partition), index, fd));
  return vp->set_up(static_cast<std::size_t>(size), error) ? vp : nullptr;
}

bool Vp::set_up(std::size_t run_size, int& error) {
  run_size_ = run_size;
  void* const run = ::mmap(nullptr, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_.value(), 0);
  pages_.reset(::memfd_create("mshv_vp", MFD_CLOEXEC));
  error = -ENOMEM;
  if (run == MAP_FAILED) return false;
  run_ = static_cast<kvm_run*>(run);
  if (!pages_.valid() || ::ftruncate(pages_.value(), 3 * abi::page_size) != 0) return false;
  void* const pages = ::mmap(nullptr, 3 * abi::page_size, PROT_READ | PROT_WRITE, MAP_SHARED, pages_.value(), 0);
  if (pages == MAP_FAILED) return false;
  page_ = static_cast<std::uint8_t*>(pages);
  // SAFETY: page aligned and large enough; the structure is plain bytes.
  registers_ = reinterpret_cast<abi::RegisterPage*>(page_);
  registers_->version = abi::register_page_version;
  error = apply_cpuid();
  if (error < 0 || !partition_->has_lapic()) return error >= 0;
  // KVM's table of APIC ids was made before this processor was in its list: until it is made anew, nothing reaches it.
  kvm_lapic_state lapic{};
  error = kvm_call(vcpu_.value(), KVM_GET_LAPIC, &lapic);
  if (error >= 0) error = kvm_call(vcpu_.value(), KVM_SET_LAPIC, &lapic);
  return error >= 0;
}

kvm_sregs Vp::sregs() const {
  kvm_sregs sregs{};
  (void)kvm_call(vcpu_.value(), KVM_GET_SREGS, &sregs);
  return sregs;
}

int Vp::hypercall(abi::RootHypercall& call) {
  const std::scoped_lock lock(mutex_);
  return partition_->hypercall(call, this);
}

// --- the register page

void Vp::take_page() {
  const auto dirty = registers_->dirty;
  registers_->dirty = 0;
  if (registers_->valid == 0 || dirty == 0) return;
  RegisterFile file(vcpu_.value(), false, tsc_ahead_, *run_);
  if ((dirty & abi::dirty_gp) != 0) {
    for (unsigned i = 0; i < 16; ++i) gp_reference(file.regs(), i) = registers_->gp[i];
  }
  if ((dirty & abi::dirty_ip) != 0) file.regs().rip = registers_->rip;
  if ((dirty & abi::dirty_flags) != 0) file.regs().rflags = registers_->rflags;
  if ((dirty & (abi::dirty_gp | abi::dirty_ip | abi::dirty_flags)) != 0) file.changed_regs();
  if ((dirty & abi::dirty_xmm) != 0) {
    for (unsigned i = 0; i < 6; ++i) (void)file.set(abi::reg::xmm0 + i, registers_->xmm[i]);
  }
  if ((dirty & abi::dirty_segments) != 0) {
    for (unsigned i = 0; i < 6; ++i) {
      abi::RegisterValue value{};
      std::memcpy(&value, &registers_->segments[i], sizeof value);
      (void)file.set(abi::reg::es + i, value);
    }
  }
  (void)file.flush();
}

void Vp::show_page() {
  const auto& knobs = partition_->knobs();
  const bool flaky = knobs.flaky_register_page != 0 && runs_ % knobs.flaky_register_page == 0;
  registers_->valid = knobs.no_register_page || flaky ? 0 : 1;
  if (registers_->valid == 0) {
    std::memset(registers_->gp, 0xa5, sizeof registers_->gp);  // who believes it all the same sees nonsense
    return;
  }
  RegisterFile file(vcpu_.value(), partition_->mutated(Mutation::wrong_segment), tsc_ahead_, *run_);
  for (unsigned i = 0; i < 16; ++i) registers_->gp[i] = gp_reference(file.regs(), i);
  registers_->rip = file.regs().rip;
  registers_->rflags = file.regs().rflags;
  for (unsigned i = 0; i < 6; ++i) (void)file.get(abi::reg::xmm0 + i, registers_->xmm[i]);
  for (unsigned i = 0; i < 6; ++i) {
    abi::RegisterValue value{};
    (void)file.get(abi::reg::es + i, value);
    std::memcpy(&registers_->segments[i], &value, sizeof value);
  }
  registers_->cr0 = file.sregs().cr0;
  registers_->cr3 = file.sregs().cr3;
  registers_->cr4 = file.sregs().cr4;
  registers_->cr8 = file.sregs().cr8;
  registers_->efer = file.sregs().efer;
  abi::RegisterValue state{};
  (void)file.get(abi::reg::interrupt_state, state);
  registers_->interrupt_state = state.low;
  (void)file.get(abi::reg::pending_interruption, state);
  registers_->pending_interruption = state.low;
}

RegisterFile Vp::open_registers() {
  take_page();
  return {vcpu_.value(), partition_->mutated(Mutation::wrong_segment), tsc_ahead_, *run_};
}

bool Vp::close_registers(RegisterFile& file) {
  const bool good = file.flush();
  if (registers_->valid != 0) show_page();
  return good;
}

// --- running

int Vp::run(abi::Message* message, const sigset_t& waiting_mask) {
  const std::scoped_lock lock(mutex_);
  const auto& knobs = partition_->knobs();
  ++runs_;
  if (knobs.interrupt_every != 0 && runs_ % knobs.interrupt_every == 0) return -EINTR;
  take_page();
  if (const int applied = apply_cpuid(); applied < 0) return applied;
  std::uint64_t mask = 0;
  std::memcpy(&mask, &waiting_mask, sizeof mask);
  if (mask != mask_ || runs_ == 1) {
    struct {
      std::uint32_t size = 8;
      std::uint8_t bytes[8]{};
    } set;
    std::memcpy(set.bytes, &mask, sizeof mask);
    if (const int done = kvm_call(vcpu_.value(), KVM_SET_SIGNAL_MASK, &set); done < 0) return done;
    mask_ = mask;
  }
  auto& shown = *reinterpret_cast<abi::Message*>(page_ + abi::intercept_page_offset);  // SAFETY: as the register page
  bool done = false;
  int result = run_->request_interrupt_window != 0 ? look_at_window(shown, done) : 0;
  while (!done && result == 0) result = enter(shown, done);
  registers_->valid = 0;  // after EINTR: allowed, and it keeps kicks cheap
  if (result != 0) return result;
  show_page();
  std::memcpy(message, &shown, sizeof shown);
  return 0;
}

/// Somebody wants to know when an interrupt can be taken. KVM says so of a processor that it has just run: of one that
/// was changed, or waits in HLT, it does not. So it is run for no time first.
int Vp::look_at_window(abi::Message& message, bool& done) {
  run_->immediate_exit = 1;
  const int result = kvm_call(vcpu_.value(), KVM_RUN, 0UL);
  if (result == -EAGAIN) return 0;
  if (result != -EINTR) return result < 0 ? result : -EIO;
  done = run_->ready_for_interrupt_injection != 0;
  if (done) tell_window(message);
  return 0;
}

void Vp::tell_window(abi::Message& message) {
  run_->request_interrupt_window = 0;
  RegisterFile file(vcpu_.value(), false, tsc_ahead_, *run_);
  abi::DeliverableMessage told{};
  told.header.vp_index = index_;
  told.header.rip = file.regs().rip;
  told.header.rflags = file.regs().rflags;
  told.header.cs = to_message(file.sregs().cs);
  describe(message, abi::MessageType::interruption_deliverable, &told, sizeof told);
}

int Vp::enter(abi::Message& message, bool& done) {
  run_->immediate_exit = 0;
  const int result = kvm_call(vcpu_.value(), KVM_RUN, 0UL);
  if (result == -EAGAIN) return 0;  // woken by an INIT or a startup IPI
  if (result < 0) return result;
  done = true;
  switch (run_->exit_reason) {
    case KVM_EXIT_IO:
      return port(message);
    case KVM_EXIT_MMIO:
      return memory(message);
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
      return msr(message, done);
    case KVM_EXIT_IOAPIC_EOI: {
      const abi::EoiMessage eoi{index_, run_->eoi.vector};
      done = !partition_->end_of_interrupt(eoi.vector);
      if (done) describe(message, abi::MessageType::apic_eoi, &eoi, sizeof eoi);
      return 0;
    }
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      tell_window(message);
      return 0;
    case KVM_EXIT_INTERNAL_ERROR:
      return internal_error(message);
    case KVM_EXIT_HLT:
    case KVM_EXIT_SHUTDOWN: {
      RegisterFile file(vcpu_.value(), false, tsc_ahead_, *run_);
      abi::InterceptHeader header{};
      header.vp_index = index_;
      header.rip = file.regs().rip;
      header.rflags = file.regs().rflags;
      header.cs = to_message(file.sregs().cs);
      const bool halted = run_->exit_reason == KVM_EXIT_HLT;
      describe(message, halted ? abi::MessageType::halt : abi::MessageType::unrecoverable_exception, &header,
               sizeof header);
      return 0;
    }
    case KVM_EXIT_FAIL_ENTRY: {
      const abi::InvalidRegisterMessage invalid{index_, 0};
      describe(message, abi::MessageType::invalid_vp_register, &invalid, sizeof invalid);
      return 0;
    }
    default:
      done = false;
      return 0;
  }
}

void Vp::describe(abi::Message& message, abi::MessageType type, const void* payload, std::size_t size) const {
  message = {};
  message.type = static_cast<std::uint32_t>(type);
  message.payload_size = static_cast<std::uint8_t>(size);
  std::memcpy(message.payload, payload, size);
}

int Vp::apply_cpuid() {
  const unsigned version = partition_->cpuid_version();
  if (version == cpuid_version_) return 0;
  const auto entries = partition_->cpuid(index_);
  std::vector<std::uint64_t> storage((sizeof(kvm_cpuid2) + entries.size() * sizeof(kvm_cpuid_entry2) + 7) / 8);
  // SAFETY: aligned, zeroed and large enough; plain kernel structures.
  auto* const header = reinterpret_cast<kvm_cpuid2*>(storage.data());
  header->nent = static_cast<std::uint32_t>(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    auto& to = header->entries[i];
    to.function = entries[i].leaf;
    to.index = entries[i].subleaf;
    to.flags = entries[i].significant ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    to.eax = entries[i].eax, to.ebx = entries[i].ebx, to.ecx = entries[i].ecx, to.edx = entries[i].edx;
  }
  const int done = kvm_call(vcpu_.value(), KVM_SET_CPUID2, header);
  if (done == 0) cpuid_version_ = version;
  return done;
}

}  // namespace trivet::mshv_sim
