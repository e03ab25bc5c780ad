// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "acpi.hpp"
#include "tour.hpp"
#include "virtio_mmio.hpp"
#include "virtio_pci.hpp"

namespace guest {
namespace {

constexpr std::uint32_t block_read = 0, block_write = 1, block_flush = 4, block_id = 8;
constexpr std::uint32_t feature_read_only = 1u << 5, feature_flush = 1u << 9;
constexpr std::uint32_t sector_size = 512;

alignas(4096) SplitRing rings[2];

struct BlockHeader {
  std::uint32_t type;
  std::uint32_t reserved;
  std::uint64_t sector;
};

struct Sector {
  std::uint8_t bytes[sector_size];
};

std::uint32_t checksum(const Sector& sector) {  // FNV-1a
  std::uint32_t hash = 0x811c9dc5;
  for (std::uint8_t byte : sector.bytes) hash = (hash ^ byte) * 0x01000193;
  return hash;
}

const char* name_of(std::uint32_t id) {
  static const char* const names[] = {"none", "net", "block", "console", "rng", "balloon"};
  if (id < 6) return names[id];
  return id == 19 ? "vsock" : id == 26 ? "fs" : "other";
}

bool block_request(VirtioDevice& device, std::uint32_t type, std::uint64_t sector, const void* data, std::uint32_t size,
                   bool device_writes) {
  static BlockHeader header;
  static volatile std::uint8_t status;
  header = {type, 0, sector};
  status = 0xff;
  Buffer buffers[3] = {{&header, sizeof header, false}, {data, size, device_writes}};
  std::uint16_t count = 1;
  if (size != 0) ++count;
  buffers[count++] = {const_cast<std::uint8_t*>(&status), 1, true};
  return device.request(0, buffers, count) >= 0 && status == 0;
}

bool transfer(VirtioDevice& device, std::uint32_t type, std::uint64_t sector, Sector& data) {
  return block_request(device, type, sector, &data, sector_size, type == block_read);
}

bool equal(const Sector& left, const Sector& right) {
  for (std::uint32_t i = 0; i < sector_size; ++i) {
    if (left.bytes[i] != right.bytes[i]) return false;
  }
  return true;
}

// Writes the last sector, reads it back, and puts back what was there.
bool rewrite_last(VirtioDevice& device, std::uint64_t last) {
  static Sector original, pattern, back;
  if (!transfer(device, block_read, last, original)) return false;
  for (std::uint32_t i = 0; i < sector_size; ++i) {
    pattern.bytes[i] = static_cast<std::uint8_t>(original.bytes[i] ^ (0xa5 + i));
  }
  if (!transfer(device, block_write, last, pattern)) return false;
  bool read_back = transfer(device, block_read, last, back);
  bool same = read_back && equal(back, pattern);
  if (!transfer(device, block_write, last, original)) return false;
  if ((device.features() & feature_flush) != 0 && !block_request(device, block_flush, 0, nullptr, 0, false)) {
    return false;
  }
  return same && transfer(device, block_read, last, back) && equal(back, original);
}

bool tour_block(VirtioDevice& device) {
  static Sector sector;
  static char serial[20];
  if (!device.start(feature_read_only | feature_flush, rings, 1)) return false;
  std::uint64_t sectors = device.config64(0);
  if (!block_request(device, block_id, 0, serial, sizeof serial, true)) return false;
  std::size_t length = 0;
  while (length < sizeof serial && serial[length] != 0) ++length;
  print_line("block: ", sectors, " sectors, id \"", Text{serial, length}, "\"");
  if (sectors == 0) return true;
  if (!transfer(device, block_read, 0, sector)) return false;
  print("block: sector 0 starts");
  for (int i = 0; i < 16; ++i) print(" ", Hex{sector.bytes[i], 2});
  print_line(", checksum ", Hex{checksum(sector), 8});
  if ((device.features() & feature_read_only) != 0) {
    print_line("block: read-only, not written");
    return true;
  }
  if (!rewrite_last(device, sectors - 1)) return false;
  print_line("block: last sector written, read back, restored");
  return true;
}

bool tour_console(VirtioDevice& device) {
  static char reply[64];
  if (!device.start(0, rings, 2)) return false;
  Buffer input{reply, sizeof reply, true};
  device.offer(0, &input, 1);
  static const char hello[] = "hello from the built-in guest\n";
  Buffer output{hello, sizeof hello - 1, false};
  if (device.request(1, &output, 1) < 0) return false;
  print_line("console: said hello");
  return true;
}

bool tour_rng(VirtioDevice& device) {
  static std::uint8_t bytes[16];
  if (!device.start(0, rings, 1)) return false;
  Buffer buffer{bytes, sizeof bytes, true};
  std::int64_t length = device.request(0, &buffer, 1);
  if (length < 1 || length > 16) return false;
  print("rng: ", static_cast<std::uint64_t>(length), " bytes");
  for (std::int64_t i = 0; i < length; ++i) print(" ", Hex{bytes[i], 2});
  print_line("");
  return true;
}

bool tour_device(VirtioDevice& device) {
  switch (device.id()) {
    case 2:
      return tour_block(device);
    case 3:
      return tour_console(device);
    case 4:
      return tour_rng(device);
    default:
      return true;
  }
}

bool use(VirtioDevice& device) {
  bool fine = tour_device(device);
  if (!fine) print_line("virtio: ", name_of(device.id()), " FAILED");
  device.stop();
  return fine;
}

bool tour_mmio() {
  bool good = true;
  for (std::size_t i = 0; i < acpi.device_count; ++i) {
    const MmioDevice& where = acpi.devices[i];
    VirtioMmio transport;
    if (!transport.find(where)) continue;
    VirtioDevice device(transport);
    print_line("virtio: ", name_of(device.id()), " (", device.id(), ") at ", Hex{where.address}, " gsi ", where.gsi);
    good = use(device) && good;
  }
  return good;
}

bool tour_pci() {
  bool good = true;
  for (std::uint8_t number = 0; pci_present() && number < 32; ++number) {
    PciFunction where{number, 0};
    std::uint32_t identity = pci_read32(where, 0);
    // Both ways to configuration space must show the same.
    if (pci_port_read32(where, 0) != identity) {
      print_line("pci: ", std::uint64_t{number}, " differs between ECAM and ports: FAILED");
      good = false;
    }
    if ((identity & 0xffff) == 0xffff || (identity & 0xffff) == 0) continue;
    VirtioPci transport;
    if (!transport.find(where)) {
      print_line("pci: ", std::uint64_t{number}, " is ", Hex{identity & 0xffff, 4}, ":", Hex{identity >> 16, 4});
      continue;
    }
    VirtioDevice device(transport);
    print_line("virtio: ", name_of(device.id()), " (", device.id(), ") at pci ", std::uint64_t{number}, " bar ",
               Hex{transport.bar()});
    good = use(device) && good;
  }
  return good;
}

}  // namespace

bool tour_devices() {
  bool mmio = tour_mmio();
  return tour_pci() && mmio;
}

}  // namespace guest
