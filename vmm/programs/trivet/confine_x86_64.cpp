// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <linux/audit.h>
#include <sys/syscall.h>

#include "confine.hpp"

namespace trivet::program {
namespace {

constexpr auto allowed = std::to_array<unsigned>({
    // what is open
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_fsync,
    SYS_fdatasync,
    SYS_fallocate,
    SYS_lseek,
    SYS_fstat,
    SYS_fcntl,
    SYS_ioctl,
    SYS_close,
    SYS_io_uring_enter,
    // waiting
    SYS_poll,
    SYS_ppoll,
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_epoll_ctl,
    SYS_epoll_create1,
    SYS_eventfd2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_gettimeofday,
    SYS_futex,
    SYS_restart_syscall,
    // memory
    SYS_brk,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    // threads and their signals
    SYS_set_robust_list,
    SYS_rseq,
    SYS_gettid,
    SYS_getpid,
    SYS_tgkill,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_prctl,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_exit,
    SYS_exit_group,
    SYS_getrandom,
});
constexpr auto mapping = std::to_array<unsigned>({SYS_mmap, SYS_mprotect});

}  // namespace

std::span<const unsigned> allowed_calls() noexcept {
  return allowed;
}
std::span<const unsigned> mapping_calls() noexcept {
  return mapping;
}
unsigned call_architecture() noexcept {
  return AUDIT_ARCH_X86_64;
}

}  // namespace trivet::program
