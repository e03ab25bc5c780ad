// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <trivet/core/backend.hpp>
#include <trivet/core/io_handler.hpp>
#include <trivet/xen/backend.hpp>

namespace trivet::xen::test {

/// Fails the test with the error's sentence.
#define TRIVET_ASSERT_OK(expression)                                              \
  do {                                                                            \
    const auto& trivet_checked = (expression);                                    \
    ASSERT_TRUE(trivet_checked.has_value()) << to_string(trivet_checked.error()); \
  } while (false)
#define TRIVET_EXPECT_OK(expression)                                              \
  do {                                                                            \
    const auto& trivet_checked = (expression);                                    \
    EXPECT_TRUE(trivet_checked.has_value()) << to_string(trivet_checked.error()); \
  } while (false)

/// Expects an error of that code whose sentence contains `part`.
template <class T>
void expect_error(const Result<T>& result, Errc code, std::string_view part = {}) {
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), code) << to_string(result.error());
  EXPECT_NE(to_string(result.error()).find(part), std::string::npos) << to_string(result.error());
}

/// One access as a handler saw it.
struct Seen {
  enum Kind { pio_in, pio_out, load, store, posted, config_in, config_out } kind;
  std::uint64_t at;
  std::size_t size;
  std::uint64_t value;
  friend bool operator==(const Seen&, const Seen&) = default;
};
inline std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  constexpr std::array names{"in", "out", "load", "store", "posted", "config_in", "config_out"};
  return out << names[seen.kind] << " 0x" << std::hex << seen.at << "/" << seen.size << "=0x" << seen.value;
}

/// Writes down every access; answers reads with `answer`, or all ones. Configuration space: `at` is bdf << 16 | offset.
class Recorder final : public IoHandler {
 public:
  std::vector<Seen> seen;
  std::function<std::uint64_t(const Seen&)> answer;
  std::function<void(const Seen&)> on_access;
  int removed = 0;

  void pio_read(std::uint16_t port, Bytes data) noexcept override { read(Seen::pio_in, port, data); }
  void pio_write(std::uint16_t port, ConstBytes data) noexcept override { note(Seen::pio_out, port, data); }
  void mmio_read(GuestAddress at, Bytes data) noexcept override { read(Seen::load, at.value, data); }
  void mmio_write(GuestAddress at, ConstBytes data, Posted posted) noexcept override {
    note(posted == Posted::yes ? Seen::posted : Seen::store, at.value, data);
  }
  void pci_config_read(const PciAddress& function, std::uint16_t offset, Bytes data) noexcept override {
    read(Seen::config_in, std::uint64_t{function.bdf()} << 16 | offset, data);
  }
  void pci_config_write(const PciAddress& function, std::uint16_t offset, ConstBytes data) noexcept override {
    note(Seen::config_out, std::uint64_t{function.bdf()} << 16 | offset, data);
  }
  void pages_removed() noexcept override { ++removed; }

 private:
  void read(Seen::Kind kind, std::uint64_t at, Bytes data) {
    const std::uint64_t value = answer ? answer({kind, at, data.size(), 0}) : ~std::uint64_t{0};
    std::memcpy(data.data(), &value, data.size());
    note(kind, at, data);
  }
  void note(Seen::Kind kind, std::uint64_t at, ConstBytes data) {
    std::uint64_t value = 0;
    std::memcpy(&value, data.data(), data.size());
    seen.push_back({kind, at, data.size(), value});
    if (on_access) on_access(seen.back());
  }
};

using Code = std::vector<std::uint8_t>;

/// Tests that need Xen; skipped with the probe's reason where there is none.
class XenTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t code_at = 0x1000;
  static constexpr std::uint64_t ram_size = 1 << 20;
  static constexpr std::uint16_t done_port = 0x500;  ///< a guest that writes here is stopped, see `run_to_mark`

  void SetUp() override {
    const auto backend = xen::backend();
    if (const auto probe = backend->probe(); !probe.usable) GTEST_SKIP() << probe.reason;
    auto opened = backend->open();
    TRIVET_ASSERT_OK(opened);
    hypervisor = std::move(*opened);
  }

  /// A VM with memory at 0, and ports 0x500 to 0x5ff claimed.
  void make_vm(IrqchipKind irqchip = IrqchipKind::split, unsigned vcpus = 1, bool log_dirty = false) {
    VmConfig config;
    config.irqchip = irqchip;
    config.max_vcpus = vcpus;
    auto made = hypervisor->create(config);
    TRIVET_ASSERT_OK(made);
    vm = std::move(*made);
    RegionSpec spec{{{0}, ram_size}, HypervisorMemory{}};
    spec.log_dirty = log_dirty;
    auto mapped = vm->map(spec);
    TRIVET_ASSERT_OK(mapped);
    ram = mapped->host;
    ASSERT_NE(vm->io_claims(), nullptr);
    TRIVET_ASSERT_OK(vm->io_claims()->claim_ports(done_port, 0x100));
  }

  void put(std::uint64_t at, const Code& bytes) const { std::memcpy(ram + at, bytes.data(), bytes.size()); }
  [[nodiscard]] std::uint32_t word(std::uint64_t at) const {
    std::uint32_t value = 0;
    std::memcpy(&value, ram + at, sizeof value);
    return value;
  }

  /// vCPU `index`, at `at` in real mode.
  void make_vcpu(unsigned index = 0, std::uint64_t at = code_at) {
    auto made = vm->create_vcpu(index);
    TRIVET_ASSERT_OK(made);
    start_at(**made, at);
  }

  static void start_at(Vcpu& vcpu, std::uint64_t at) {
    auto system = vcpu.system_registers();
    TRIVET_ASSERT_OK(system);
    for (auto* segment : {&system->cs, &system->ds, &system->es, &system->ss}) segment->base = 0, segment->selector = 0;
    TRIVET_ASSERT_OK(vcpu.set_system_registers(*system));
    GeneralRegisters registers;
    registers.rip = at;
    registers.rsp = 0x8000;
    TRIVET_ASSERT_OK(vcpu.set_registers(registers));
  }

  /// Flat 32-bit segments, no paging.
  static void make_protected(SystemRegisters& system) {
    Segment flat;
    flat.limit = 0xffffffff;
    flat.selector = 0x10;
    flat.type = 3;
    flat.present = flat.code_or_data = flat.default_big = flat.granularity = true;
    system.ds = system.es = system.fs = system.gs = system.ss = flat;
    system.cs = flat;
    system.cs.selector = 0x8;
    system.cs.type = 11;
    system.cr0 |= 1;
  }
  void enter_protected_mode(Vcpu& vcpu) {
    auto system = vcpu.system_registers();
    TRIVET_ASSERT_OK(system);
    make_protected(*system);
    TRIVET_ASSERT_OK(vcpu.set_system_registers(*system));
  }

  /// The usual: a PVH domain, code at 0x1000 in real mode, not yet running.
  void load(const Code& code, IrqchipKind irqchip = IrqchipKind::split) {
    ASSERT_NO_FATAL_FAILURE(make_vm(irqchip));
    put(code_at, code);
    ASSERT_NO_FATAL_FAILURE(make_vcpu());
  }
  /// The same in flat 32-bit protected mode.
  void load32(const Code& code, IrqchipKind irqchip = IrqchipKind::split) {
    ASSERT_NO_FATAL_FAILURE(load(code, irqchip));
    ASSERT_NO_FATAL_FAILURE(enter_protected_mode(vcpu()));
  }

  Runner& runner() { return *vm->runners().front(); }
  Vcpu& vcpu(std::size_t index = 0) { return *vm->vcpus()[index]; }

  /// Lets the guest go and serves it, but kicks a runner that does not come back in 20 s: a failure, not a hang.
  template <class Expected>
  void run_to() {
    TRIVET_ASSERT_OK(vm->resume());
    std::promise<void> back;
    bool late = false;
    std::thread watchdog([&, done = back.get_future()] {
      late = done.wait_for(std::chrono::seconds(20)) == std::future_status::timeout;
      if (late) runner().kicker().kick();
    });
    const auto exit = runner().run(io);
    back.set_value();
    watchdog.join();
    std::string where;
    if (late && vm->pause()) {
      if (const auto registers = vm->vcpus().front()->registers()) where = " at " + std::to_string(registers->rip);
    }
    ASSERT_FALSE(late) << "the guest did not come back in 20 s" << where;
    TRIVET_ASSERT_OK(exit);
    ASSERT_TRUE(std::holds_alternative<Expected>(*exit)) << "exit was " << name(*exit);
  }

  /// Until the guest writes to `done_port`; then paused, and the access is done. Paused inside the access: afterwards
  /// the guest runs on by itself, however soon the runner comes back.
  void run_to_mark() {
    const auto before = std::move(io.on_access);
    io.on_access = [&](const Seen& access) {
      if (before) before(access);
      if (access.kind != Seen::pio_out || access.at != done_port) return;
      TRIVET_EXPECT_OK(vm->pause());
      runner().kicker().kick();
    };
    run_to<exits::Kicked>();
    io.on_access = before;
    if (HasFatalFailure()) return;
    TRIVET_ASSERT_OK(runner().drain(io));
  }

  std::unique_ptr<Hypervisor> hypervisor;
  std::unique_ptr<Vm> vm;
  std::byte* ram = nullptr;
  Recorder io;
};

}  // namespace trivet::xen::test
