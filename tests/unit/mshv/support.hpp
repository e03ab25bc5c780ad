// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest of a few bytes on the simulator, and a bus that remembers.
#pragma once

#include <array>
#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <gtest/gtest.h>
#include <initializer_list>
#include <memory>
#include <string>
#include <sys/mman.h>
#include <vector>

#include <trivet/mshv/backend.hpp>
#include <trivet/mshv_sim/simulator.hpp>

namespace trivet::mshv::test {

constexpr std::uint64_t ram_size = 0x10000;
constexpr std::uint64_t code_at = 0x1000;

struct Bus final : IoHandler {
  std::vector<std::string> trace;
  std::vector<unsigned> ended;
  std::function<void(std::uint16_t port)> on_write;
  std::uint64_t answer = 0x1122334455667788;

  static std::uint64_t value(ConstBytes data) {
    std::uint64_t v = 0;
    std::memcpy(&v, data.data(), data.size());
    return v;
  }
  void pio_read(std::uint16_t port, Bytes data) noexcept override {
    std::memcpy(data.data(), &answer, data.size());
    trace.push_back(fmt::format("in {:x} {}", port, data.size()));
  }
  void pio_write(std::uint16_t port, ConstBytes data) noexcept override {
    trace.push_back(fmt::format("out {:x} {} {:x}", port, data.size(), value(data)));
    if (on_write) on_write(port);
  }
  void mmio_read(GuestAddress at, Bytes data) noexcept override {
    std::memcpy(data.data(), &answer, data.size());
    trace.push_back(fmt::format("load {:x} {}", at.value, data.size()));
  }
  void mmio_write(GuestAddress at, ConstBytes data, Posted) noexcept override {
    trace.push_back(fmt::format("store {:x} {} {:x}", at.value, data.size(), value(data)));
  }
  void end_of_interrupt(std::uint8_t vector) noexcept override { ended.push_back(vector); }
};

/// 64 KiB at 0, anonymous and shared with the guest.
class Ram {
 public:
  Ram()
      : bytes_(static_cast<std::byte*>(
            ::mmap(nullptr, ram_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Ram() { ::munmap(bytes_, ram_size); }
  Ram(const Ram&) = delete;
  Ram& operator=(const Ram&) = delete;
  [[nodiscard]] std::byte* at(std::uint64_t offset) const { return bytes_ + offset; }
  void put(std::uint64_t offset, std::initializer_list<int> code) const {
    for (const int byte : code) bytes_[offset++] = static_cast<std::byte>(byte);
  }

 private:
  std::byte* bytes_;
};

inline bool has_kvm() {
  return ::access("/dev/kvm", R_OK | W_OK) == 0;
}
#define TRIVET_NEEDS_KVM() \
  if (!trivet::mshv::test::has_kvm()) GTEST_SKIP() << "/dev/kvm is missing or closed: the simulator runs on it"

/// One vCPU in 16-bit real mode at `code_at`, with flat segments of base 0.
struct Machine {
  explicit Machine(const mshv_sim::Knobs& knobs = {}, IrqchipKind irqchip = IrqchipKind::none) : simulator(knobs) {
    hypervisor = must(backend(simulator.system())->open());
    VmConfig config;
    config.irqchip = irqchip;
    vm = must(hypervisor->create(config));
    must_do(vm->map({{{0}, ram_size}, HostMemory{ram.at(0)}}));
    vcpu = must(vm->create_vcpu(0));
    auto system = must(vcpu->system_registers());
    system.cs.base = 0;
    system.cs.selector = 0;
    must_do(vcpu->set_system_registers(system));
    GeneralRegisters registers;
    registers.rip = code_at;
    registers.rsp = 0x8000;
    must_do(vcpu->set_registers(registers));
  }

  template <class T>
  static T must(Result<T> result) {
    EXPECT_TRUE(result) << (result ? "" : to_string(result.error()));
    if (!result) std::abort();
    return std::move(*result);
  }
  template <class T>
  static void must_do(Result<T> result) {
    EXPECT_TRUE(result) << (result ? "" : to_string(result.error()));
    if (!result) std::abort();
  }

  /// 32-bit protected mode with flat segments, and a GDT at 0x500 that says so.
  void protect() {
    ram.put(0x508, {0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0});
    auto system = must(vcpu->system_registers());
    const Segment data{0, 0xffffffff, 0x10, 3, 0, true, true, false, false, true, true, false};
    system.ds = system.es = system.ss = system.fs = system.gs = data;
    system.cs = data;
    system.cs.selector = 8;
    system.cs.type = 0xb;
    system.gdt = {0x500, 0x17};
    system.idt = {0x3000, 0x7ff};
    system.cr0 |= 1;
    must_do(vcpu->set_system_registers(system));
  }

  Exit run() { return must(vm->runners().front()->run(bus)); }

  mshv_sim::Simulator simulator;
  Ram ram;
  Bus bus;
  std::unique_ptr<Hypervisor> hypervisor;
  std::unique_ptr<Vm> vm;
  Vcpu* vcpu = nullptr;
};

}  // namespace trivet::mshv::test
