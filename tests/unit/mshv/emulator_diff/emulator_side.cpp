// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstring>

#include <trivet/core/io_handler.hpp>
#include <trivet/mshv/emulator/emulator.hpp>

#include "sides.hpp"

namespace diff {
namespace {

namespace emu = trivet::mshv::emulator;

class EmulatorSide final : public Side, emu::Cpu, trivet::IoHandler {
 public:
  EmulatorSide() : bytes_(memory_size), emulator_({.repeat_limit = 7}) { build_tables(bytes_); }

  [[nodiscard]] Memory memory() override { return bytes_; }

  Result run(const Case& test) override {
    fill_memory(test, bytes_);
    device_.reset(test);
    xmm_ = test.xmm;
    auto state = start(test);
    emu::Outcome outcome;
    int rounds = 0;
    do {
      outcome = emulator_.run(state, *this, *this);
    } while (outcome.kind == emu::Outcome::Kind::again && ++rounds < 100'000);
    return finish(state, outcome);
  }

 private:
  static emu::CpuState start(const Case& test) {
    emu::CpuState state;
    state.gp = test.gp;
    state.rip = test.rip;
    state.rflags = test.rflags;
    const auto& system = test.system;
    state.segments = {system.es, system.cs, system.ss, system.ds, system.fs, system.gs};
    state.tr = system.tr;
    state.ldt = system.ldt;
    state.gdt = system.gdt;
    state.cr0 = system.cr0, state.cr2 = system.cr2, state.cr3 = system.cr3, state.cr4 = system.cr4;
    state.efer = system.efer;
    return state;
  }

  Result finish(const emu::CpuState& state, const emu::Outcome& outcome) {
    Result result;
    result.gp = state.gp;
    result.rip = state.rip;
    result.rflags = state.rflags;
    result.cr2 = state.cr2;
    result.xmm = xmm_;
    result.trace = device_.trace();
    for (std::size_t i = 0; i < 6; ++i) {
      result.selectors[i] = state.segments[i].selector;
      result.bases[i] = state.segments[i].base;
    }
    switch (outcome.kind) {
      case emu::Outcome::Kind::done:
        result.kind = Result::Kind::done;
        break;
      case emu::Outcome::Kind::exception:
        result.kind = Result::Kind::exception;
        result.vector = outcome.exception.vector;
        if (outcome.exception.has_error_code) result.error_code = outcome.exception.error_code;
        break;
      case emu::Outcome::Kind::unsupported:
        result.kind = Result::Kind::refused;
        break;
      default:
        result.note = emu::to_string(outcome.kind);
        break;
    }
    return result;
  }

  std::byte* ram(trivet::GuestAddress at, bool write) noexcept override {
    if (at.value >= memory_size || is_device(at.value) || (write && is_rom(at.value))) return nullptr;
    return bytes_.data() + at.value;
  }
  bool read_xmm(unsigned index, emu::Xmm& value) noexcept override {
    value = xmm_[index];
    return true;
  }
  bool write_xmm(unsigned index, const emu::Xmm& value) noexcept override {
    xmm_[index] = value;
    return true;
  }

  void pio_read(std::uint16_t port, trivet::Bytes data) noexcept override { read(Touch::in, port, data); }
  void pio_write(std::uint16_t port, trivet::ConstBytes data) noexcept override { write(Touch::out, port, data); }
  void mmio_read(trivet::GuestAddress at, trivet::Bytes data) noexcept override { read(Touch::load, at.value, data); }
  void mmio_write(trivet::GuestAddress at, trivet::ConstBytes data, trivet::Posted) noexcept override {
    write(Touch::store, at.value, data);
  }
  void read(Touch::Kind kind, std::uint64_t at, trivet::Bytes data) {
    const std::uint64_t value = device_.read(kind, at, data.size());
    std::memcpy(data.data(), &value, data.size());
  }
  void write(Touch::Kind kind, std::uint64_t at, trivet::ConstBytes data) {
    std::uint64_t value = 0;
    std::memcpy(&value, data.data(), data.size());
    device_.write(kind, at, data.size(), value);
  }

  std::vector<std::byte> bytes_;
  emu::Emulator emulator_;
  Device device_;
  std::array<Xmm, 16> xmm_{};
};

}  // namespace

std::unique_ptr<Side> emulator_side() {
  return std::make_unique<EmulatorSide>();
}

}  // namespace diff
