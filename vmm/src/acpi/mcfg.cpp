// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi/table.hpp"

namespace trivet::vmm::acpi {

Table make_mcfg(const PciInfo& pci) {
  constexpr std::uint8_t mcfg_revision = 1;
  abi::AcpiMcfg mcfg{};
  mcfg.header = make_header({'M', 'C', 'F', 'G'}, mcfg_revision);
  mcfg.base = pci.ecam.start.value;
  mcfg.last_bus = pci.last_bus;
  Table table;
  append(table, mcfg);
  seal(table);
  return table;
}

}  // namespace trivet::vmm::acpi
