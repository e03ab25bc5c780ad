// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// An access's round trip, guest to handler and back, through Runner::run and through a bare ioreq loop: the same guest
// code, the same program, in turns. A turn's figure is the median time from one access to the next, which leaves out
// those in which something else had the processor. Prints the median of the turns' ratios; the bar is 1.05.
// usage: bench_ioreq_round_trip [TURNS [ACCESSES]]    an even number of turns becomes the next odd one
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <poll.h>
#include <sys/mman.h>
#include <time.h>
#include <variant>
#include <vector>

#include <trivet/core/backend.hpp>
#include <trivet/xen/backend.hpp>

// Xen's own, for the bare loop; they refuse a strict standard and hide the tools' part.
#define __XEN_TOOLS__ 1
#pragma push_macro("__STRICT_ANSI__")
#undef __STRICT_ANSI__
extern "C" {
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/ioreq.h>
#include <xen/memory.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
}
#pragma pop_macro("__STRICT_ANSI__")

namespace {

using namespace trivet;

constexpr std::uint16_t port = 0x510;
constexpr std::uint64_t mmio_at = 0xd0000;
constexpr std::uint64_t code_at = 0x1000;
constexpr std::uint64_t memory_size = 0x10000;
constexpr double bar = 1.05;

// mov dx, 0x510; again: out dx, al; jmp again
constexpr std::array<unsigned char, 6> port_guest{0xba, 0x10, 0x05, 0xee, 0xeb, 0xfd};
// mov ax, 0xd000; mov ds, ax; again: mov [0], al; jmp again
constexpr std::array<unsigned char, 10> mmio_guest{0xb8, 0x00, 0xd0, 0x8e, 0xd8, 0xa2, 0x00, 0x00, 0xeb, 0xfb};

double now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

template <class T>
T value(Result<T> result) {
  if (result) return std::move(*result);
  std::fprintf(stderr, "%s\n", to_string(result.error()).c_str());
  std::exit(1);
}
void good(const Result<void>& result) {
  if (result) return;
  std::fprintf(stderr, "%s\n", to_string(result.error()).c_str());
  std::exit(1);
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// When each access of a turn came.
class Turn {
 public:
  void start(int accesses) {
    times_.clear();
    times_.reserve(static_cast<std::size_t>(accesses));
  }
  void stamp() noexcept { times_.push_back(now()); }
  [[nodiscard]] double median_ns() const {
    std::vector<double> took;
    for (std::size_t i = 1; i < times_.size(); ++i) took.push_back(times_[i] - times_[i - 1]);
    return median(std::move(took));
  }

 private:
  std::vector<double> times_;
};

/// A domain with the guest in it, not yet running, that claims nothing.
std::unique_ptr<Vm> guest_of(Hypervisor& hypervisor, const unsigned char* code, std::size_t size) {
  auto vm = value(hypervisor.create({.irqchip = IrqchipKind::split}));
  const auto region = value(vm->map({{{0}, memory_size}, HypervisorMemory{}}));
  std::memcpy(region.host + code_at, code, size);
  auto* vcpu = value(vm->create_vcpu(0));
  auto system = value(vcpu->system_registers());
  system.cs.base = 0;
  system.cs.selector = 0;
  GeneralRegisters registers;
  registers.rip = code_at;
  good(vcpu->set_system_registers(system));
  good(vcpu->set_registers(registers));
  return vm;
}

/// The floor: what a hand-written device model does for one access, and no more. Its server is the domain's second.
class Bare {
 public:
  Bare(Hypervisor& hypervisor, const unsigned char* code, std::size_t size) : vm_(guest_of(hypervisor, code, size)) {
    auto* model = xendevicemodel_open(nullptr, 0);
    auto* memory = xenforeignmemory_open(nullptr, 0);
    channels_ = xenevtchn_open(nullptr, 0);
    if (model == nullptr || memory == nullptr || channels_ == nullptr) fail("open Xen");
    // The newest domain is ours: the one just made.
    unsigned vcpus = 0;
    for (domid_t id = 1; id < 1000; ++id) {
      if (xendevicemodel_nr_vcpus(model, id, &vcpus) == 0) domain_ = id;
    }
    ioservid_t id = 0;
    if (xendevicemodel_create_ioreq_server(model, domain_, HVM_IOREQSRV_BUFIOREQ_OFF, &id) != 0) fail("ioreq server");
    void* page = nullptr;
    if (xenforeignmemory_map_resource(memory, domain_, XENMEM_resource_ioreq_server, id,
                                      XENMEM_resource_ioreq_server_frame_ioreq(0), 1, &page, PROT_READ | PROT_WRITE,
                                      0) == nullptr) {
      fail("map its page");
    }
    xendevicemodel_set_ioreq_server_state(model, domain_, id, 1);
    request_ = static_cast<volatile ioreq*>(page);
    local_ = xenevtchn_bind_interdomain(channels_, domain_, request_->vp_eport);
    if (local_ < 0) fail("bind");
    if (xendevicemodel_map_io_range_to_ioreq_server(model, domain_, id, 0, port, port) != 0 ||
        xendevicemodel_map_io_range_to_ioreq_server(model, domain_, id, 1, mmio_at, mmio_at + 0xfff) != 0) {
      fail("claim");
    }
    good(vm_->resume());
  }

  double batch(int accesses) {
    auto* channels = channels_;
    turn_.start(accesses);
    for (int i = 0; i < accesses;) {
      pollfd ready{xenevtchn_fd(channels), POLLIN, 0};
      if (::poll(&ready, 1, -1) != 1) fail("poll");
      const auto event = xenevtchn_pending(channels);
      if (event < 0 || xenevtchn_unmask(channels, static_cast<evtchn_port_t>(event)) != 0) fail("event");
      if (request_->state != STATE_IOREQ_READY) continue;
      __atomic_thread_fence(__ATOMIC_ACQUIRE);
      request_->state = STATE_IOREQ_INPROCESS;
      if (request_->type == IOREQ_TYPE_PIO ? request_->addr == port : request_->addr == mmio_at) sum_ += request_->data;
      turn_.stamp();
      __atomic_thread_fence(__ATOMIC_RELEASE);
      request_->state = STATE_IORESP_READY;
      if (xenevtchn_notify(channels, static_cast<evtchn_port_t>(local_)) != 0) fail("notify");
      ++i;
    }
    return turn_.median_ns();
  }

 private:
  domid_t domain_ = 0;
  std::unique_ptr<Vm> vm_;
  xenevtchn_handle* channels_ = nullptr;
  volatile ioreq* request_ = nullptr;
  xenevtchn_port_or_error_t local_ = -1;
  std::uint64_t sum_ = 0;
  Turn turn_;
};

/// The same through the contracts. The handler kicks when it has seen enough; the guest then waits in its next access.
class Ours final : IoHandler {
 public:
  Ours(Hypervisor& hypervisor, const unsigned char* code, std::size_t size) : vm_(guest_of(hypervisor, code, size)) {
    good(vm_->io_claims()->claim_ports(port, 1));
    good(vm_->io_claims()->claim_memory({{mmio_at}, 0x1000}));
    runner_ = vm_->runners().front();
    good(vm_->resume());
  }

  double batch(int accesses) {
    left_ = accesses;
    turn_.start(accesses);
    const auto exit = runner_->run(*this);
    if (!exit || !std::holds_alternative<exits::Kicked>(*exit)) fail("run");
    return turn_.median_ns();
  }

  void pio_read(std::uint16_t, Bytes) noexcept override {}
  void pio_write(std::uint16_t at, ConstBytes data) noexcept override {
    if (at == port) count(data);
  }
  void mmio_read(GuestAddress, Bytes) noexcept override {}
  void mmio_write(GuestAddress at, ConstBytes data, Posted) noexcept override {
    if (at.value == mmio_at) count(data);
  }

 private:
  void count(ConstBytes data) noexcept {
    sum_ += std::to_integer<std::uint64_t>(data[0]);
    turn_.stamp();
    if (--left_ == 0) runner_->kicker().kick();
  }

  std::unique_ptr<Vm> vm_;
  Runner* runner_ = nullptr;
  int left_ = 0;
  std::uint64_t sum_ = 0;
  Turn turn_;
};

bool compare(Hypervisor& hypervisor, const char* what, const unsigned char* code, std::size_t size, int turns,
             int accesses) {
  Ours ours(hypervisor, code, size);  // first: the host has one interrupt that tells of a domain's end
  Bare bare(hypervisor, code, size);
  std::vector<double> bare_ns;
  std::vector<double> ours_ns;
  std::vector<double> ratios;
  bare.batch(accesses);
  ours.batch(accesses);
  for (int round = 0; round < turns; ++round) {
    // Who goes first changes, so that neither gets the better moments.
    double mine = 0;
    if (round % 2 != 0) mine = ours.batch(accesses);
    const double floor = bare.batch(accesses);
    if (round % 2 == 0) mine = ours.batch(accesses);
    bare_ns.push_back(floor);
    ours_ns.push_back(mine);
    ratios.push_back(mine / floor);
  }
  const double ratio = median(ratios);
  const bool held = ratio <= bar;
  std::printf("ioreq round trip, %-4s  bare loop %7.0f ns  Runner::run %7.0f ns  ratio %.3f  bar %.2f  %s\n", what,
              median(bare_ns), median(ours_ns), ratio, bar, held ? "held" : "short");
  return held;
}

}  // namespace

int main(int argc, char** argv) {
  const auto backend = trivet::xen::backend();
  if (const auto probe = backend->probe(); !probe.usable) {
    std::printf("ioreq round trip: skipped: %s\n", probe.reason.c_str());
    return 77;
  }
  auto hypervisor = value(backend->open());
  const int turns = (argc > 1 ? std::max(std::atoi(argv[1]), 1) : 63) | 1;
  const int accesses = argc > 2 ? std::max(std::atoi(argv[2]), 2) : 50;
  const bool ports = compare(*hypervisor, "port", port_guest.data(), port_guest.size(), turns, accesses);
  const bool memory = compare(*hypervisor, "mmio", mmio_guest.data(), mmio_guest.size(), turns, accesses);
  return ports && memory ? 0 : 1;
}
