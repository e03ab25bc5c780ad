// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "guest_memfd.hpp"

#include <fcntl.h>

#include "ioctl.hpp"

namespace trivet::kvm {

bool maps_guest_memfd(const Device& device) noexcept {
  constexpr auto wanted = static_cast<int>(guest_memfd_mmap | guest_memfd_init_shared);
  return device.extension(KVM_CAP_USER_MEMORY2) > 0 && device.extension(KVM_CAP_GUEST_MEMFD) > 0 &&
         (device.extension(KVM_CAP_GUEST_MEMFD_FLAGS) & wanted) == wanted;
}

Result<UniqueFd> create_guest_memfd(const Context& context, std::uint64_t size) {
  CreateGuestMemfd wanted{};
  wanted.size = size;
  wanted.flags = guest_memfd_mmap | guest_memfd_init_shared;
  TRIVET_ASSIGN(const int fd, call(context.vm(), TRIVET_KVM_REQUEST(KVM_CREATE_GUEST_MEMFD, CreateGuestMemfd), &wanted,
                                   "guest memory"));
  UniqueFd owned(fd);
  // The kernel has no flag for it.
  if (::fcntl(owned.value(), F_SETFD, FD_CLOEXEC) != 0) return Error::from_errno(errno, "create guest memory");
  return owned;
}

}  // namespace trivet::kvm
