// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "cpuid_x86_64.hpp"

#include <algorithm>
#include <array>

#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

constexpr std::uint32_t most_leaves = 64;  // of a range; a processor has some thirty
constexpr std::uint32_t most_subleaves = 64;

class Reader {
 public:
  Reader(const Handle& vp, std::uint32_t index) : vp_(vp), index_(index) {}

  Result<std::vector<CpuidEntry>> run() {
    for (const std::uint32_t first : {0U, 0x40000000U, 0x80000000U}) TRIVET_TRY(range(first));
    return std::move(entries_);
  }

 private:
  Result<CpuidEntry> ask(std::uint32_t leaf, std::uint32_t subleaf) const {
    struct {
      abi::CpuidValues header;
      abi::CpuidLeaf leaf;
    } input{};
    input.header.vp = index_;
    input.header.flags = abi::cpuid_own_xfem | abi::cpuid_registered;
    input.leaf.eax = leaf;
    input.leaf.ecx = subleaf;
    std::array<std::uint32_t, 4> output{};
    TRIVET_TRY(repeated_hypercall(vp_, abi::HypercallCode::get_vp_cpuid_values, 1, bytes_of(input),
                                  writable_bytes_of(output), "read CPUID"));
    return CpuidEntry{leaf, subleaf, false, output[0], output[1], output[2], output[3]};
  }

  Result<void> range(std::uint32_t first) {
    TRIVET_ASSIGN(const auto head, ask(first, 0));
    if (head.eax < first) return {};  // there is no such range
    const auto last = first + std::min(head.eax - first, most_leaves);
    for (auto leaf = first; leaf <= last; ++leaf) TRIVET_TRY(one(leaf));
    return {};
  }

  /// The leaf's subleaves up to where it says that it ends. Source: Intel SDM volume 2, CPUID; AMD APM volume 3, E.4.
  Result<void> one(std::uint32_t leaf) {
    TRIVET_ASSIGN(auto entry, ask(leaf, 0));
    std::uint32_t last = 0;
    switch (leaf) {
      case 4:
      case 0x8000001d:
        return until(leaf, [](const CpuidEntry& e) { return (e.eax & 0x1f) == 0; });
      case 0xb:
      case 0x1f:
        return until(leaf, [](const CpuidEntry& e) { return (e.ecx & 0xff00) == 0; });
      case 7:
      case 0x14:
      case 0x17:
      case 0x18:
      case 0x1d:
        last = std::min(entry.eax, most_subleaves);
        break;
      case 0xd:
        last = 62;
        break;
      case 0xf:
      case 0x10:
      case 0x12:
        last = 3;
        break;
      default:
        entries_.push_back(entry);
        return {};
    }
    entry.subleaf_matters = true;
    entries_.push_back(entry);
    for (std::uint32_t subleaf = 1; subleaf <= last; ++subleaf) {
      TRIVET_ASSIGN(auto next, ask(leaf, subleaf));
      next.subleaf_matters = true;
      if ((next.eax | next.ebx | next.ecx | next.edx) != 0) entries_.push_back(next);
    }
    return {};
  }

  template <class Ends>
  Result<void> until(std::uint32_t leaf, Ends&& ends) {
    for (std::uint32_t subleaf = 0; subleaf < most_subleaves; ++subleaf) {
      TRIVET_ASSIGN(auto entry, ask(leaf, subleaf));
      entry.subleaf_matters = true;
      entries_.push_back(entry);
      if (ends(entry)) break;
    }
    return {};
  }

  const Handle& vp_;
  const std::uint32_t index_;
  std::vector<CpuidEntry> entries_;
};

Result<void> register_one(const Handle& vp, std::uint32_t index, const CpuidEntry& entry) {
  abi::CpuidResult input{};
  input.vp = index;
  input.intercept_type = abi::intercept_cpuid;
  input.leaf = entry.leaf;
  input.subleaf = entry.subleaf_matters ? entry.subleaf : 0;
  input.subleaf_specific = entry.subleaf_matters ? 1 : 0;
  input.always_override = 1;
  input.eax = entry.eax, input.ebx = entry.ebx, input.ecx = entry.ecx, input.edx = entry.edx;
  // All bits: a mask that is the value itself cannot clear any.
  input.eax_mask = input.ebx_mask = input.ecx_mask = input.edx_mask = ~0U;
  return hypercall(vp, abi::HypercallCode::register_intercept_result, bytes_of(input).first(abi::cpuid_result_size), {},
                   "set CPUID");
}

}  // namespace

Result<std::vector<CpuidEntry>> read_cpuid(const Handle& vp, std::uint32_t index) {
  return Reader(vp, index).run();
}

Result<void> register_cpuid(const Handle& vp, std::uint32_t index, std::span<const CpuidEntry> entries,
                            std::span<const CpuidEntry> now) {
  for (const auto& old : now) {
    const bool kept = std::any_of(entries.begin(), entries.end(), [&](const CpuidEntry& entry) {
      return entry.leaf == old.leaf && (!entry.subleaf_matters || entry.subleaf == old.subleaf);
    });
    CpuidEntry nothing;
    nothing.leaf = old.leaf, nothing.subleaf = old.subleaf, nothing.subleaf_matters = old.subleaf_matters;
    if (!kept) TRIVET_TRY(register_one(vp, index, nothing));
  }
  for (const auto& entry : entries) TRIVET_TRY(register_one(vp, index, entry));
  return {};
}

}  // namespace trivet::mshv
