// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <sys/syscall.h>
#include <ucontext.h>

#include "abi.hpp"
#include "run_window.hpp"

static_assert(SYS_ioctl == 16 && EINTR == 4, "the numbers below");
static_assert(sizeof(trivet::mshv::StopFlag) == 4 && trivet::mshv::StopFlag::is_always_lock_free);

extern "C" {
// Kernel registers: rdi descriptor, rsi request, rdx argument; the syscall destroys rcx and r11. The ioctl has happened
// once the instruction pointer stands on `end`; a call that the kernel restarts stands before the syscall again.
long trivet_mshv_run(int fd, unsigned long request, void* message, const void* stop);
extern const char trivet_mshv_run_begin[];
extern const char trivet_mshv_run_end[];
}
asm(R"(
  .pushsection .text.trivet_mshv_run,"ax",@progbits
  .balign 16
  .globl trivet_mshv_run, trivet_mshv_run_begin, trivet_mshv_run_end
  .hidden trivet_mshv_run, trivet_mshv_run_begin, trivet_mshv_run_end
  .type trivet_mshv_run,@function
trivet_mshv_run:
  .cfi_startproc
  movq %rcx, %r8
trivet_mshv_run_begin:
  cmpl $0, (%r8)
  jne 1f
  movl $16, %eax
  syscall
trivet_mshv_run_end:
  ret
1:
  movq $-4, %rax
  ret
  .cfi_endproc
  .size trivet_mshv_run, .-trivet_mshv_run
  .popsection
)");

namespace trivet::mshv {

int run_window(int vp_fd, void* message, const StopFlag& stop) noexcept {
  return static_cast<int>(trivet_mshv_run(vp_fd, abi::run_vp, message, &stop));
}

void leave_run(void* interrupted) noexcept {
  if (interrupted == nullptr) return;
  auto& pointer = static_cast<ucontext_t*>(interrupted)->uc_mcontext.gregs[REG_RIP];
  // SAFETY: only the numbers of the addresses are compared; the begin is where this very thread was or would be.
  const auto begin = reinterpret_cast<greg_t>(&trivet_mshv_run_begin[0]);
  const auto end = reinterpret_cast<greg_t>(&trivet_mshv_run_end[0]);
  if (pointer >= begin && pointer < end) pointer = begin;
}

}  // namespace trivet::mshv
