// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "isolate.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace conformance {
namespace {

using Clock = std::chrono::steady_clock;

// Everything the child writes until it closes the pipe, or nothing more after `deadline`; false then.
bool read_all(int fd, Clock::time_point deadline, std::string& text) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(left)) <= 0) continue;
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count <= 0) return true;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

[[noreturn]] void run_child(int fd, const std::function<Outcome()>& work) {
  const Outcome outcome = work();
  const std::string text = std::string(1, static_cast<char>('0' + static_cast<int>(outcome.verdict))) + outcome.reason;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  std::fflush(nullptr);
  std::exit(written ? 0 : 1);  // not _exit: the leak checker reports at exit
}

Outcome conclude(int status, const std::string& text, bool in_time, unsigned seconds) {
  if (!in_time) return failed(fmt::format("not done after {} s", seconds));
  if (WIFSIGNALED(status))
    return failed(fmt::format("died of signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status))));
  if (WEXITSTATUS(status) != 0) return failed(fmt::format("ended with exit code {} {}", WEXITSTATUS(status), text));
  if (text.empty()) return failed("ended without an outcome");
  return {static_cast<Verdict>(text[0] - '0'), text.substr(1)};
}

}  // namespace

Outcome isolate(unsigned seconds, const std::function<Outcome()>& work) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) return failed(fmt::format("pipe: {}", std::strerror(errno)));
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) return failed(fmt::format("fork: {}", std::strerror(errno)));
  if (child == 0) {
    ::close(ends[0]);
    run_child(ends[1], work);
  }
  ::close(ends[1]);
  std::string text;
  const bool in_time = read_all(ends[0], Clock::now() + std::chrono::seconds(seconds), text);
  ::close(ends[0]);
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return conclude(status, text, in_time, seconds);
}

}  // namespace conformance
