// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Any bytes as a context: refused, or the same bytes again when written, and its MSRs and registers are read within it.
#include <cstdlib>

#include "hvm_context_x86_64.hpp"
#include "msrs_x86_64.hpp"
#include "registers_x86_64.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trivet::xen;
  const std::span bytes(data, size);
  const auto context = HvmContext::parse(bytes);
  if (!context) return 0;
  const auto again = context->serialise();
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
  for (const auto& record : context->records()) {
    const auto msrs = msrs_of(*context, record.instance);
    auto out = *context;
    if (put_msrs(out, *context, record.instance, msrs)) {
      // What was read fits back where it was.
      for (const auto& msr : msrs_of(out, record.instance)) (void)msr;
    }
    hvm_hw_cpu cpu{};
    if (!context->get(RecordType::cpu, record.instance, cpu)) continue;
    hvm_hw_cpu back = cpu;
    put(back, general_registers(cpu));
    put(back, debug_registers(cpu));
    if (general_registers(back) != general_registers(cpu)) std::abort();
    put(back, system_registers(cpu));
    if (system_registers(back) != system_registers(cpu)) std::abort();
    (void)pending_events(cpu);
    if (legacy_xsave(cpu).area.size() != 576) std::abort();
  }
  return 0;
}
