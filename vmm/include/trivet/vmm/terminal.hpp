// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>

#include <trivet/core/result.hpp>

namespace trivet::vmm {

/// In characters; 0 and 0 where nobody has set it.
struct TerminalSize {
  std::uint16_t columns = 0;
  std::uint16_t rows = 0;

  friend bool operator==(const TerminalSize&, const TerminalSize&) = default;
};

/// Puts a terminal into raw mode and back. It comes back on every way out: when this is destroyed, at exit, and on a
/// signal that kills the process (SIGKILL excepted, which nobody sees). One at a time in a process.
/// Thread rule: one thread; `restore_now` is async-signal-safe. Source: termios(3).
class Terminal {
 public:
  /// Whether `fd` is a terminal that this process may use: a background job may not.
  [[nodiscard]] static bool usable(int fd) noexcept;

  /// What TIOCGWINSZ says; nothing where `fd` is no terminal. Any thread. Source: ioctl_tty(2).
  [[nodiscard]] static std::optional<TerminalSize> size(int fd) noexcept;

  /// `bad_state` when another stands (caller); `io` when it is no terminal (host).
  static Result<Terminal> raw(int fd);

  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&& other) = delete;
  ~Terminal();

  /// What a signal handler calls before it ends the process.
  static void restore_now() noexcept;

 private:
  Terminal() = default;
  bool owner_ = true;
};

}  // namespace trivet::vmm
