// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "guest_loader.hpp"

#include <algorithm>
#include <cstring>

#include "guest_image.hpp"

namespace conformance {
namespace {

constexpr std::uint64_t start_info_at = 0x6000;
constexpr std::uint64_t memory_map_at = 0x6080;
constexpr std::uint64_t command_line_at = 0x6100;

template <typename T>
T read(trivet::ConstBytes from, std::size_t at) {
  T value{};
  std::memcpy(&value, from.subspan(at, sizeof value).data(), sizeof value);
  return value;
}

template <typename T>
void write(trivet::Bytes to, std::uint64_t at, T value) {
  std::memcpy(to.subspan(at, sizeof value).data(), &value, sizeof value);
}

// The image is our own build: only that it fits is checked.
std::uint64_t load_image(trivet::Bytes ram, trivet::ConstBytes image) {
  constexpr std::uint32_t loadable = 1;
  const auto table = read<std::uint64_t>(image, 32);
  const auto entry_size = read<std::uint16_t>(image, 54);
  const auto count = read<std::uint16_t>(image, 56);
  for (std::uint16_t i = 0; i < count; ++i) {
    const auto header = image.subspan(table + std::uint64_t{i} * entry_size, entry_size);
    if (read<std::uint32_t>(header, 0) != loadable) continue;
    const auto offset = read<std::uint64_t>(header, 8);
    const auto address = read<std::uint64_t>(header, 24);
    const auto size = read<std::uint64_t>(header, 32);
    std::ranges::copy(image.subspan(offset, size), ram.subspan(address, size).begin());
  }
  return read<std::uint64_t>(image, 24);
}

trivet::Segment flat_segment(std::uint16_t selector, std::uint8_t type) {
  return {.base = 0,
          .limit = 0xffffffff,
          .selector = selector,
          .type = type,
          .privilege = 0,
          .present = true,
          .code_or_data = true,
          .default_big = true,
          .granularity = true};
}

}  // namespace

trivet::Result<std::uint64_t> load_guest(trivet::Bytes ram, std::string_view command_line) {
  std::ranges::fill(ram, std::byte{0});
  const auto image = builtin_guest_image();
  if (image.size() < 64 || image.size() > ram.size()) {
    return trivet::Error(trivet::Errc::malformed, "load guest", "the built-in image is empty or too large");
  }
  const auto entry = load_image(ram, image);
  // hvm_start_info, version 1
  write<std::uint32_t>(ram, start_info_at, 0x336ec578);
  write<std::uint32_t>(ram, start_info_at + 4, 1);
  write<std::uint64_t>(ram, start_info_at + 24, command_line_at);
  write<std::uint64_t>(ram, start_info_at + 40, memory_map_at);
  write<std::uint32_t>(ram, start_info_at + 48, 1);
  write<std::uint64_t>(ram, memory_map_at, 0);
  write<std::uint64_t>(ram, memory_map_at + 8, ram.size());
  write<std::uint32_t>(ram, memory_map_at + 16, 1);
  std::memcpy(ram.subspan(command_line_at, command_line.size()).data(), command_line.data(), command_line.size());
  return entry;
}

trivet::Result<void> set_boot_registers(trivet::Vcpu& vcpu, std::uint64_t entry) {
  TRIVET_ASSIGN(auto system, vcpu.system_registers());
  system.cs = flat_segment(0x08, 0xb);
  system.ds = system.es = system.fs = system.gs = system.ss = flat_segment(0x10, 0x3);
  system.tr = {.limit = 0x67, .type = 0xb, .present = true};
  system.cr0 = 0x11;  // ET, PE
  system.cr3 = 0;
  system.cr4 = 0;
  system.efer = 0;
  TRIVET_TRY(vcpu.set_system_registers(system));
  return vcpu.set_registers({.rbx = start_info_at, .rip = entry});
}

}  // namespace conformance
