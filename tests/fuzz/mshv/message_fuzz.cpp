// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Whatever RUN_VP writes: it is refused, or what comes of it keeps its promises.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "message.hpp"

namespace {

using namespace trivet::mshv;

void expect(bool held) {
  if (!held) std::abort();
}

struct Check {
  void operator()(const intercepts::Port& port) const {
    expect(port.size == 1 || port.size == 2 || port.size == 4);
    expect(port.port + port.size <= 0x10000);
    of(port.instruction);
  }
  void operator()(const intercepts::Memory& memory) const {
    expect((memory.at.value >> 52) == 0);
    expect(!(memory.write && memory.fetch));
    of(memory.instruction);
  }
  void operator()(const intercepts::Msr& msr) const {
    expect(msr.write || msr.value == 0);
    of(msr.instruction);
  }
  void operator()(const intercepts::Halt& halt) const { of(halt.instruction); }
  template <class Other>
  void operator()(const Other&) const {}

  static void of(const intercepts::Instruction& instruction) {
    expect(instruction.length <= 15);
    expect(instruction.byte_count <= instruction.bytes.size());
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  abi::Message message{};
  std::memcpy(&message, data, std::min(size, sizeof message));
  const auto result = decode(message, 0);
  if (result)
    std::visit(Check{}, *result);
  else
    expect(result.error().blame() == trivet::Blame::host);
  return 0;
}
