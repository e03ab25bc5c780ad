// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi.hpp"
#include "cpu.hpp"
#include "lapic.hpp"
#include "serial.hpp"
#include "smp.hpp"
#include "tour.hpp"

namespace guest {
namespace {

constexpr std::uint32_t hypervisor_leaf = 0x40000000;

void print_signature() {
  if ((cpuid(1).ecx & (1u << 31)) == 0) {
    print_line("hypervisor: none announced");
    return;
  }
  for (std::uint32_t leaf = hypervisor_leaf; leaf < hypervisor_leaf + 0x300; leaf += 0x100) {
    CpuidResult r = cpuid(leaf);
    if (r.eax < leaf || r.eax > leaf + 0xff) break;
    char name[12];
    const std::uint32_t words[3] = {r.ebx, r.ecx, r.edx};
    for (std::size_t i = 0; i < sizeof name; ++i) {
      char c = static_cast<char>(words[i / 4] >> (8 * (i % 4)));
      name[i] = c >= ' ' && c <= '~' ? c : ' ';
    }
    print_line("hypervisor: \"", Text{name, sizeof name}, "\" leaves ", Hex{leaf}, "-", Hex{r.eax});
  }
}

void print_memory(const BootInfo& info) {
  static const char* const names[] = {"unknown", "ram",      "reserved", "acpi",
                                      "nvs",     "unusable", "disabled", "persistent"};
  std::uint64_t ram = 0;
  for (std::size_t i = 0; i < info.range_count; ++i) {
    const MemoryRange& range = info.ranges[i];
    if (range.size == 0) continue;
    print_line("memory: ", Hex{range.address, 9}, "-", Hex{range.address + range.size - 1, 9}, " ",
               names[range.type < 8 ? range.type : 0]);
    if (range.type == 1) ram += range.size;
  }
  print_line("memory: ", ram >> 10, " KiB of ram");
}

void print_tables() {
  if (!acpi.found) {
    print_line("acpi: none");
    return;
  }
  print("acpi:");
  for (std::size_t i = 0; i < acpi.table_count; ++i) {
    char name[4];
    for (int c = 0; c < 4; ++c) name[c] = static_cast<char>(acpi.tables[i] >> (8 * c));
    print(" ", Text{name, 4});
  }
  print_line(acpi.hardware_reduced ? ", hardware-reduced" : "");
}

}  // namespace

void tour_machine(const BootInfo& info) {
  print_signature();
  print_memory(info);
  for (std::size_t i = 0; i < info.module_count; ++i) {
    print_line("module: ", info.modules[i].size, " bytes at ", Hex{info.modules[i].address});
  }
  print_tables();
  std::size_t processors = acpi.processor_count == 0 ? 1 : acpi.processor_count;
  std::size_t started = start_processors(info, acpi.apic_ids, acpi.processor_count, nullptr);
  print_line("vcpus: ", std::uint64_t{processors}, ", started ", std::uint64_t{started + 1}, ", ",
             lapic_is_x2apic() ? "x2apic" : "xapic", " id ", lapic_id());
}

void tour_exits() {
  constexpr std::uint32_t rounds = 64;
  auto measure = [](auto&& exit) {
    std::uint64_t start = rdtsc();
    for (std::uint32_t i = 0; i < rounds; ++i) exit();
    return (rdtsc() - start) / rounds;
  };
  std::uint64_t port = measure([] { out8(0x80, 0); });
  std::uint64_t leaf = measure([] { cpuid(0); });
  std::uint64_t version = measure([] { lapic_read(LapicRegister::version); });
  print("exits: port write ", port, ", cpuid ", leaf, ", lapic read ", version);
  if (acpi.device_count != 0) {
    std::uint64_t memory = measure([] { read32(acpi.devices[0].address); });
    print(", device read ", memory);
  }
  print_line(" ticks each");
}

void echo_console() {
  print_line("echo: type a line");
  for (;;) {
    int c = serial_read();
    if (c < 0) return;
    if (c == '\r' || c == '\n') break;
    char text[1] = {static_cast<char>(c)};
    print(Text{text, 1});
    flush_console();
  }
  print_line("");
}

}  // namespace guest
