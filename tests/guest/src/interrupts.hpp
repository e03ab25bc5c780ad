// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The interrupt table and what to do for each vector.
#pragma once

#include <cstdint>

namespace guest {

/// What the stubs leave on the stack; the layout is interrupts.S's.
struct InterruptFrame {
  std::uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
  std::uint64_t vector, error, rip, cs, rflags, rsp, ss;
};

using InterruptHandler = void (*)(InterruptFrame&);

/// Loads the table; every exception ends the guest until a handler is set for it.
void interrupts_start();
/// Loads the same table on another processor.
void interrupts_load();
/// Calls `handler` for `vector` from now on. A handler may change the frame; it must not enable interrupts.
void set_handler(std::uint8_t vector, InterruptHandler handler);

}  // namespace guest
