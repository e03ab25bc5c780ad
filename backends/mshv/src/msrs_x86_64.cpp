// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "msrs_x86_64.hpp"

#include <array>
#include <cinttypes>
#include <cstdio>

#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

namespace reg = abi::reg;

/// `count` MSRs from `msr`, each `step` after the other, are as many registers from `name`.
struct Run {
  std::uint32_t msr, name, count, step;
};
constexpr std::array runs{
    Run{0x48, reg::spec_ctrl, 1, 1},        Run{0x174, reg::sysenter_cs, 1, 1},
    Run{0x175, reg::sysenter_esp, 1, 1},    Run{0x176, reg::sysenter_eip, 1, 1},
    Run{0x200, reg::mtrr_phys_base0, 8, 2}, Run{0x201, reg::mtrr_phys_mask0, 8, 2},
    Run{0x250, reg::mtrr_fix64k, 1, 1},     Run{0x258, reg::mtrr_fix64k + 1, 2, 1},
    Run{0x268, reg::mtrr_fix64k + 3, 8, 1}, Run{0x277, reg::pat, 1, 1},
    Run{0x2ff, reg::mtrr_def_type, 1, 1},   Run{msr_tsc_deadline, reg::tsc_deadline, 1, 1},
    Run{0xc0000081, reg::star, 4, 1},       Run{0xc0000102, reg::kernel_gs_base, 1, 1},
    Run{0xc0000103, reg::tsc_aux, 1, 1},
};

Error refused(const MsrValue& value, const char* why) {
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "MSR 0x%" PRIx32 " = 0x%" PRIx64 ": %s", value.index, value.value, why);
  return Error(Errc::unsupported, "restore MSRs", text.data(), Blame::host);
}

}  // namespace

std::optional<std::uint32_t> register_of_msr(std::uint32_t index) {
  for (const auto& run : runs) {
    if (index < run.msr || (index - run.msr) % run.step != 0) continue;
    if (const auto n = (index - run.msr) / run.step; n < run.count) return run.name + n;
  }
  return std::nullopt;
}

void MsrList::load(const Handle& vp, std::uint32_t index) {
  for (const auto& run : runs) {
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const std::uint32_t name = run.name + i;
      abi::RegisterValue value{};
      if (!read_registers(vp, index, {&name, 1}, {&value, 1})) continue;
      msrs_.push_back(run.msr + i * run.step);
      names_.push_back(name);
    }
  }
  loaded_ = true;
}

Result<std::vector<MsrValue>> MsrList::read(const Handle& vp, std::uint32_t index) {
  const std::scoped_lock lock(mutex_);
  if (!loaded_) load(vp, index);
  std::vector<abi::RegisterValue> read(names_.size());
  TRIVET_TRY(read_registers(vp, index, names_, read));
  std::vector<MsrValue> values;
  values.reserve(msrs_.size());
  for (std::size_t i = 0; i < msrs_.size(); ++i) values.push_back({msrs_[i], read[i].low});
  return values;
}

Result<void> MsrList::write(const Handle& vp, std::uint32_t index, std::span<const MsrValue> values) {
  for (const auto& value : values) {
    const auto name = register_of_msr(value.index);
    if (!name && value.value == 0) continue;
    if (!name) return refused(value, "the hypervisor has no register for it");
    const auto assignment = assign(*name, value.value);
    if (const auto written = write_registers(vp, index, {&assignment, 1}); !written && value.value != 0) {
      return refused(value, "the hypervisor refuses it");
    }
  }
  return {};
}

}  // namespace trivet::mshv
