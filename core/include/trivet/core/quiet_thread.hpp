// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <pthread.h>
#include <signal.h>
#include <system_error>
#include <thread>
#include <utility>

#include <trivet/core/result.hpp>

namespace trivet {

/// Starts a thread that takes none of the program's signals but those that are about the thread itself (faults, the
/// backends' kick): a vCPU or the I/O loop is no place for somebody's SIGINT or SIGCHLD handler.
/// `limit` and its like: the host gives no thread (host). Thread rule: any thread.
template <class Work>
Result<std::thread> quiet_thread(const char* name, Work&& work) {
  sigset_t before;
  sigset_t none;
  sigfillset(&none);
  for (const int fault : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS}) sigdelset(&none, fault);
  sigdelset(&none, SIGPROF);
  for (int number = SIGRTMIN; number <= SIGRTMAX; ++number) sigdelset(&none, number);
  ::pthread_sigmask(SIG_SETMASK, &none, &before);
  Result<std::thread> result = Error(Errc::limit, "start a thread", name, Blame::host);
  try {
    std::thread thread(std::forward<Work>(work));
    ::pthread_setname_np(thread.native_handle(), name);
    result = std::move(thread);
  } catch (const std::system_error& failure) {
    result = Error::from_errno(failure.code().value(), "start a thread", name);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return result;
}

}  // namespace trivet
