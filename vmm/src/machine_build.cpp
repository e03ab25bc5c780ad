// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <fmt/format.h>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/boot_x86_64.hpp>
#include <trivet/vmm/loader/memory_map.hpp>

#include "firmware.hpp"
#include "host_file.hpp"
#include "log.hpp"
#include "machine_impl.hpp"
#include "reset_vector.hpp"

namespace trivet::vmm {

/// The steps of `Machine::create`, in the order that is cheap and right: everything that can be refused without a
/// hypervisor first, memory before vCPUs, lines and doorbells last.
class MachineBuilder {
 public:
  MachineBuilder(const Config& config, const BackendRegistry& registry, const MachineOptions& options)
      : registry_(registry), options_(options), impl_(std::make_unique<Machine::Impl>(config)), it_(*impl_) {}

  Result<std::unique_ptr<Machine>> build() {
    TRIVET_TRY(validate(it_.config));
    TRIVET_TRY(open_boot());
    TRIVET_TRY(make_devices());
    TRIVET_TRY(make_vm());
    TRIVET_TRY(map_memory());
    TRIVET_TRY(it_.virtio->map_shared_memory(*it_.vm));
    TRIVET_ASSIGN(const auto registers, firmware_ ? start_firmware() : start_kernel());
    TRIVET_TRY(make_vcpus(registers));
    TRIVET_TRY(connect_devices());
    for (auto* runner : it_.vm->runners()) {
      it_.runners.push_back(std::make_unique<RunnerThread>(
          *runner, it_.gate,
          BusIo::Targets{it_.ports, it_.addresses, it_.pci.get(), it_.memory.get(), it_.ioapic.get(), it_.pic.get()},
          it_.first_run));
    }
    return std::unique_ptr<Machine>(new Machine(std::move(impl_)));
  }

 private:
  Result<void> open_boot();
  Result<BootSource> open_boot_source();
  Result<void> make_devices();
  Result<void> make_firmware_ports();
  Result<void> make_vm();
  Result<std::shared_ptr<const memory::Region>> make_region(const GuestRange& range, std::string_view backing) const;
  Result<void> map_memory();
  Result<void> attach_legacy_devices();
  Result<void> attach_firmware_ports();
  [[nodiscard]] PlatformInfo platform() const;
  Result<BootRegisters> start_kernel();
  Result<BootRegisters> start_firmware();
  Result<void> make_vcpus(const BootRegisters& boot);
  Result<void> place_devices();
  Result<std::optional<GuestRange>> window_above_ram() const;
  Result<void> claim_accesses();
  Result<void> attach_pci();
  Result<IrqRouter*> make_controllers();
  Result<void> attach_controllers();
  Result<void> connect_devices();

  const BackendRegistry& registry_;
  const MachineOptions& options_;
  std::unique_ptr<Machine::Impl> impl_;
  Machine::Impl& it_;
  // What is booted: one of the two.
  std::optional<BootSource> kernel_;
  std::optional<Firmware> firmware_;
};

Result<void> MachineBuilder::open_boot() {
  if (it_.config.firmware) {
    auto firmware = Firmware::open(it_.config.firmware->path);
    if (!firmware) return firmware.error().within("--firmware");
    firmware_.emplace(std::move(*firmware));
    return {};
  }
  TRIVET_ASSIGN(auto kernel, open_boot_source());
  kernel_.emplace(std::move(kernel));
  return {};
}

Result<BootSource> MachineBuilder::open_boot_source() {
  const auto& wanted = it_.config.kernel;
  if (wanted.path.empty() && options_.builtin_guest.empty()) {
    return Error(Errc::invalid_argument, "choose a kernel",
                 "no kernel path is given, and this program has no built-in guest");
  }
  auto kernel = wanted.path.empty() ? KernelImage::from_memory(options_.builtin_guest, "the built-in guest")
                                    : KernelImage::open(wanted.path);
  if (!kernel) return kernel.error();
  const auto text = wanted.cmdline.value_or(wanted.path.empty() ? std::string() : std::string(default_cmdline));
  TRIVET_ASSIGN(auto command_line, CommandLine::create(text, kernel->command_line_limit()));
  std::optional<Image> initrd;
  if (!wanted.initrd.empty()) {
    TRIVET_ASSIGN(initrd, Image::open(wanted.initrd));
  }
  BootSource source{std::move(*kernel), std::move(initrd), std::move(command_line), layout::kernel, std::nullopt, true};
  if (wanted.himem_start) source.load_address = GuestAddress{*wanted.himem_start};
  return source;
}

Result<void> MachineBuilder::make_devices() {
  TRIVET_ASSIGN(it_.loop, EventLoop::create());
  it_.memory = std::make_shared<memory::MemoryMap>();
  TRIVET_ASSIGN(auto input, open_input(it_.config.serial.input));
  TRIVET_ASSIGN(auto output, open_output(it_.config.serial.output));
  std::function<void()> stop;
  if (options_.terminal_escape) {
    stop = [&it = it_] { it.gate.finish({End::stopped, "Ctrl-A x was typed", {}}); };
  }
  TRIVET_ASSIGN(it_.serial, SerialConsole::create(*it_.loop, std::move(input), std::move(output), std::move(stop)));
  TRIVET_ASSIGN(it_.virtio, VirtioDevices::create(it_.config, *it_.loop, it_.memory, options_.devices));
  return make_firmware_ports();
}

Result<void> MachineBuilder::make_firmware_ports() {
  if (!firmware_) return {};
  it_.fw_cfg = std::make_unique<FwCfg>(it_.memory);
  auto output = open_output(it_.config.firmware->debug);
  if (!output) return output.error().within("--firmware debug");
  if (!output->valid()) return {};
  TRIVET_ASSIGN(it_.debug_output, OutputStream::create(*it_.loop, std::move(*output), [] {}));
  // What does not fit is lost: no firmware waits for this port.
  it_.debug_port = std::make_unique<DebugPort>([&to = *it_.debug_output](ConstBytes bytes) { (void)to.write(bytes); });
  return {};
}

Result<void> MachineBuilder::make_vm() {
  TRIVET_ASSIGN(const auto* backend, registry_.select(it_.config.hypervisor));
  TRIVET_ASSIGN(it_.hypervisor, backend->open());
  const auto& hypervisor = *it_.hypervisor;
  if (const auto most = hypervisor.limit(Limit::vcpus); it_.config.vcpu.num > most) {
    return Error(Errc::limit, "make the machine",
                 fmt::format("vcpu num={}: {} takes at most {}", it_.config.vcpu.num, hypervisor.name(), most));
  }
  if (it_.config.balloon && hypervisor.supports(Cap::fresh_pages) == Support::no) {
    return Error::unsupported("make the machine", fmt::format("--balloon: {} keeps the pages of a guest ({})",
                                                              hypervisor.name(), to_string(Cap::fresh_pages)));
  }
  TRIVET_ASSIGN(it_.platform, choose_platform(it_.config.platform, hypervisor, firmware_.has_value()));
  TRIVET_TRY(place_devices());
  VmConfig wanted;
  wanted.pit = it_.platform.hypervisor_pit;
  wanted.max_vcpus = it_.config.vcpu.num;
  wanted.irqchip = it_.platform.irqchip;
  TRIVET_ASSIGN(it_.vm, it_.hypervisor->create(wanted));
  return {};
}

/// Room for all the memory that devices share, each piece aligned to its size; nothing where they share none.
Result<std::optional<GuestRange>> MachineBuilder::window_above_ram() const {
  TRIVET_ASSIGN(const auto bytes, it_.virtio->shared_memory(*it_.hypervisor));
  if (bytes == 0) return std::optional<GuestRange>();
  TRIVET_ASSIGN(const auto ram, ram_ranges(it_.config.memory.size_mib * layout::mebibyte,
                                           firmware_ ? layout::firmware_hole : layout::hole));
  const auto size = 2 * std::bit_ceil(std::max(bytes, layout::gibibyte));
  const auto begin = (std::max(layout::high_ram.value, ram.back().last().value + 1) + size - 1) / size * size;
  const auto bits = it_.hypervisor->limit(Limit::physical_address_bits);
  if (const GuestRange window{{begin}, size}; bits >= 64 || window.last().value >> bits == 0) {
    return std::optional(window);
  }
  return Error(Errc::limit, "make the machine",
               fmt::format("{} MiB of shared memory end beyond the {} bits of a guest's address on {}",
                           bytes / layout::mebibyte, bits, it_.hypervisor->name()),
               Blame::host);
}

Result<void> MachineBuilder::place_devices() {
  TRIVET_ASSIGN(const auto high, window_above_ram());
  if (firmware_) {
    // U-Boot drives device 1 as QEMU's ISA bridge, whatever it is.
    TRIVET_TRY(it_.virtio->place(it_.platform.virtio,
                                 {2, layout::firmware_virtio_mmio, layout::firmware_virtio_memory, high}));
    // Also without functions: by its bridge firmware knows the machine.
    TRIVET_ASSIGN(it_.pci, PciHost::create_for_firmware(layout::firmware_pci_ecam, layout::firmware_pci_memory, high));
    return {};
  }
  TRIVET_TRY(it_.virtio->place(it_.platform.virtio, {.high_memory = high}));
  // Looking for functions that are not there costs a guest hundreds of accesses.
  if (it_.platform.virtio == VirtioTransport::pci && !it_.virtio->empty()) {
    TRIVET_ASSIGN(it_.pci, PciHost::create(layout::pci_ecam, layout::pci_memory, high));
  }
  return {};
}

Result<std::shared_ptr<const memory::Region>> MachineBuilder::make_region(const GuestRange& range,
                                                                          std::string_view backing) const {
  if (backing == "hypervisor") {
    TRIVET_ASSIGN(const auto mapped, it_.vm->map({range, HypervisorMemory{}}));
    return memory::Region::create(mapped);
  }
  constexpr std::uint64_t huge_page = 2 * layout::mebibyte;
  TRIVET_ASSIGN(auto mapping, backing == "anonymous" ? memory::Mapping::anonymous(range.size)
                                                     : memory::Mapping::memfd("trivet guest", range.size,
                                                                              backing == "hugetlbfs" ? huge_page : 0));
  TRIVET_TRY(it_.vm->map({range, HostMemory{mapping.data()}}));
  return memory::Region::create(range.start, std::move(mapping));
}

Result<void> MachineBuilder::map_memory() {
  const auto& config = it_.config.memory;
  TRIVET_ASSIGN(const auto ranges,
                ram_ranges(config.size_mib * layout::mebibyte, firmware_ ? layout::firmware_hole : layout::hole));
  const bool takes_ours = it_.hypervisor->supports(Cap::host_memory) != Support::no;
  const std::string_view backing =
      config.backing != "auto" ? std::string_view(config.backing) : (takes_ours ? "anonymous" : "hypervisor");
  if (backing != "hypervisor" && !takes_ours) {
    return Error::unsupported("make the machine",
                              fmt::format("memory backing={}: {} owns its guests' memory ({})", backing,
                                          it_.hypervisor->name(), to_string(Cap::host_memory)));
  }
  for (const auto& range : ranges) {
    auto region = make_region(range, backing);
    if (!region) return region.error().within(fmt::format("memory size_mib={},backing={}", config.size_mib, backing));
    TRIVET_TRY(it_.memory->insert(std::move(*region)));
  }
  return {};
}

Result<void> MachineBuilder::attach_legacy_devices() {
  TRIVET_TRY(it_.ports.insert(layout::com1_port, Serial::size, it_.serial->port(), "serial"));
  TRIVET_TRY(it_.ports.insert(layout::rtc_port, Rtc::size, it_.rtc, "rtc"));
  TRIVET_TRY(it_.ports.insert(I8042::base, I8042::size, it_.i8042, "i8042"));
  TRIVET_TRY(it_.ports.insert(layout::sleep_control_port, AcpiRegisters::size, it_.acpi_registers, "acpi"));
  TRIVET_TRY(it_.ports.insert(layout::panic_port, PanicPort::size, it_.panic_port, "panic port"));
  return attach_firmware_ports();
}

Result<void> MachineBuilder::attach_firmware_ports() {
  if (!firmware_) return {};
  TRIVET_TRY(it_.ports.insert(FwCfg::base, FwCfg::size, *it_.fw_cfg, "fw_cfg"));
  TRIVET_TRY(it_.ports.insert(layout::fixed_hardware_port, AcpiFixedHardware::size, it_.acpi_fixed_hardware,
                              "ACPI fixed hardware"));
  if (it_.debug_port) {
    TRIVET_TRY(it_.ports.insert(layout::debug_port, DebugPort::size, *it_.debug_port, "debug port"));
  }
  return {};
}

PlatformInfo MachineBuilder::platform() const {
  PlatformInfo info;
  info.ram_bytes = it_.config.memory.size_mib * layout::mebibyte;
  for (unsigned i = 0; i < it_.config.vcpu.num; ++i) info.apic_ids.push_back(it_.vm->processor_id(i));
  info.serial.push_back(SerialInfo{});
  if (it_.platform.lines) {
    info.ioapic = IoApicInfo{};
  } else {
    info.serial.back().gsi.reset();  // Linux polls it
  }
  info.pit = it_.platform.own_pic || it_.platform.hypervisor_pit;
  info.fixed_hardware = firmware_.has_value();
  info.rtc = RtcInfo{};
  info.panic_port = true;
  info.virtio_mmio = it_.virtio->platform();
  if (it_.pci) {
    info.pci = PciInfo{it_.pci->ecam_range(), it_.pci->window_range(), layout::pci_last_bus};
    if (const auto& high = it_.pci->high_range(); high.size != 0) info.pci->high_memory = high;
  }
  return info;
}

Result<BootRegisters> MachineBuilder::start_kernel() {
  const auto memory = it_.memory->snapshot();
  TRIVET_ASSIGN(const auto boot, load_boot(*kernel_, *memory, platform()));
  TRIVET_TRY(write_reset_vector(*memory));
  return boot.registers;
}

Result<BootRegisters> MachineBuilder::start_firmware() {
  const auto info = platform();
  TRIVET_TRY(describe_machine(*it_.fw_cfg, info));
  TRIVET_TRY(describe_machine(it_.rtc, info));
  if (const auto mapped = firmware_->map(*it_.vm, *it_.hypervisor, *it_.memory); !mapped) {
    return mapped.error().within("--firmware");
  }
  return reset_registers();
}

Result<void> MachineBuilder::make_vcpus(const BootRegisters& boot) {
  VcpuState firmware;
  firmware.msrs = firmware_ ? std::vector<MsrValue>() : firmware_msrs();  // real firmware sets its own
  for (unsigned i = 0; i < it_.config.vcpu.num; ++i) {
    TRIVET_ASSIGN(auto* vcpu, it_.vm->create_vcpu(i));
    if (firmware.msrs->empty()) continue;
    TRIVET_TRY(vcpu->restore(firmware));
  }
  auto* first = it_.vm->vcpus().front();
  TRIVET_TRY(first->set_system_registers(boot.system));
  TRIVET_TRY(first->set_registers(boot.general));
  return {};
}

/// Where the hypervisor must know which accesses are ours, all that the buses have is claimed here, and nowhere else.
Result<void> MachineBuilder::claim_accesses() {
  auto* claims = it_.vm->io_claims();
  if (claims == nullptr) return {};
  it_.ports.claim_through([claims](std::uint64_t first, std::uint64_t size) {
    return claims->claim_ports(static_cast<std::uint16_t>(first), static_cast<std::uint32_t>(size));
  });
  it_.addresses.claim_through([claims](std::uint64_t first, std::uint64_t size) {
    return claims->claim_memory({GuestAddress{first}, size});
  });
  if (it_.pci) TRIVET_TRY(it_.pci->claim_through(*claims));
  return {};
}

Result<void> MachineBuilder::attach_pci() {
  if (!it_.pci) return {};
  auto& host = *it_.pci;
  TRIVET_TRY(it_.ports.insert(PciHost::ports_first, PciHost::ports_size, host.ports(), "PCI configuration"));
  const auto& ecam = host.ecam_range();
  TRIVET_TRY(it_.addresses.insert(ecam.start.value, ecam.size, host.ecam(), "PCI ECAM"));
  const auto& window = host.window_range();
  TRIVET_TRY(it_.addresses.insert(window.start.value, window.size, host.window(), "PCI memory"));
  const auto& high = host.high_range();
  if (high.size == 0) return {};
  host.map_through(*it_.vm);
  return it_.addresses.insert(high.start.value, high.size, host.high_window(), "PCI high memory");
}

/// The interrupt controllers that the hypervisor has not; who has the lines is returned.
Result<IrqRouter*> MachineBuilder::make_controllers() {
  auto* router = it_.vm->irq_router();
  if (router == nullptr) {
    return Error::unsupported("make the machine", fmt::format("{} gives no interrupts", it_.hypervisor->name()));
  }
  if (it_.platform.irqchip == IrqchipKind::full) return router;
  if (it_.platform.own_pic) {
    auto* const first = it_.vm->vcpus().front();
    it_.pic = std::make_unique<Pic>([first](bool asserted) { (void)first->set_interrupt_pin(asserted); });
  }
  if (it_.platform.own_ioapic) {
    it_.ioapic = std::make_unique<IoApic>(*router, it_.pic.get());
    router = it_.ioapic.get();
  }
  std::unique_ptr<InterruptLine> tick;
  if (it_.pic) {
    TRIVET_ASSIGN(tick, it_.ioapic->line(layout::pit_gsi, trivet::Trigger::edge));
  }
  it_.interval_timer = std::make_unique<IntervalTimer>(*it_.loop, it_.pic.get(), std::move(tick));
  it_.i8042.connect_port_b(it_.interval_timer->pit().port_b());
  return router;
}

Result<void> MachineBuilder::attach_controllers() {
  if (it_.interval_timer) {
    TRIVET_TRY(it_.ports.insert(Pit::base, Pit::size, it_.interval_timer->pit(), "PIT"));
  }
  if (it_.ioapic) {
    TRIVET_TRY(it_.addresses.insert(layout::ioapic.start.value, layout::ioapic.size, *it_.ioapic, "I/O APIC"));
  }
  if (!it_.pic) return {};
  TRIVET_TRY(it_.ports.insert(Pic::master_base, Pic::size, it_.pic->master(), "PIC"));
  TRIVET_TRY(it_.ports.insert(Pic::slave_base, Pic::size, it_.pic->slave(), "second PIC"));
  return it_.ports.insert(Pic::elcr_base, Pic::size, it_.pic->edge_level_control(), "PIC edge/level");
}

Result<void> MachineBuilder::connect_devices() {
  TRIVET_ASSIGN(auto* router, make_controllers());
  if (it_.platform.lines) {
    TRIVET_ASSIGN(auto line, router->line(layout::com1_gsi, trivet::Trigger::edge));
    it_.serial->connect(std::move(line));
  }
  TRIVET_TRY(claim_accesses());
  TRIVET_TRY(attach_legacy_devices());
  TRIVET_TRY(attach_pci());
  TRIVET_TRY(attach_controllers());
  TRIVET_TRY(it_.virtio->connect(*it_.vm, *router, it_.addresses, it_.pci.get()));
  it_.ports.seal();
  it_.addresses.seal();
  return {};
}

Result<std::unique_ptr<Machine>> Machine::create(const Config& config, const BackendRegistry& registry,
                                                 const MachineOptions& options) {
  return MachineBuilder(config, registry, options).build();
}

}  // namespace trivet::vmm
