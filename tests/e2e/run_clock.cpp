// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A preloaded library that watches any VMM the same way: when it entered the guest first, and how often. It stands
// between the program and the C library's ioctl, costs a comparison a call, and writes one line to RUN_CLOCK_FILE when
// the process ends:
//   first_run_us=N runs=N      N microseconds after RUN_CLOCK_START (seconds since 1970 with a fraction, as bash's
//   EPOCHREALTIME)

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr unsigned long kvm_run = 0xae80;  // linux/kvm.h: _IO(KVMIO, 0x80)

std::atomic<std::uint64_t> runs{0};
std::atomic<std::int64_t> first_ns{0};

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

struct AtExit {
  ~AtExit() {
    const char* const path = std::getenv("RUN_CLOCK_FILE");
    const char* const start = std::getenv("RUN_CLOCK_START");
    if (path == nullptr || start == nullptr || runs == 0) return;
    std::int64_t seconds = 0;
    std::int64_t micros = 0;
    if (std::sscanf(start, "%ld.%6ld", &seconds, &micros) != 2) return;
    if (std::FILE* const file = std::fopen(path, "a"); file != nullptr) {
      const auto since = first_ns / 1000 - (seconds * 1'000'000 + micros);
      std::fprintf(file, "first_run_us=%ld runs=%lu\n", static_cast<long>(since), static_cast<unsigned long>(runs));
      std::fclose(file);
    }
  }
} const at_exit;

}  // namespace

extern "C" int ioctl(int fd, unsigned long request, ...) noexcept {
  std::va_list arguments;
  va_start(arguments, request);
  void* const argument = va_arg(arguments, void*);
  va_end(arguments);
  if (request == kvm_run && runs.fetch_add(1, std::memory_order_relaxed) == 0) first_ns = now_ns();
  return static_cast<int>(syscall(SYS_ioctl, fd, request, argument));  // sets errno as ioctl does
}
