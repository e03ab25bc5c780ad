// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Makes a VM on KVM, runs three instructions and shows what they wrote to a port.
#include <cstdio>
#include <cstring>
#include <sys/mman.h>

#include <trivet/core/backend_registry.hpp>
#include <trivet/kvm/backend.hpp>

struct Console final : trivet::IoHandler {
  void pio_read(std::uint16_t, trivet::Bytes data) noexcept override { std::memset(data.data(), 0xff, data.size()); }
  void pio_write(std::uint16_t port, trivet::ConstBytes data) noexcept override {
    std::printf("port %#x: %c\n", port, static_cast<char>(data[0]));
    written = static_cast<char>(data[0]);
  }
  void mmio_read(trivet::GuestAddress, trivet::Bytes data) noexcept override {
    std::memset(data.data(), 0xff, data.size());
  }
  void mmio_write(trivet::GuestAddress, trivet::ConstBytes, trivet::Posted) noexcept override {}
  char written = 0;
};

trivet::Result<char> run_guest() {
  trivet::BackendRegistry registry;
  TRIVET_TRY(registry.add(trivet::kvm::backend()));
  TRIVET_ASSIGN(const auto* backend, registry.select("kvm"));
  TRIVET_ASSIGN(const auto hypervisor, backend->open());
  TRIVET_ASSIGN(const auto vm, hypervisor->create({.irqchip = trivet::IrqchipKind::none, .halt_exits = true}));

  void* memory = mmap(nullptr, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  TRIVET_TRY(vm->map({{{0x1000}, 0x1000}, trivet::HostMemory{static_cast<std::byte*>(memory)}}));
  const unsigned char code[] = {0xb0, 'T', 0xe6, 0xe9, 0xf4};  // mov al, 'T'; out 0xe9, al; hlt
  std::memcpy(memory, code, sizeof code);

  TRIVET_ASSIGN(trivet::Vcpu * vcpu, vm->create_vcpu(0));
  TRIVET_ASSIGN(auto system, vcpu->system_registers());
  system.cs.base = system.cs.selector = 0;
  TRIVET_TRY(vcpu->set_system_registers(system));
  TRIVET_TRY(vcpu->set_registers({.rip = 0x1000}));

  Console console;
  TRIVET_ASSIGN(const auto exit, vm->runners()[0]->run(console));
  std::printf("the guest came back: %s\n", std::string(trivet::name(exit)).c_str());
  return console.written;
}

int main() {
  const auto written = run_guest();
  if (!written) std::fprintf(stderr, "%s\n", to_string(written.error()).c_str());
  return written && *written == 'T' ? 0 : 1;
}
