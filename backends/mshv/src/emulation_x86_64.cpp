// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What the instruction emulator sees of a virtual processor.
#include <algorithm>
#include <array>
#include <cstring>

#include "hypercall.hpp"
#include "registers_x86_64.hpp"
#include "runner.hpp"

namespace trivet::mshv {
namespace {

namespace reg = abi::reg;
using emulator::CpuState;

constexpr std::uint64_t flag_trap = 1U << 8, flag_vm = 1U << 17;
constexpr std::uint8_t page_fault = 14;
constexpr unsigned page_xmms = 6;

/// The map is let go while a device works: it may wait for somebody who waits for us.
class QuietIo final : public IoHandler {
 public:
  QuietIo(IoHandler& io, Memory::View& view) noexcept : io_(io), view_(view) {}
  void pio_read(std::uint16_t port, Bytes data) noexcept override { quiet().pio_read(port, data); }
  void pio_write(std::uint16_t port, ConstBytes data) noexcept override { quiet().pio_write(port, data); }
  void mmio_read(GuestAddress at, Bytes data) noexcept override { quiet().mmio_read(at, data); }
  void mmio_write(GuestAddress at, ConstBytes data, Posted posted) noexcept override {
    quiet().mmio_write(at, data, posted);
  }

 private:
  IoHandler& quiet() noexcept {
    view_.let_go();
    return io_;
  }
  IoHandler& io_;
  Memory::View& view_;
};

/// Does the instruction want registers that the page does not have: MOV to a segment register?
bool loads_a_segment(const intercepts::Instruction& instruction) {
  if (instruction.byte_count == 0) return true;  // not told
  constexpr std::array prefixes{0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
  for (std::size_t i = 0; i < instruction.byte_count; ++i) {
    const auto byte = std::to_integer<int>(instruction.bytes[i]);
    if (std::find(prefixes.begin(), prefixes.end(), byte) != prefixes.end()) continue;
    if (instruction.long_mode_code && (byte & 0xf0) == 0x40) continue;
    return byte == 0x8e;
  }
  return true;
}

}  // namespace

class VpRunner::Cpu final : public emulator::Cpu {
 public:
  Cpu(MshvVcpu& vcpu, Memory::View& view) noexcept : vcpu_(vcpu), view_(view) {}

  std::byte* ram(GuestAddress at, bool write) noexcept override { return view_.find(at, write); }
  void wrote(GuestAddress at, std::size_t /*bytes*/) noexcept override { view_.wrote(at); }
  bool read_xmm(unsigned index, emulator::Xmm& value) noexcept override {
    abi::RegisterValue found{};
    const auto* const page = index < page_xmms ? vcpu_.page() : nullptr;
    if (page != nullptr) {
      found = page->xmm[index];
    } else {
      const std::uint32_t name = reg::xmm0 + index;
      if (!vcpu_.read({&name, 1}, {&found, 1})) return false;
    }
    std::memcpy(value.data(), &found, value.size());
    return true;
  }
  bool write_xmm(unsigned index, const emulator::Xmm& value) noexcept override {
    abi::RegisterValue wanted{};
    std::memcpy(&wanted, value.data(), value.size());
    if (auto* const page = index < page_xmms ? vcpu_.page() : nullptr; page != nullptr) {
      page->xmm[index] = wanted;
      page->dirty |= abi::dirty_xmm;
      return true;
    }
    const auto assignment = assign(reg::xmm0 + index, wanted.low, wanted.high);
    return vcpu_.write({&assignment, 1}).has_value();
  }

 private:
  MshvVcpu& vcpu_;
  Memory::View& view_;
};

Result<void> VpRunner::load_from_page(CpuState& state, const abi::RegisterPage& page) const {
  std::copy(std::begin(page.gp), std::end(page.gp), state.gp.begin());
  state.rip = page.rip;
  state.rflags = page.rflags;
  for (std::size_t i = 0; i < state.segments.size(); ++i) state.segments[i] = from_hypervisor(page.segments[i]);
  state.cr0 = page.cr0, state.cr3 = page.cr3, state.cr4 = page.cr4, state.efer = page.efer;
  return {};
}

/// From the register page while it is valid, and by hypercall what is not on it.
Result<void> VpRunner::load(CpuState& state, bool everything) const {
  constexpr std::size_t first_extra = 28, all = 33;
  std::array<std::uint32_t, all> names{};
  for (std::uint32_t i = 0; i < 18; ++i) names[i] = reg::rax + i;
  for (std::uint32_t i = 0; i < 6; ++i) names[18 + i] = reg::es + i;
  constexpr std::array<std::uint32_t, 9> rest{reg::cr0,  reg::cr3,  reg::cr4, reg::efer, reg::tr,
                                              reg::ldtr, reg::gdtr, reg::cr2, reg::dr6};
  std::copy(rest.begin(), rest.end(), names.begin() + 24);
  std::array<abi::RegisterValue, all> values{};
  const auto* const page = vcpu_.page();
  const std::size_t from = page != nullptr ? first_extra : 0;
  const std::size_t to = everything ? all : first_extra;
  if (page != nullptr) TRIVET_TRY(load_from_page(state, *page));
  if (from < to) {
    TRIVET_TRY(vcpu_.read(std::span(names).subspan(from, to - from), std::span(values).subspan(from, to - from)));
  }
  if (page == nullptr) {
    for (std::size_t i = 0; i < 16; ++i) state.gp[i] = values[i].low;
    state.rip = values[16].low, state.rflags = values[17].low;
    for (std::size_t i = 0; i < 6; ++i) state.segments[i] = segment_of(values[18 + i]);
    state.cr0 = values[24].low, state.cr3 = values[25].low, state.cr4 = values[26].low, state.efer = values[27].low;
  }
  if (!everything) return {};
  state.tr = segment_of(values[28]), state.ldt = segment_of(values[29]), state.gdt = table_of(values[30]);
  state.cr2 = values[31].low, state.dr6 = values[32].low;
  return {};
}

/// Only what the instruction changed.
Result<void> VpRunner::store(const CpuState& before, const CpuState& after) const {
  std::array<abi::RegisterAssignment, 26> changed{};
  std::size_t count = 0;
  const auto put = [&](std::uint32_t name, std::uint64_t low, std::uint64_t high = 0) {
    changed[count++] = assign(name, low, high);
  };
  if (auto* const page = vcpu_.page(); page != nullptr) {
    std::copy(after.gp.begin(), after.gp.end(), std::begin(page->gp));
    page->rip = after.rip;
    page->rflags = after.rflags;
    page->dirty |= abi::dirty_gp | abi::dirty_ip | abi::dirty_flags;
    if (after.segments != before.segments) {
      for (std::size_t i = 0; i < after.segments.size(); ++i) page->segments[i] = to_hypervisor(after.segments[i]);
      page->dirty |= abi::dirty_segments;
    }
  } else {
    for (std::uint32_t i = 0; i < 16; ++i)
      if (after.gp[i] != before.gp[i]) put(reg::rax + i, after.gp[i]);
    if (after.rip != before.rip) put(reg::rip, after.rip);
    if (after.rflags != before.rflags) put(reg::rflags, after.rflags);
    for (std::uint32_t i = 0; i < 6; ++i) {
      if (after.segments[i] == before.segments[i]) continue;
      const auto value = value_of(after.segments[i]);
      put(reg::es + i, value.low, value.high);
    }
  }
  if (after.cr2 != before.cr2) put(reg::cr2, after.cr2);
  if (after.dr6 != before.dr6) put(reg::dr6, after.dr6);
  if (count == 0) return {};
  return vcpu_.write(std::span(changed).first(count));
}

/// The shadow of the instruction before is over, or a new one begins.
Result<void> VpRunner::finish(const intercepts::Instruction& instruction, const emulator::Outcome& outcome) const {
  if (instruction.interrupt_shadow == outcome.interrupt_shadow) return {};
  const std::uint32_t name = reg::interrupt_state;
  abi::RegisterValue state{};
  TRIVET_TRY(vcpu_.read({&name, 1}, {&state, 1}));
  const auto next = assign(name, (state.low & ~std::uint64_t{1}) | (outcome.interrupt_shadow ? 1 : 0));
  return vcpu_.write({&next, 1});
}

Result<VpRunner::Found> VpRunner::emulate(const intercepts::Instruction& instruction, IoHandler& io) {
  const bool everything = (instruction.rflags & (flag_trap | flag_vm)) != 0 || loads_a_segment(instruction) ||
                          (message_.type == static_cast<std::uint32_t>(abi::MessageType::io_port));
  CpuState state;
  TRIVET_TRY(load(state, everything));
  const CpuState before = state;
  Cpu cpu(vcpu_, view_);
  QuietIo quiet(io, view_);
  // Bytes that were fetched for another RIP are not believed.
  const std::size_t bytes = instruction.rip == state.rip ? instruction.byte_count : 0;
  const auto outcome = emulator_.run(state, cpu, quiet, std::span(instruction.bytes).first(bytes));
  view_.let_go();
  switch (outcome.kind) {
    case emulator::Outcome::Kind::done:
      TRIVET_TRY(store(before, state));
      TRIVET_TRY(finish(instruction, outcome));
      return Found{};
    case emulator::Outcome::Kind::again:  // it is stopped at the same instruction once more, after kicks were seen
      TRIVET_TRY(store(before, state));
      return Found{};
    case emulator::Outcome::Kind::exception: {
      TRIVET_TRY(store(before, state));
      std::array deliver{assign(reg::pending_interruption, interruption_of(outcome.exception)),
                         assign(reg::cr2, state.cr2)};
      TRIVET_TRY(vcpu_.write(std::span(deliver).first(outcome.exception.vector == page_fault ? 2 : 1)));
      return Found{};
    }
    case emulator::Outcome::Kind::host_failure:
      return Error(Errc::hypervisor, "emulate an instruction", "a register cannot be read or written", Blame::host);
    case emulator::Outcome::Kind::unsupported:
    case emulator::Outcome::Kind::not_in_ram:
      break;
  }
  exits::EmulationFailure failure;
  failure.instruction_pointer = state.rip;
  failure.length = outcome.length;
  failure.bytes = outcome.bytes;
  return Found{failure};
}

}  // namespace trivet::mshv
