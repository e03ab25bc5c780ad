// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What the process that serves a domain may still do, and what not: in a child, since there is no way back.
#include "confine.hpp"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
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

TEST(Confine, WhatIsOpenIsUsedAndThreadsAreMade) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_EQ(confined([&] {
              int seen = 0;
              std::thread other([&] {
                char byte = 'x';
                seen = ::write(ends[1], &byte, 1) == 1 && ::read(ends[0], &byte, 1) == 1 ? 7 : 1;
              });
              other.join();
              return seen;
            }),
            7);
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace trivet::program
