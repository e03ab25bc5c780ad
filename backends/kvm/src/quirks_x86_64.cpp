// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include <trivet/core/unique_fd.hpp>

#include "abi.hpp"
#include "ioctl.hpp"
#include "mapping.hpp"
#include "quirks.hpp"

namespace trivet::kvm {
namespace {

constexpr std::size_t memory_size = 0x2000;
constexpr std::uint64_t code_at = 0x1000;
constexpr std::uint64_t watched = 0x1800;
constexpr std::uint16_t halt_at = 0x1100;
constexpr std::uint64_t dr7_write_0 = 0x10401;  // breakpoint 0, one byte, on writes
constexpr std::uint32_t msr_tsc = 0x10;

/// A VM whose vCPU halts at every interrupt or exception: what does not stop for the debugger comes back as a halt.
class Probe {
 public:
  static Result<Probe> create(int kvm_fd, std::size_t run_size) {
    TRIVET_ASSIGN(const int vm, call(kvm_fd, TRIVET_KVM_REQUEST(KVM_CREATE_VM, void)));
    UniqueFd vm_fd(vm);
    TRIVET_ASSIGN(auto memory, Mapping::create(-1, 0, memory_size, "the probe's memory"));
    kvm_userspace_memory_region slot{};
    slot.memory_size = memory_size;
    // SAFETY: the kernel takes the address as a number.
    slot.userspace_addr = reinterpret_cast<std::uintptr_t>(memory.data());
    TRIVET_TRY(call(vm, TRIVET_KVM_REQUEST(KVM_SET_USER_MEMORY_REGION, kvm_userspace_memory_region), &slot));
    TRIVET_ASSIGN(const int vcpu, call(vm, TRIVET_KVM_REQUEST(KVM_CREATE_VCPU, void)));
    UniqueFd vcpu_fd(vcpu);
    TRIVET_ASSIGN(auto run, Mapping::create(vcpu, 0, run_size, "the probe's shared page"));
    return Probe(std::move(vm_fd), std::move(memory), std::move(vcpu_fd), std::move(run));
  }

  /// Whether the guest stops for the debugger while it runs `code`.
  bool stops(std::span<const std::uint8_t> code, const kvm_guest_debug& wanted) {
    for (std::size_t vector = 0; vector < 32; ++vector) put(vector * 4, std::array<std::uint8_t, 4>{0x00, 0x11, 0, 0});
    put(halt_at, std::array<std::uint8_t, 1>{0xf4});
    put(code_at, code);
    kvm_sregs system{};
    if (!call(vcpu_.value(), TRIVET_KVM_REQUEST(KVM_GET_SREGS, kvm_sregs), &system)) return false;
    for (auto* segment : {&system.cs, &system.ds, &system.ss}) segment->base = segment->selector = 0;
    if (!call(vcpu_.value(), TRIVET_KVM_REQUEST(KVM_SET_SREGS, kvm_sregs), &system)) return false;
    kvm_regs general{};
    general.rip = code_at;
    general.rsp = 0x1f00;
    general.rflags = 2;
    if (!call(vcpu_.value(), TRIVET_KVM_REQUEST(KVM_SET_REGS, kvm_regs), &general)) return false;
    auto debug = wanted;
    if (!call(vcpu_.value(), TRIVET_KVM_REQUEST(KVM_SET_GUEST_DEBUG, kvm_guest_debug), &debug)) return false;
    if (::ioctl(vcpu_.value(), KVM_RUN, 0) != 0) return false;
    // SAFETY: the kernel's shared page begins with this struct.
    return reinterpret_cast<const kvm_run*>(run_.data())->exit_reason == KVM_EXIT_DEBUG;
  }

  bool moves_tsc() {
    constexpr std::uint64_t ahead = std::uint64_t{1} << 50;
    MsrBuffer buffer(1);
    const auto transfer = [&](auto request) {
      buffer.header()->nmsrs = 1;
      buffer.elements()[0].index = msr_tsc;
      const auto done = call(vcpu_.value(), request, buffer.header());
      return done && *done == 1;
    };
    if (!transfer(TRIVET_KVM_REQUEST(KVM_GET_MSRS, kvm_msrs))) return false;
    const auto wanted = buffer.elements()[0].data + ahead;
    buffer.elements()[0].data = wanted;
    if (!transfer(TRIVET_KVM_REQUEST(KVM_SET_MSRS, kvm_msrs))) return false;
    return transfer(TRIVET_KVM_REQUEST(KVM_GET_MSRS, kvm_msrs)) && buffer.elements()[0].data >= wanted;
  }

 private:
  Probe(UniqueFd vm, Mapping memory, UniqueFd vcpu, Mapping run) noexcept
      : memory_(std::move(memory)), vm_(std::move(vm)), run_(std::move(run)), vcpu_(std::move(vcpu)) {}

  void put(std::size_t at, std::span<const std::uint8_t> bytes) {
    std::memcpy(memory_.data() + at, bytes.data(), bytes.size());
  }

  Mapping memory_;  // outlives the VM that uses it
  UniqueFd vm_;
  Mapping run_;
  UniqueFd vcpu_;
};

}  // namespace

Quirks probe_quirks(int kvm_fd, std::size_t run_size) noexcept {
  Quirks quirks;
  constexpr std::array<std::uint8_t, 2> breakpoint{0xcc, 0xf4};                           // int3; hlt
  constexpr std::array<std::uint8_t, 4> write{0xa2, watched & 0xff, watched >> 8, 0xf4};  // mov [watched], al; hlt
  // A fresh VM each: what one try leaves pending must not reach the next.
  if (auto probe = Probe::create(kvm_fd, run_size)) {
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    quirks.software_breakpoints = probe->stops(breakpoint, debug);
  }
  if (auto probe = Probe::create(kvm_fd, run_size)) {
    kvm_guest_debug debug{};
    debug.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    debug.arch.debugreg[0] = watched;
    debug.arch.debugreg[7] = dr7_write_0;
    quirks.watchpoints = probe->stops(write, debug);
  }
  if (auto probe = Probe::create(kvm_fd, run_size)) quirks.settable_tsc = probe->moves_tsc();
  return quirks;
}

}  // namespace trivet::kvm
