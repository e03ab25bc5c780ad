// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest's page tables are whatever the guest wrote: the walk ends, reads only what is there, and keeps the offset in
// the page.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

#include <trivet/core/page_walk_x86_64.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace trivet;
  // cr0, cr3, cr4, efer, the address; the rest is guest memory from 0, read again and again beyond its end.
  std::uint64_t words[5]{};
  if (size <= sizeof words) return 0;
  std::memcpy(words, data, sizeof words);
  const std::span memory(data + sizeof words, size - sizeof words);
  SystemRegisters system;
  system.cr0 = words[0], system.cr3 = words[1], system.cr4 = words[2], system.efer = words[3];
  int reads = 0;
  const auto read = [&](GuestAddress at, void* to, std::size_t bytes) {
    if (++reads > 5 || (bytes != 4 && bytes != 8) || at.value % bytes != 0) std::abort();
    for (std::size_t i = 0; i < bytes; ++i) static_cast<std::uint8_t*>(to)[i] = memory[(at.value + i) % memory.size()];
    return true;
  };
  const auto found = walk_pages(system, {words[4]}, read);
  if (found && ((found->address.value ^ words[4]) & 0xfff) != 0) std::abort();
  return 0;
}
