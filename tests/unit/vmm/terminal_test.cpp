// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdlib>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/vmm/terminal.hpp>

namespace trivet::vmm {
namespace {

struct PseudoTerminal {
  PseudoTerminal() : master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    EXPECT_TRUE(master.valid());
    EXPECT_EQ(::grantpt(master.value()), 0);
    EXPECT_EQ(::unlockpt(master.value()), 0);
    name = ::ptsname(master.value());
    slave.reset(::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
    EXPECT_TRUE(slave.valid());
  }
  [[nodiscard]] bool is_raw() const {
    termios mode{};
    EXPECT_EQ(::tcgetattr(slave.value(), &mode), 0);
    return (mode.c_lflag & (ICANON | ECHO | ISIG)) == 0;
  }
  UniqueFd master;
  UniqueFd slave;
  std::string name;
};

TEST(Terminal, IsRawWhileItLives) {
  const PseudoTerminal tty;
  EXPECT_FALSE(tty.is_raw());
  {
    auto raw = Terminal::raw(tty.slave.value());
    ASSERT_TRUE(raw);
    EXPECT_TRUE(tty.is_raw());
    EXPECT_EQ(Terminal::raw(tty.slave.value()).error().code(), Errc::bad_state);
    const auto moved = std::move(*raw);
    EXPECT_TRUE(tty.is_raw());
  }
  EXPECT_FALSE(tty.is_raw());
  EXPECT_TRUE(Terminal::raw(tty.slave.value())) << "and again";
}

TEST(Terminal, SaysItsSize) {
  const PseudoTerminal tty;
  EXPECT_EQ(Terminal::size(tty.slave.value()), TerminalSize{}) << "nobody has set one";
  const winsize size{50, 132, 0, 0};
  ASSERT_EQ(::ioctl(tty.master.value(), TIOCSWINSZ, &size), 0);
  EXPECT_EQ(Terminal::size(tty.slave.value()), (TerminalSize{132, 50}));
}

TEST(Terminal, APipeIsNone) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_FALSE(Terminal::usable(ends[0]));
  EXPECT_FALSE(Terminal::raw(ends[0]));
  EXPECT_FALSE(Terminal::size(ends[0]));
  EXPECT_FALSE(Terminal::size(-1));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Terminal, IsNotUsableFromOutsideItsForeground) {
  const PseudoTerminal tty;
  EXPECT_FALSE(Terminal::usable(tty.slave.value())) << "not our controlling terminal";
}

/// Runs `child` in a process of its own with the terminal raw; its wait status.
template <class Child>
int in_child(const PseudoTerminal& tty, Child&& child) {
  const auto pid = ::fork();
  if (pid == 0) {
    for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) ::signal(number, SIG_DFL);
    auto raw = Terminal::raw(tty.slave.value());
    if (!raw || !tty.is_raw()) ::_exit(99);
    child();
    ::_exit(98);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

TEST(Terminal, ComesBackOnASignalThatKills) {
  const PseudoTerminal tty;
  for (const int number : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    const auto status = in_child(tty, [number] { ::raise(number); });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == number) << "signal " << number << ", status " << status;
    EXPECT_FALSE(tty.is_raw()) << "signal " << number;
  }
}

TEST(Terminal, ComesBackAtExit) {
  const PseudoTerminal tty;
  const auto status = in_child(tty, [] { std::exit(5); });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 5);
  EXPECT_FALSE(tty.is_raw());
}

}  // namespace
}  // namespace trivet::vmm
