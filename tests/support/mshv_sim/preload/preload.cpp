// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// LD_PRELOAD: gives any program a /dev/mshv on /dev/kvm. Opening and closing are interposed; ioctls of the driver's
// type are caught as system calls, by a seccomp filter that sends SIGSYS, whoever makes them and however. In the
// handler every signal is blocked until the guest runs, so that the call is as indivisible as the kernel's: a signal
// came before it, and its handler saw the thread in front of it, or it interrupts the guest.
#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <ucontext.h>
#include <unistd.h>

#include <trivet/mshv_sim/simulator.hpp>

namespace {

using trivet::mshv_sim::Knobs;
using trivet::mshv_sim::Simulator;

constexpr const char* device_path = "/dev/mshv";
constexpr const char* knobs_variable = "TRIVET_MSHV_SIMULATOR";

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "mshv simulator: %s\n", what);
  std::_Exit(127);
}

Knobs chosen_knobs() {
  Knobs knobs;
  std::string wrong;
  const char* const words = std::getenv(knobs_variable);
  if (words != nullptr && !knobs.parse(words, wrong)) {
    give_up((std::string(knobs_variable) + ": there is no \"" + wrong + "\"").c_str());
  }
  return knobs;
}

Simulator& simulator() {
  static auto* const one = new Simulator(chosen_knobs());  // never destroyed: threads may outlive static objects
  return *one;
}

void caught(int, siginfo_t*, void* context) {
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  const int saved = errno;
  const auto fd = static_cast<int>(machine.gregs[REG_RDI]);
  const auto request = static_cast<unsigned long>(machine.gregs[REG_RSI]) & 0xffffffff;
  // SAFETY: the call's own argument, an address of this process.
  auto* const argument = reinterpret_cast<void*>(machine.gregs[REG_RDX]);
  machine.gregs[REG_RAX] =
      simulator().ioctl(fd, request, argument, static_cast<const ucontext_t*>(context)->uc_sigmask);
  errno = saved;
}

void catch_ioctls() {
  struct sigaction action {};
  action.sa_sigaction = caught;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  ::sigfillset(&action.sa_mask);
  if (::sigaction(SIGSYS, &action, nullptr) != 0) give_up("sigaction");
  // ioctls whose number says type 0xb8; everything else as before.
  static sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 6),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff00),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0xb800, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof program[0], program};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) == 0) return;
  // Without the right to do so, only after giving up to gain rights.
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &filter) != 0)
    give_up("this kernel takes no seccomp filter");
}

__attribute__((constructor)) void begin() {
  (void)simulator();
  catch_ioctls();
}

template <class Function>
Function next(const char* name) {
  // SAFETY: what dlsym gives for a function's name is that function.
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

bool is_device(const char* path) {
  return path != nullptr && std::strcmp(path, device_path) == 0;
}

int open_device() {
  const int fd = simulator().open_device();
  if (fd >= 0) return fd;
  errno = -fd;
  return -1;
}

mode_t mode_of(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

}  // namespace

#define TRIVET_INTERPOSED extern "C" __attribute__((visibility("default")))

#define TRIVET_OPEN(name)                                                 \
  TRIVET_INTERPOSED int name(const char* path, int flags, ...) {          \
    if (is_device(path)) return open_device();                            \
    va_list arguments;                                                    \
    va_start(arguments, flags);                                           \
    const mode_t mode = mode_of(flags, arguments);                        \
    va_end(arguments);                                                    \
    static const auto real = next<int (*)(const char*, int, ...)>(#name); \
    return real(path, flags, mode);                                       \
  }
#define TRIVET_OPENAT(name)                                                    \
  TRIVET_INTERPOSED int name(int folder, const char* path, int flags, ...) {   \
    if (is_device(path)) return open_device();                                 \
    va_list arguments;                                                         \
    va_start(arguments, flags);                                                \
    const mode_t mode = mode_of(flags, arguments);                             \
    va_end(arguments);                                                         \
    static const auto real = next<int (*)(int, const char*, int, ...)>(#name); \
    return real(folder, path, flags, mode);                                    \
  }
TRIVET_OPEN(open)
TRIVET_OPEN(open64)
TRIVET_OPENAT(openat)
TRIVET_OPENAT(openat64)

TRIVET_INTERPOSED int access(const char* path, int mode) {
  static const auto real = next<int (*)(const char*, int)>("access");
  return real(is_device(path) ? "/dev/kvm" : path, mode);
}

TRIVET_INTERPOSED int close(int fd) {
  static const auto real = next<int (*)(int)>("close");
  simulator().drop(fd);
  return real(fd);
}
