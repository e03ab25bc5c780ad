// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "cpuid_x86_64.hpp"

#include <algorithm>
#include <bit>
#include <string>

#include "ioctl.hpp"
#include "registers_x86_64.hpp"

namespace trivet::kvm {
namespace {

constexpr std::size_t first_guess = 128;
constexpr std::size_t most_entries = 4096;  // far beyond any kernel's own bound (256)

std::vector<CpuidEntry> from_buffer(CpuidBuffer& buffer) {
  std::vector<CpuidEntry> entries;
  entries.reserve(buffer.header()->nent);
  for (const auto& entry : buffer.elements().first(buffer.header()->nent)) entries.push_back(from_kernel(entry));
  return entries;
}

/// Both getters say E2BIG when the buffer is short.
Result<std::vector<CpuidEntry>> read_all(int fd, Request<kvm_cpuid2> request) {
  for (std::size_t count = first_guess;; count *= 2) {
    CpuidBuffer buffer(count);
    buffer.header()->nent = static_cast<std::uint32_t>(count);
    const auto got = call(fd, request, buffer.header());
    if (got) return from_buffer(buffer);
    if (got.error().os_errno() != E2BIG || count >= most_entries) return got.error();
  }
}

constexpr std::uint32_t leaf1_x2apic = 1U << 21;
constexpr std::uint32_t leaf1_tsc_deadline = 1U << 24;
constexpr std::uint32_t leaf1_hypervisor = 1U << 31;  // in ECX, as the two above
constexpr std::uint32_t leaf1_htt = 1U << 28;         // in EDX

void set_field(std::uint32_t& reg, unsigned shift, std::uint32_t mask, std::uint32_t value) {
  reg = (reg & ~(mask << shift)) | ((value & mask) << shift);
}

void describe_leaf1(CpuidEntry& entry, unsigned apic_id, unsigned width, IrqchipKind irqchip) {
  const auto logical = std::min(1U << width, 255U);
  set_field(entry.ebx, 24, 0xff, apic_id);
  set_field(entry.ebx, 16, 0xff, logical);
  entry.edx = width > 0 ? entry.edx | leaf1_htt : entry.edx & ~leaf1_htt;
  if (irqchip == IrqchipKind::none) entry.ecx &= ~(leaf1_x2apic | leaf1_tsc_deadline);
}

/// Leaves 0xb and 0x1f: threads, then cores, then the end.
void describe_topology(std::vector<CpuidEntry>& entries, std::uint32_t leaf, unsigned apic_id, unsigned vcpus,
                       unsigned width) {
  const auto is_leaf = [leaf](const CpuidEntry& entry) { return entry.leaf == leaf; };
  const auto place = std::find_if(entries.begin(), entries.end(), is_leaf);
  if (place == entries.end()) return;
  const auto at = place - entries.begin();
  entries.erase(std::remove_if(place, entries.end(), is_leaf), entries.end());
  const CpuidEntry levels[] = {{leaf, 0, true, 0, 1, 0x100, apic_id},
                               {leaf, 1, true, width, vcpus, 0x201, apic_id},
                               {leaf, 2, true, 0, 0, 2, apic_id}};
  entries.insert(entries.begin() + at, std::begin(levels), std::end(levels));
}

bool is_amd(std::span<const CpuidEntry> entries) {
  constexpr std::uint32_t auth = 0x68747541;  // "Auth"enticAMD
  constexpr std::uint32_t hygo = 0x6f677948;  // "Hygo"nGenuine
  return std::any_of(entries.begin(), entries.end(), [](const CpuidEntry& entry) {
    return entry.leaf == 0 && (entry.ebx == auth || entry.ebx == hygo);
  });
}

/// KVM's own features (0x40000001) that interrupts carry: async page faults, PV EOI, unhalt, send IPI, and their kin.
constexpr std::uint32_t pv_needs_lapic =
    1U << 4 | 1U << 6 | 1U << 7 | 1U << 10 | 1U << 11 | 1U << 13 | 1U << 14 | 1U << 15;

}  // namespace

Result<std::vector<CpuidEntry>> supported_cpuid(const Device& device) {
  TRIVET_ASSIGN(auto entries, read_all(device.fd(), TRIVET_KVM_REQUEST(KVM_GET_SUPPORTED_CPUID, kvm_cpuid2)));
  const bool deadline = device.extension(KVM_CAP_TSC_DEADLINE_TIMER) > 0;
  for (auto& entry : entries) {
    if (entry.leaf != 1) continue;
    entry.ecx |= leaf1_hypervisor;  // without it no guest looks for kvmclock at 0x40000000
    if (deadline) entry.ecx |= leaf1_tsc_deadline;
  }
  return entries;
}

std::vector<CpuidEntry> cpuid_of_vcpu(std::vector<CpuidEntry> entries, unsigned apic_id, unsigned vcpus,
                                      IrqchipKind irqchip) {
  const auto width = static_cast<unsigned>(std::bit_width(std::max(vcpus, 1U) - 1));
  const bool amd = is_amd(entries);
  describe_topology(entries, 0xb, apic_id, vcpus, width);
  describe_topology(entries, 0x1f, apic_id, vcpus, width);
  for (auto& entry : entries) {
    switch (entry.leaf) {
      case 1:
        describe_leaf1(entry, apic_id, width, irqchip);
        break;
      case 4:             // Intel: who shares a cache, and cores in the package
      case 0x8000001d: {  // AMD: the same caches
        const auto type = entry.eax & 0x1f;
        const auto level = (entry.eax >> 5) & 7;
        if (type == 0) break;
        set_field(entry.eax, 14, 0xfff, level >= 3 ? (1U << width) - 1 : 0);
        if (entry.leaf == 4) set_field(entry.eax, 26, 0x3f, std::min((1U << width) - 1, 0x3fU));
        break;
      }
      case 0x40000001:
        if (irqchip == IrqchipKind::none) entry.eax &= ~pv_needs_lapic;
        break;
      case 0x80000008:  // AMD: cores less one, and how many APIC id bits they take
        if (!amd) break;
        set_field(entry.ecx, 0, 0xff, std::min(vcpus - 1, 255U));
        set_field(entry.ecx, 12, 0xf, width);
        break;
      case 0x8000001e:  // AMD: extended APIC id, core id with one thread each, node 0
        entry.eax = apic_id;
        entry.ebx = apic_id & 0xff;
        entry.ecx = 0;
        break;
      default:
        break;
    }
  }
  return entries;
}

unsigned physical_address_bits(std::span<const CpuidEntry> entries) {
  for (const auto& entry : entries) {
    if (entry.leaf == 0x80000008 && (entry.eax & 0xff) != 0) return entry.eax & 0xff;
  }
  return 36;
}

Result<void> write_cpuid(int vcpu_fd, std::span<const CpuidEntry> entries) {
  CpuidBuffer buffer(entries.size());
  buffer.header()->nent = static_cast<std::uint32_t>(entries.size());
  std::transform(entries.begin(), entries.end(), buffer.elements().begin(),
                 [](const CpuidEntry& entry) { return to_kernel(entry); });
  return perform(vcpu_fd, TRIVET_KVM_REQUEST(KVM_SET_CPUID2, kvm_cpuid2), buffer.header(),
                 std::to_string(entries.size()) + " entries");
}

Result<std::vector<CpuidEntry>> read_cpuid(int vcpu_fd) {
  return read_all(vcpu_fd, TRIVET_KVM_REQUEST(KVM_GET_CPUID2, kvm_cpuid2));
}

}  // namespace trivet::kvm
