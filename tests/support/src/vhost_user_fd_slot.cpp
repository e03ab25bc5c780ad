// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <trivet/test/vhost_user_fd_slot.hpp>

namespace trivet::test::vhost_user {

Result<FdSlot> FdSlot::create() {
  UniqueFd nobody(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!nobody.valid()) return Error::from_errno(errno, "eventfd");
  UniqueFd slot(::fcntl(nobody.value(), F_DUPFD_CLOEXEC, 0));
  if (!slot.valid()) return Error::from_errno(errno, "duplicate a descriptor");
  return FdSlot(std::move(nobody), std::move(slot));
}

Result<void> FdSlot::put(const UniqueFd& fd) noexcept {
  // The peer may have set it to wait when its counter is full; it is the peer's too, so this is the best there is.
  const int flags = ::fcntl(fd.value(), F_GETFL);
  if (flags >= 0 && (flags & O_NONBLOCK) == 0) (void)::fcntl(fd.value(), F_SETFL, flags | O_NONBLOCK);
  if (::dup3(fd.value(), slot_.value(), O_CLOEXEC) < 0) return Error::from_errno(errno, "dup3");
  return {};
}

void FdSlot::clear() noexcept {
  (void)::dup3(nobody_.value(), slot_.value(), O_CLOEXEC);
}

void FdSlot::signal() const noexcept {
  const std::uint64_t one = 1;
  while (::write(slot_.value(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void FdSlot::send(const void* data, std::size_t size) const noexcept {
  while (::send(slot_.value(), data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR) {
  }
}

}  // namespace trivet::test::vhost_user
