// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// An exit's round trip, guest to handler and back, through Runner::run and through a bare KVM_RUN loop: the same guest
// code, the same program, in turns. Prints the ratio of the medians; the bar is 1.05.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/kvm.h>
#include <memory>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <variant>
#include <vector>

#include <trivet/core/backend.hpp>
#include <trivet/kvm/backend.hpp>

namespace {

constexpr std::uint16_t port = 0x10;
constexpr unsigned long memory_size = 0x10000;
constexpr unsigned code_at = 0x1000;
constexpr std::uint64_t mmio_at = 0xf0000;
constexpr double bar = 1.05;

// again: out 0x10, al; jmp again
constexpr std::array<unsigned char, 4> port_guest{0xe6, port, 0xeb, 0xfc};
// mov ax, 0xf000; mov ds, ax; again: mov [0], al; jmp again
constexpr std::array<unsigned char, 10> mmio_guest{0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0xa2, 0x00, 0x00, 0xeb, 0xfb};

/// Nanoseconds that this thread, guest included, has had a processor: what others do on the machine does not count.
double now() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::byte* guest_memory(const unsigned char* code, std::size_t size) {
  void* const memory = ::mmap(nullptr, memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  auto* bytes = static_cast<std::byte*>(memory);
  std::memcpy(bytes + code_at, code, size);
  return bytes;
}

/// The floor: what a hand-written VMM does for one exit, and no more.
class Bare {
 public:
  Bare(const unsigned char* code, std::size_t size) {
    const int kvm = ::open("/dev/kvm", O_RDWR | O_CLOEXEC);
    const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0UL);
    if (kvm < 0 || vm < 0) fail("KVM_CREATE_VM");
    kvm_userspace_memory_region region{};
    region.memory_size = memory_size;
    region.userspace_addr =
        reinterpret_cast<std::uintptr_t>(guest_memory(code, size));  // SAFETY: a number for the kernel
    if (::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) != 0) fail("KVM_SET_USER_MEMORY_REGION");
    vcpu_ = ::ioctl(vm, KVM_CREATE_VCPU, 0UL);
    const auto length = static_cast<std::size_t>(::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0UL));
    void* const run = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_, 0);
    if (vcpu_ < 0 || run == MAP_FAILED) fail("KVM_CREATE_VCPU");
    run_ = static_cast<kvm_run*>(run);
    kvm_sregs system{};
    ::ioctl(vcpu_, KVM_GET_SREGS, &system);
    system.cs.base = 0;
    system.cs.selector = 0;
    kvm_regs registers{};
    registers.rip = code_at;
    registers.rflags = 2;
    if (::ioctl(vcpu_, KVM_SET_SREGS, &system) != 0 || ::ioctl(vcpu_, KVM_SET_REGS, &registers) != 0)
      fail("KVM_SET_REGS");
  }

  double batch(int exits) {
    const auto start = now();
    for (int i = 0; i < exits; ++i) {
      if (::ioctl(vcpu_, KVM_RUN, 0UL) != 0) fail("KVM_RUN");
      switch (run_->exit_reason) {
        case KVM_EXIT_IO: {
          // SAFETY: the kernel's data lie inside the same mapping.
          const auto* data = reinterpret_cast<const unsigned char*>(run_) + run_->io.data_offset;
          if (run_->io.port == port) sum_ += *data;
          break;
        }
        case KVM_EXIT_MMIO:
          if (run_->mmio.phys_addr == mmio_at) sum_ += run_->mmio.data[0];
          break;
        default:
          fail("an unexpected exit");
      }
    }
    return now() - start;
  }

 private:
  int vcpu_ = -1;
  kvm_run* run_ = nullptr;
  unsigned long sum_ = 0;
};

/// The same through the contracts. The handler kicks when it has seen enough.
class Ours final : trivet::IoHandler {
 public:
  Ours(const unsigned char* code, std::size_t size) {
    hypervisor_ = value(trivet::kvm::backend()->open());
    trivet::VmConfig config;
    config.irqchip = trivet::IrqchipKind::none;
    vm_ = value(hypervisor_->create(config));
    value(vm_->map({{{0}, memory_size}, trivet::HostMemory{guest_memory(code, size)}}));
    auto* vcpu = value(vm_->create_vcpu(0));
    auto system = value(vcpu->system_registers());
    system.cs.base = 0;
    system.cs.selector = 0;
    trivet::GeneralRegisters registers;
    registers.rip = code_at;
    if (!vcpu->set_system_registers(system) || !vcpu->set_registers(registers)) fail("set registers");
    runner_ = vm_->runners().front();
  }

  double batch(int exits) {
    left_ = exits;
    const auto start = now();
    const auto exit = runner_->run(*this);
    const auto took = now() - start;
    if (!exit || !std::holds_alternative<trivet::exits::Kicked>(*exit)) fail("run");
    return took;
  }

  void pio_read(std::uint16_t, trivet::Bytes) noexcept override {}
  void pio_write(std::uint16_t at, trivet::ConstBytes data) noexcept override {
    if (at == port) count(data);
  }
  void mmio_read(trivet::GuestAddress, trivet::Bytes) noexcept override {}
  void mmio_write(trivet::GuestAddress at, trivet::ConstBytes data, trivet::Posted) noexcept override {
    if (at.value == mmio_at) count(data);
  }

 private:
  template <class T>
  static T value(trivet::Result<T> result) {
    if (result) return std::move(*result);
    std::fprintf(stderr, "%s\n", to_string(result.error()).c_str());
    std::exit(1);
  }
  void count(trivet::ConstBytes data) noexcept {
    sum_ += std::to_integer<unsigned long>(data[0]);
    if (--left_ == 0) runner_->kicker().kick();
  }

  std::unique_ptr<trivet::Hypervisor> hypervisor_;
  std::unique_ptr<trivet::Vm> vm_;
  trivet::Runner* runner_ = nullptr;
  int left_ = 0;
  unsigned long sum_ = 0;
};

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

bool compare(const char* what, const unsigned char* code, std::size_t size, int batches, int exits) {
  Bare bare(code, size);
  Ours ours(code, size);
  std::vector<double> bare_ns;
  std::vector<double> ours_ns;
  std::vector<double> ratios;
  const auto each = [exits](double took) { return took / exits; };
  bare.batch(exits);
  ours.batch(exits);
  for (int round = 0; round < batches; ++round) {
    // Who goes first changes, so that neither gets the better moments.
    double mine = 0;
    if (round % 2 != 0) mine = each(ours.batch(exits));
    const double floor = each(bare.batch(exits));
    if (round % 2 == 0) mine = each(ours.batch(exits));
    bare_ns.push_back(floor);
    ours_ns.push_back(mine);
    ratios.push_back(mine / floor);
  }
  const double ratio = median(ratios);
  const bool held = ratio <= bar;
  std::printf("exit round trip, %-4s  bare KVM_RUN %7.0f ns  Runner::run %7.0f ns  ratio %.3f  bar %.2f  %s\n", what,
              median(bare_ns), median(ours_ns), ratio, bar, held ? "held" : "short");
  return held;
}

}  // namespace

int main(int argc, char** argv) {
  if (const auto probe = trivet::kvm::backend()->probe(); !probe.usable) {
    std::printf("exit round trip: skipped: %s\n", probe.reason.c_str());
    return 77;
  }
  const int batches = argc > 1 ? std::max(std::atoi(argv[1]), 1) : 201;
  const int exits = argc > 2 ? std::max(std::atoi(argv[2]), 1) : 200;
  const bool ports = compare("port", port_guest.data(), port_guest.size(), batches, exits);
  const bool memory = compare("mmio", mmio_guest.data(), mmio_guest.size(), batches, exits);
  return ports && memory ? 0 : 1;
}
