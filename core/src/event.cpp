// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <sys/eventfd.h>
#include <unistd.h>

#include <trivet/core/event.hpp>

namespace trivet {

Result<Event> Event::create() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return Error::from_errno(errno, "eventfd");
  return Event(std::move(fd));
}

void Event::signal() const noexcept {
  const int saved = errno;  // async-signal-safe: the interrupted code's errno stays
  const std::uint64_t one = 1;
  // EAGAIN: the counter is full, so the waiter is woken already.
  while (::write(fd_.value(), &one, sizeof one) < 0 && errno == EINTR) {
  }
  errno = saved;
}

std::uint64_t Event::take() const noexcept {
  std::uint64_t count = 0;
  while (true) {
    const auto got = ::read(fd_.value(), &count, sizeof count);
    if (got == sizeof count) return count;
    if (got < 0 && errno == EINTR) continue;
    return 0;  // EAGAIN: nothing signalled
  }
}

}  // namespace trivet
