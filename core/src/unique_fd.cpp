// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>

namespace trivet {

void UniqueFd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);  // EINTR included: on Linux the descriptor is gone either way
  fd_ = fd;
}

}  // namespace trivet
