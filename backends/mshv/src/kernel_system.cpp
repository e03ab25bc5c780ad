// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <trivet/mshv/system.hpp>

#include "abi.hpp"
#include "run_window.hpp"

namespace trivet::mshv {
namespace {

class KernelSystem final : public System {
 public:
  int open(const char* path) const noexcept override { return result(::open(path, O_RDWR | O_CLOEXEC)); }
  int close(int fd) const noexcept override { return result(::close(fd)); }
  int ioctl(int fd, unsigned long request, void* argument) const noexcept override {
    return result(::ioctl(fd, request, argument));
  }
  void* map_page(int fd, std::uint64_t offset) const noexcept override {
    void* const page =
        ::mmap(nullptr, abi::page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
    return page == MAP_FAILED ? nullptr : page;
  }
  void unmap_page(void* page) const noexcept override { ::munmap(page, abi::page_size); }
  int run(int vp_fd, void* message, const StopFlag& stop) const noexcept override {
    return run_window(vp_fd, message, stop);
  }

 private:
  static int result(int value) noexcept { return value < 0 ? -errno : value; }
};

}  // namespace

const System& kernel_system() noexcept {
  static const KernelSystem system;
  return system;
}

}  // namespace trivet::mshv
