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
#include <string>
#include <sys/mman.h>
#include <thread>
#include <vector>

#include <trivet/core/backend.hpp>
#include <trivet/core/io_handler.hpp>
#include <trivet/kvm/backend.hpp>

namespace trivet::kvm::test {

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
  enum Kind { pio_in, pio_out, load, store, posted } kind;
  std::uint64_t at;
  std::size_t size;
  std::uint64_t value;
  friend bool operator==(const Seen&, const Seen&) = default;
};
inline std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  constexpr std::array names{"in", "out", "load", "store", "posted"};
  return out << names[seen.kind] << " 0x" << std::hex << seen.at << "/" << seen.size << "=0x" << seen.value;
}

/// Writes down every access; answers reads with `answer`, or all ones.
class Recorder final : public IoHandler {
 public:
  std::vector<Seen> seen;
  std::function<std::uint64_t(const Seen&)> answer;
  std::function<void(const Seen&)> on_access;
  std::function<std::optional<std::uint8_t>()> on_acknowledge;
  std::optional<std::uint8_t> acknowledge_interrupt() noexcept override {
    return on_acknowledge ? on_acknowledge() : std::nullopt;
  }
  std::vector<std::uint8_t> ended;

  void pio_read(std::uint16_t port, Bytes data) noexcept override { read(Seen::pio_in, port, data); }
  void pio_write(std::uint16_t port, ConstBytes data) noexcept override { note(Seen::pio_out, port, data); }
  void mmio_read(GuestAddress at, Bytes data) noexcept override { read(Seen::load, at.value, data); }
  void mmio_write(GuestAddress at, ConstBytes data, Posted posted) noexcept override {
    note(posted == Posted::yes ? Seen::posted : Seen::store, at.value, data);
  }
  void end_of_interrupt(std::uint8_t vector) noexcept override { ended.push_back(vector); }

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

/// Anonymous memory of the host.
class HostPages {
 public:
  explicit HostPages(std::size_t size) : size_(size) {
    void* const got = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    address_ = got == MAP_FAILED ? nullptr : static_cast<std::byte*>(got);
  }
  ~HostPages() { ::munmap(address_, size_); }
  HostPages(const HostPages&) = delete;
  HostPages& operator=(const HostPages&) = delete;
  [[nodiscard]] std::byte* data() const { return address_; }
  [[nodiscard]] std::size_t size() const { return size_; }
  void put(std::size_t offset, const std::vector<std::uint8_t>& bytes) const {
    std::memcpy(address_ + offset, bytes.data(), bytes.size());
  }

 private:
  std::byte* address_;
  std::size_t size_;
};

using Code = std::vector<std::uint8_t>;

/// Tests that need /dev/kvm; skipped with the probe's reason where there is none.
class KvmTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t code_at = 0x1000;

  void SetUp() override {
    const auto backend = kvm::backend();
    if (const auto probe = backend->probe(); !probe.usable) GTEST_SKIP() << probe.reason;
    auto opened = backend->open();
    TRIVET_ASSERT_OK(opened);
    hypervisor = std::move(*opened);
  }

  /// A VM with `pages` pages of memory at 0.
  void make_vm(const VmConfig& config = {.irqchip = IrqchipKind::none}, std::size_t pages = 16,
               bool log_dirty = false) {
    auto made = hypervisor->create(config);
    TRIVET_ASSERT_OK(made);
    vm = std::move(*made);
    memory = std::make_unique<HostPages>(pages * 4096);
    RegionSpec spec{{{0}, memory->size()}, HostMemory{memory->data()}};
    spec.log_dirty = log_dirty;
    TRIVET_ASSERT_OK(vm->map(spec));
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

  /// Flat 32-bit segments, no paging, an empty IDT.
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
    system.idt = {};
    system.cr0 |= 1;
  }

  /// The usual: no interrupt controller, so that HLT ends the guest.
  void load(const Code& code) {
    ASSERT_NO_FATAL_FAILURE(make_vm());
    memory->put(code_at, code);
    ASSERT_NO_FATAL_FAILURE(make_vcpu());
  }

  Runner& runner(std::size_t index = 0) { return *vm->runners()[index]; }
  Vcpu& vcpu(std::size_t index = 0) { return *vm->vcpus()[index]; }

  /// Runs, but kicks a guest that does not come back in 20 s: a failure, not a hang.
  template <class Expected>
  void run_to(std::size_t index = 0) {
    std::promise<void> back;
    bool late = false;
    std::thread watchdog([&, done = back.get_future()] {
      late = done.wait_for(std::chrono::seconds(20)) == std::future_status::timeout;
      if (late) runner(index).kicker().kick();
    });
    const auto exit = runner(index).run(io);
    back.set_value();
    watchdog.join();
    ASSERT_FALSE(late) << "the guest did not come back in 20 s";
    TRIVET_ASSERT_OK(exit);
    ASSERT_TRUE(std::holds_alternative<Expected>(*exit)) << "exit was " << name(*exit);
  }

  std::unique_ptr<Hypervisor> hypervisor;
  std::unique_ptr<HostPages> memory;
  std::unique_ptr<Vm> vm;
  Recorder io;
};

}  // namespace trivet::kvm::test
