// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "confine.hpp"

#include <array>
#include <cerrno>
#include <linux/capability.h>
#include <memory>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace trivet::program {
namespace {

constexpr auto operation = "give up privileges";

constexpr auto allowed = std::to_array<int>({
    // what is open
    SCMP_SYS(read),
    SCMP_SYS(write),
    SCMP_SYS(readv),
    SCMP_SYS(writev),
    SCMP_SYS(pread64),
    SCMP_SYS(pwrite64),
    SCMP_SYS(preadv),
    SCMP_SYS(pwritev),
    SCMP_SYS(preadv2),
    SCMP_SYS(pwritev2),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(fallocate),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(fcntl),
    SCMP_SYS(ioctl),
    SCMP_SYS(close),
    SCMP_SYS(io_uring_enter),
    // waiting
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_create1),
    SCMP_SYS(eventfd2),
    SCMP_SYS(timerfd_create),
    SCMP_SYS(timerfd_settime),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(futex),
    SCMP_SYS(restart_syscall),
    // memory
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    // threads and their signals
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(gettid),
    SCMP_SYS(getpid),
    SCMP_SYS(tgkill),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(prctl),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getrandom),
});
// allowed without PROT_EXEC
constexpr auto mapping = std::to_array<int>({SCMP_SYS(mmap), SCMP_SYS(mprotect)});

/// Of libseccomp's functions, which return minus the error's number.
Result<void> checked(int status) {
  if (status == 0) return {};
  return Error::from_errno(-status, operation, "seccomp");
}

Result<void> allow(scmp_filter_ctx filter) {
  for (const auto call : allowed) TRIVET_TRY(checked(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 0, nullptr)));
  const scmp_arg_cmp not_executable{2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0};
  for (const auto call : mapping) {
    TRIVET_TRY(checked(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &not_executable)));
  }
  // glibc tries clone3 first, whose flags are in memory that no filter sees, and takes clone then.
  TRIVET_TRY(checked(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, nullptr)));
  const scmp_arg_cmp thread{0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD};
  return checked(seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &thread));
}

}  // namespace

Result<void> confine() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return Error::from_errno(errno, operation, "capabilities");
  const std::unique_ptr<void, decltype(&seccomp_release)> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)), &seccomp_release);
  if (filter == nullptr) return Error(Errc::no_memory, operation, "seccomp");
  // Loading it sets no_new_privs, too, which is the library's default.
  TRIVET_TRY(checked(seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)));
  TRIVET_TRY(checked(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1)));
  TRIVET_TRY(allow(filter.get()));
  return checked(seccomp_load(filter.get()));
}

}  // namespace trivet::program
