// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <signal.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <utility>

#include <trivet/vmm/terminal.hpp>

namespace trivet::vmm {
namespace {

constexpr std::array fatal_signals = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

// What the handler needs: plain memory, written before `raw_fd` says that it is there.
std::atomic<int> raw_fd{-1};
termios saved_mode;
std::array<struct sigaction, fatal_signals.size()> previous;
static_assert(std::atomic<int>::is_always_lock_free);

void on_fatal(int number) {
  Terminal::restore_now();
  for (std::size_t i = 0; i < fatal_signals.size(); ++i) {
    if (fatal_signals[i] == number) ::sigaction(number, &previous[i], nullptr);
  }
  // A fault happens again on return, and goes to whoever handled it before; a sent signal must be sent again.
  ::raise(number);
}

void install_handlers() {
  struct sigaction ours {};
  ours.sa_handler = on_fatal;
  ours.sa_flags = SA_ONSTACK;
  sigemptyset(&ours.sa_mask);
  for (std::size_t i = 0; i < fatal_signals.size(); ++i) ::sigaction(fatal_signals[i], &ours, &previous[i]);
}

void remove_handlers() {
  for (std::size_t i = 0; i < fatal_signals.size(); ++i) {
    struct sigaction now {};
    ::sigaction(fatal_signals[i], nullptr, &now);
    if (now.sa_handler == on_fatal) ::sigaction(fatal_signals[i], &previous[i], nullptr);
  }
}

}  // namespace

bool Terminal::usable(int fd) noexcept {
  return ::isatty(fd) == 1 && ::tcgetpgrp(fd) == ::getpgrp();
}

std::optional<TerminalSize> Terminal::size(int fd) noexcept {
  winsize size{};
  if (fd < 0 || ::ioctl(fd, TIOCGWINSZ, &size) != 0) return std::nullopt;
  return TerminalSize{size.ws_col, size.ws_row};
}

Result<Terminal> Terminal::raw(int fd) {
  constexpr auto operation = "put the terminal into raw mode";
  if (raw_fd.load() >= 0) return Error(Errc::bad_state, operation, "it is in use already");
  if (::tcgetattr(fd, &saved_mode) != 0) return Error::from_errno(errno, operation);
  static const int at_exit = std::atexit([] { Terminal::restore_now(); });
  (void)at_exit;  // a full table loses only this one of several ways back
  install_handlers();
  raw_fd = fd;
  auto mode = saved_mode;
  ::cfmakeraw(&mode);
  mode.c_oflag |= OPOST | ONLCR;  // our own messages keep their line ends; the guest's \r\n looks the same
  if (::tcsetattr(fd, TCSANOW, &mode) != 0) {
    const Error error = Error::from_errno(errno, operation);
    raw_fd = -1;
    remove_handlers();
    return error;
  }
  return Terminal();
}

Terminal::Terminal(Terminal&& other) noexcept : owner_(std::exchange(other.owner_, false)) {}

Terminal::~Terminal() {
  if (!owner_) return;
  restore_now();
  remove_handlers();
}

void Terminal::restore_now() noexcept {
  const int fd = raw_fd.exchange(-1);
  if (fd < 0) return;
  const int saved = errno;
  ::tcsetattr(fd, TCSANOW, &saved_mode);
  errno = saved;
}

}  // namespace trivet::vmm
