// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace trivet::mshv {

/// Set while a virtual processor must not enter the guest.
using StopFlag = std::atomic<std::uint32_t>;

/// The system calls of this backend: the kernel, or a simulator of it. What fails gives a negative errno.
/// Thread rule: any thread. Outlives what was opened through it.
class System {
 public:
  virtual int open(const char* path) const noexcept = 0;
  virtual int close(int fd) const noexcept = 0;
  virtual int ioctl(int fd, unsigned long request, void* argument) const noexcept = 0;

  /// Maps a state page of a virtual processor, shared, for reading and writing; null where there is none.
  virtual void* map_page(int fd, std::uint64_t offset) const noexcept = 0;
  virtual void unmap_page(void* page) const noexcept = 0;

  /// RUN_VP into a 256-byte `message`. The guest is not entered, and a guest that runs is left, once `stop` is set and
  /// the kick signal was sent to this thread afterwards: -EINTR, or a message that came at the same time. The signal's
  /// hook must call `leave_run` (run_window.hpp).
  virtual int run(int vp_fd, void* message, const StopFlag& stop) const noexcept = 0;

 protected:
  ~System() = default;
};

/// The kernel's. Source: include/uapi/linux/mshv.h.
[[nodiscard]] const System& kernel_system() noexcept;

}  // namespace trivet::mshv
