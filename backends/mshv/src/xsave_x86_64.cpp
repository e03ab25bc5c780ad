// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "xsave_x86_64.hpp"

#include <algorithm>
#include <cstring>

namespace trivet::mshv {
namespace {

constexpr std::size_t legacy_size = 512, head_size = 576;
constexpr std::size_t present_at = 512, format_at = 520;
constexpr std::uint64_t legacy_states = 3;
constexpr std::uint64_t is_compacted = std::uint64_t{1} << 63;
constexpr std::uint64_t largest = 1U << 20;  // of any processor, by far

std::uint64_t word_at(std::span<const std::uint8_t> area, std::size_t at) {
  std::uint64_t value = 0;
  std::memcpy(&value, area.data() + at, sizeof value);
  return value;
}

}  // namespace

XsaveLayout::XsaveLayout(std::span<const CpuidEntry> cpuid) : standard_size_(head_size) {
  for (const auto& entry : cpuid) {
    constexpr std::uint32_t supervisor = 1, aligned = 2;
    if (entry.leaf != 0xd || entry.subleaf < 2 || entry.subleaf > 62 || entry.eax == 0) continue;
    if ((entry.ecx & supervisor) != 0 || entry.ebx < head_size || std::uint64_t{entry.ebx} + entry.eax > largest)
      continue;
    components_.push_back({entry.subleaf, entry.eax, entry.ebx, (entry.ecx & aligned) != 0});
    standard_size_ = std::max<std::size_t>(standard_size_, std::size_t{entry.ebx} + entry.eax);
  }
  std::sort(components_.begin(), components_.end(), [](const auto& a, const auto& b) { return a.bit < b.bit; });
}

std::vector<XsaveLayout::Place> XsaveLayout::places(std::uint64_t states) const {
  std::vector<Place> found;
  std::size_t at = head_size;
  for (const auto& component : components_) {
    if ((states >> component.bit & 1) == 0) continue;
    if (component.aligned) at = (at + 63) & ~std::size_t{63};
    found.push_back({component, at});
    at += component.size;
  }
  return found;
}

Result<std::vector<std::uint8_t>> XsaveLayout::to_standard(std::span<const std::uint8_t> compacted) const {
  constexpr auto operation = "read the xsave area";
  if (compacted.size() < head_size) return Error::malformed(operation, "it is shorter than 576 bytes");
  const auto format = word_at(compacted, format_at), present = word_at(compacted, present_at);
  if ((format & is_compacted) == 0) return Error::malformed(operation, "it is not compacted");
  std::vector<std::uint8_t> area(standard_size_);
  std::memcpy(area.data(), compacted.data(), legacy_size);
  std::uint64_t kept = present & legacy_states;
  for (const auto& [component, offset] : places(format & ~is_compacted)) {
    if (offset + component.size > compacted.size()) return Error::malformed(operation, "it ends within a component");
    if ((present >> component.bit & 1) == 0) continue;
    std::memcpy(area.data() + component.offset, compacted.data() + offset, component.size);
    kept |= std::uint64_t{1} << component.bit;
  }
  std::memcpy(area.data() + present_at, &kept, sizeof kept);
  return area;
}

Result<void> XsaveLayout::to_compacted(std::span<const std::uint8_t> standard, std::uint64_t states,
                                       std::span<std::uint8_t> compacted) const {
  constexpr auto operation = "restore vCPU state";
  if (standard.size() < head_size || compacted.size() < head_size) {
    return Error::malformed(operation, "xsave is shorter than 576 bytes");
  }
  const auto present = word_at(standard, present_at);
  if ((present & ~states & ~legacy_states) != 0) {
    return Error::unsupported(operation, "the xsave area uses a feature beyond this host's");
  }
  std::fill(compacted.begin(), compacted.end(), std::uint8_t{0});
  std::memcpy(compacted.data(), standard.data(), legacy_size);
  std::memcpy(compacted.data() + present_at, &present, sizeof present);
  const auto format = states | legacy_states | is_compacted;
  std::memcpy(compacted.data() + format_at, &format, sizeof format);
  for (const auto& [component, offset] : places(states)) {
    if ((present >> component.bit & 1) == 0) continue;
    if (component.offset + component.size > standard.size()) {
      return Error::malformed(operation, "xsave ends within a component");
    }
    if (offset + component.size > compacted.size()) {
      return Error(Errc::hypervisor, operation, "the hypervisor's xsave area is too short", Blame::host);
    }
    std::memcpy(compacted.data() + offset, standard.data() + component.offset, component.size);
  }
  return {};
}

}  // namespace trivet::mshv
