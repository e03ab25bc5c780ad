// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <mutex>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <trivet/core/kick_signal.hpp>

namespace trivet::kick_signal {
namespace {

int number() {
  return SIGRTMIN + 5;
}

// Constant-initialised and trivially destroyed, so that the handler touches plain thread memory only.
struct ThreadHook {
  volatile Hook hook;
  void* volatile context;
};
constinit thread_local ThreadHook thread_hook{nullptr, nullptr};
constinit thread_local void* volatile interrupted_registers = nullptr;

void handle(int, siginfo_t*, void* registers) {
  const Hook hook = thread_hook.hook;
  if (hook == nullptr) return;
  interrupted_registers = registers;
  hook(thread_hook.context);
  interrupted_registers = nullptr;
}

Result<void> install_here() {
  static std::mutex mutex;
  static bool installed = false;
  const std::scoped_lock lock(mutex);
  if (installed) return {};
  struct sigaction now {};
  if (::sigaction(number(), nullptr, &now) != 0) return Error::from_errno(errno, "sigaction");
  if ((now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) {
    return Error(Errc::bad_state, "install the kick signal",
                 "signal SIGRTMIN+5 has a handler already; Trivet needs it to itself");
  }
  struct sigaction ours {};
  ours.sa_sigaction = handle;
  // A stray one must not fail somebody's read with EINTR; run calls return EINTR all the same.
  ours.sa_flags = SA_RESTART | SA_SIGINFO;
  sigemptyset(&ours.sa_mask);
  if (::sigaction(number(), &ours, nullptr) != 0) return Error::from_errno(errno, "sigaction");
  installed = true;
  return {};
}

void set_thread_hook_here(Hook hook, void* context) noexcept {
  // The handler may come between the stores: no hook is seen with another's context.
  thread_hook.hook = nullptr;
  thread_hook.context = context;
  thread_hook.hook = hook;
}

void send_here(pid_t thread) noexcept {
  const int saved = errno;
  ::syscall(SYS_tgkill, ::getpid(), thread, number());
  errno = saved;
}

void* interrupted_here() noexcept {
  return interrupted_registers;
}

constinit Service used{install_here, set_thread_hook_here, send_here, interrupted_here};

}  // namespace

Result<void> install() {
  return used.install();
}
void set_thread_hook(Hook hook, void* context) noexcept {
  used.set_thread_hook(hook, context);
}
void send(pid_t thread) noexcept {
  used.send(thread);
}
void* interrupted() noexcept {
  return used.interrupted();
}

const Service& service() noexcept {
  return used;
}
void adopt(const Service& service) noexcept {
  used = service;
}

}  // namespace trivet::kick_signal
