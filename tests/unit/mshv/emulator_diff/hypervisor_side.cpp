// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstring>
#include <sys/mman.h>
#include <variant>

#include <trivet/core/io_handler.hpp>
#include <trivet/core/vm.hpp>

#include "sides.hpp"

namespace diff {
namespace {

/// The bus of a case: the device, and the port that ends it.
class Bus final : public trivet::IoHandler {
 public:
  Device device;
  trivet::Kicker* kicker = nullptr;
  bool ended = false;

  void pio_read(std::uint16_t port, trivet::Bytes data) noexcept override { read(Touch::in, port, data); }
  void pio_write(std::uint16_t port, trivet::ConstBytes data) noexcept override {
    if (port == end_port) {
      ended = true;
      kicker->kick();
      return;
    }
    write(Touch::out, port, data);
  }
  void mmio_read(trivet::GuestAddress at, trivet::Bytes data) noexcept override { read(Touch::load, at.value, data); }
  void mmio_write(trivet::GuestAddress at, trivet::ConstBytes data, trivet::Posted) noexcept override {
    write(Touch::store, at.value, data);
  }

 private:
  void read(Touch::Kind kind, std::uint64_t at, trivet::Bytes data) {
    guard();
    const std::uint64_t value = device.read(kind, at, data.size());
    std::memcpy(data.data(), &value, data.size());
  }
  void write(Touch::Kind kind, std::uint64_t at, trivet::ConstBytes data) {
    guard();
    std::uint64_t value = 0;
    std::memcpy(&value, data.data(), data.size());
    device.write(kind, at, data.size(), value);
  }
  /// A guest that does not stop is stopped.
  void guard() {
    if (device.trace().size() > 1000) kicker->kick();
  }
};

constexpr std::size_t xmm_offset = 160;
constexpr std::size_t xstate_bv_offset = 512;

}  // namespace

struct HypervisorSide::Impl {
  std::unique_ptr<trivet::Vm> vm;
  trivet::Vcpu* vcpu = nullptr;
  std::byte* host = nullptr;
  trivet::SystemRegisters fresh;
  trivet::SystemRegisters last;
  trivet::Xsave xsave;
  Bus bus;

  ~Impl() {
    vm.reset();
    if (host != nullptr) ::munmap(host, memory_size);
  }

  trivet::Result<void> map(std::uint64_t from, std::uint64_t to, trivet::Access access) {
    const trivet::RegionSpec spec{
        .range = {{from}, to - from}, .source = trivet::HostMemory{host + from}, .access = access};
    TRIVET_TRY(vm->map(spec));
    return {};
  }

  trivet::Result<void> start(const Case& test) {
    if (test.system != last) {
      TRIVET_TRY(vcpu->set_system_registers(test.system));
      last = test.system;
    }
    trivet::GeneralRegisters registers;
    const auto& gp = test.gp;
    registers.rax = gp[0], registers.rcx = gp[1], registers.rdx = gp[2], registers.rbx = gp[3];
    registers.rsp = gp[4], registers.rbp = gp[5], registers.rsi = gp[6], registers.rdi = gp[7];
    registers.r8 = gp[8], registers.r9 = gp[9], registers.r10 = gp[10], registers.r11 = gp[11];
    registers.r12 = gp[12], registers.r13 = gp[13], registers.r14 = gp[14], registers.r15 = gp[15];
    registers.rip = test.rip;
    registers.rflags = test.rflags;
    TRIVET_TRY(vcpu->set_registers(registers));
    if (!test.uses_xmm) return {};
    std::memcpy(xsave.area.data() + xmm_offset, test.xmm.data(), sizeof test.xmm);
    xsave.area[xstate_bv_offset] |= 3;
    trivet::VcpuState state;
    state.xsave = xsave;
    return vcpu->restore(state);
  }

  trivet::Result<void> finish(const Case& test, const trivet::Exit& exit, Result& result) {
    TRIVET_ASSIGN(const auto registers, vcpu->registers());
    result.gp = {registers.rax, registers.rcx, registers.rdx, registers.rbx, registers.rsp, registers.rbp,
                 registers.rsi, registers.rdi, registers.r8,  registers.r9,  registers.r10, registers.r11,
                 registers.r12, registers.r13, registers.r14, registers.r15};
    result.rip = registers.rip;
    result.rflags = registers.rflags;
    result.trace = bus.device.trace();
    TRIVET_ASSIGN(const auto system, vcpu->system_registers());
    last = system;
    result.cr2 = system.cr2;
    const std::array segments{&system.es, &system.cs, &system.ss, &system.ds, &system.fs, &system.gs};
    for (std::size_t i = 0; i < 6; ++i)
      result.selectors[i] = segments[i]->selector, result.bases[i] = segments[i]->base;
    if (test.uses_xmm) {
      TRIVET_ASSIGN(const auto state, vcpu->save({trivet::StateElement::xsave}));
      if (state.xsave) std::memcpy(result.xmm.data(), state.xsave->area.data() + xmm_offset, sizeof result.xmm);
    }
    if (std::holds_alternative<trivet::exits::EmulationFailure>(exit)) {
      result.kind = Result::Kind::refused;
      return {};
    }
    const bool halted = std::holds_alternative<trivet::exits::Halted>(exit);
    if (!halted && !bus.ended) {
      result.note = std::string(trivet::name(exit));
      return {};
    }
    result.rip -= halted ? 1 : 2;
    const bool in_handler = result.rip >= handlers_at && result.rip < handlers_at + 16 * 32;
    result.kind = in_handler ? Result::Kind::exception : Result::Kind::done;
    if (in_handler) take_frame(test, system, result);
    return {};
  }

  /// What the processor pushed for the handler is what the program was.
  void take_frame(const Case& test, const trivet::SystemRegisters& system, Result& result) {
    result.vector = static_cast<unsigned>((result.rip - handlers_at) / 16);
    const bool long_mode = test.mode <= Mode::compat32;
    const std::size_t width = long_mode ? 8 : test.mode == Mode::real16 ? 2 : 4;
    std::uint64_t at = result.gp[4] + (long_mode ? 0 : system.ss.base);
    result.frame_low = at;
    const auto pull = [&] {
      std::uint64_t value = 0;
      if (at + width <= memory_size) std::memcpy(&value, host + at, width);
      at += width;
      return value;
    };
    const bool has_code = test.mode != Mode::real16 &&
                          (result.vector == 8 || result.vector == 17 || (result.vector >= 10 && result.vector <= 14));
    if (has_code) result.error_code = static_cast<std::uint32_t>(pull());
    result.rip = pull();
    (void)pull();
    const std::uint64_t flags = pull();
    result.rflags = width == 2 ? (test.rflags & ~std::uint64_t{0xffff}) | flags : flags;
    if (long_mode || test.user) {
      result.gp[4] = pull();
      result.frame_low = memory_size;
    } else {
      result.gp[4] = at - system.ss.base;
    }
  }
};

HypervisorSide::HypervisorSide(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HypervisorSide::~HypervisorSide() = default;
Memory HypervisorSide::memory() {
  return {impl_->host, memory_size};
}
const trivet::SystemRegisters& HypervisorSide::fresh() const {
  return impl_->fresh;
}

trivet::Result<std::unique_ptr<HypervisorSide>> HypervisorSide::create(trivet::Hypervisor& hypervisor) {
  auto impl = std::make_unique<Impl>();
  trivet::VmConfig config;
  config.irqchip = trivet::IrqchipKind::none;
  TRIVET_ASSIGN(impl->vm, hypervisor.create(config));
  void* const host = ::mmap(nullptr, memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (host == MAP_FAILED) return trivet::Error::from_errno(errno, "mmap", "memory for the guest");
  impl->host = static_cast<std::byte*>(host);
  build_tables({impl->host, memory_size});
  TRIVET_TRY(impl->map(0, device_at, trivet::Access::read_write));
  TRIVET_TRY(impl->map(device_end, rom_at, trivet::Access::read_write));
  TRIVET_TRY(impl->map(rom_at, rom_end, trivet::Access::read_only));
  TRIVET_TRY(impl->map(rom_end, memory_size, trivet::Access::read_write));
  TRIVET_ASSIGN(impl->vcpu, impl->vm->create_vcpu(0));
  TRIVET_ASSIGN(impl->fresh, impl->vcpu->system_registers());
  TRIVET_ASSIGN(auto state, impl->vcpu->save({trivet::StateElement::xsave}));
  if (state.xsave) impl->xsave = *state.xsave;
  impl->bus.kicker = &impl->vm->runners().front()->kicker();
  return std::unique_ptr<HypervisorSide>(new HypervisorSide(std::move(impl)));
}

Result HypervisorSide::run(const Case& test) {
  auto& impl = *impl_;
  Result result;
  fill_memory(test, memory());
  impl.bus.device.reset(test);
  impl.bus.ended = false;
  auto& runner = *impl.vm->runners().front();
  auto outcome = [&]() -> trivet::Result<void> {
    TRIVET_TRY(impl.start(test));
    TRIVET_ASSIGN(const auto exit, runner.run(impl.bus));
    TRIVET_TRY(runner.drain(impl.bus));
    return impl.finish(test, exit, result);
  }();
  if (!outcome) {
    result.kind = Result::Kind::broken;
    result.note = to_string(outcome.error());
  }
  return result;
}

}  // namespace diff
