// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What the process that serves a domain may still do, and what not: in a child, since there is no way back.
#include "confine.hpp"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trivet::program {
namespace {

/// The exit status of a confined child that does `what`; 100 where it could not be confined.
template <class What>
int confined(What what) {
  const auto child = ::fork();
  if (child == 0) ::_exit(confine() ? what() : 100);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

/// 0 for a call that fails with EPERM.
int refused(long result) {
  return result == -1 && errno == EPERM ? 0 : 1;
}

TEST(Confine, FilesSocketsAndProcessesAreRefused) {
  EXPECT_EQ(confined([] { return refused(::open("/dev/null", O_RDONLY)); }), 0);
  EXPECT_EQ(confined([] { return refused(::socket(AF_INET, SOCK_STREAM, 0)); }), 0);
  EXPECT_EQ(confined([] { return refused(::syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr)); }), 0);
  EXPECT_EQ(confined([] { return refused(::syscall(SYS_execve, "/bin/true", nullptr, nullptr)); }), 0);
  EXPECT_EQ(confined([] { return refused(::kill(::getppid(), 0)); }), 0);
  EXPECT_EQ(confined([] { return refused(::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)); }), 0);
}

TEST(Confine, MemoryIsNotExecutable) {
  const auto map = [](int protection) { return ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); };
  EXPECT_EQ(confined([&] { return map(PROT_READ | PROT_WRITE) != MAP_FAILED ? 0 : 1; }), 0);
  EXPECT_EQ(confined([&] { return map(PROT_READ | PROT_EXEC) == MAP_FAILED && errno == EPERM ? 0 : 1; }), 0);
  EXPECT_EQ(confined([&] { return ::mprotect(map(PROT_READ), 4096, PROT_READ | PROT_WRITE); }), 0);
  EXPECT_EQ(confined([&] { return refused(::mprotect(map(PROT_READ), 4096, PROT_READ | PROT_EXEC)); }), 0);
}

TEST(Confine, ThereIsNoWayToNewPrivileges) {
  EXPECT_EQ(confined([] { return ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); }), 1);
  EXPECT_EQ(confined([] { return ::prctl(PR_GET_SECCOMP, 0, 0, 0, 0); }), 2);
  EXPECT_EQ(confined([] { return refused(::prctl(PR_SET_MM, PR_SET_MM_BRK, 0, 0, 0)); }), 0) << "no capability";
}

/// 7 in `seen` when a byte went through.
struct Talk {
  int ends[2];
  long seen;
};
void* talk(void* argument) {
  auto& it = *static_cast<Talk*>(argument);
  char byte = 'x';
  it.seen = ::write(it.ends[1], &byte, 1) == 1 && ::read(it.ends[0], &byte, 1) == 1 ? 7 : 1;
  return nullptr;
}

TEST(Confine, WhatIsOpenIsUsedAndThreadsAreMade) {
  Talk it{};
  ASSERT_EQ(::pipe(it.ends), 0);
  // No std::thread: the undefined behaviour sanitizer makes a pipe to look at its type.
  EXPECT_EQ(confined([&] {
              pthread_t other{};
              if (::pthread_create(&other, nullptr, &talk, &it) != 0) return 2;
              if (::pthread_join(other, nullptr) != 0) return 3;
              return static_cast<int>(it.seen);
            }),
            7);
  ::close(it.ends[0]);
  ::close(it.ends[1]);
}

}  // namespace
}  // namespace trivet::program
