// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "host_file.hpp"

#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <trivet/vmm/terminal.hpp>

namespace trivet::vmm {
namespace {

/// The same terminal or pipe through an open file description of its own; nothing where that cannot be or need not.
UniqueFd reopen(int fd, int mode) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || S_ISREG(status.st_mode)) return {};  // regular files never block
  return UniqueFd(::open(fmt::format("/proc/self/fd/{}", fd).c_str(), mode | O_CLOEXEC | O_NOCTTY));
}

Result<UniqueFd> duplicate(int fd, int mode, Flags flags, const char* operation) {
  if (flags == Flags::own) {
    if (auto own = reopen(fd, mode); own.valid()) return own;
  }
  UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  // Started without that descriptor (as some supervisors do): the same as "off".
  if (!copy.valid() && errno != EBADF) return Error::from_errno(errno, operation);
  return copy;
}

}  // namespace

Result<UniqueFd> open_input(const std::string& name, Flags flags) {
  constexpr auto operation = "open an input";
  if (name == "off") return UniqueFd();
  if (name == "-") {
    // A background job that reads its terminal is stopped by it: it gets no input instead.
    if (::isatty(STDIN_FILENO) == 1 && !Terminal::usable(STDIN_FILENO)) return UniqueFd();
    return duplicate(STDIN_FILENO, O_RDONLY, flags, operation);
  }
  UniqueFd fd(::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd.valid()) return Error::from_errno(errno, operation, name);
  return fd;
}

Result<UniqueFd> open_output(const std::string& name, Flags flags) {
  constexpr auto operation = "open an output";
  if (name == "off") return UniqueFd();
  if (name == "-") return duplicate(STDOUT_FILENO, O_WRONLY, flags, operation);
  UniqueFd fd(::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0644));
  if (!fd.valid()) return Error::from_errno(errno, operation, name);
  return fd;
}

}  // namespace trivet::vmm
