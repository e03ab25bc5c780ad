// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Prints this processor's time stamp counter's frequency in kHz, within some parts in a million however loaded the machine is: each of the two
// moments is the one of many tries in which the two clocks were read closest to each other.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct moment {
  uint64_t ns, ticks, apart;
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct moment look(void) {
  struct moment best = {0, 0, UINT64_MAX};
  for (int i = 0; i < 1000; ++i) {
    const uint64_t before = now_ns();
    const uint64_t ticks = __rdtsc();
    const uint64_t apart = now_ns() - before;
    if (apart < best.apart) best = (struct moment){before + apart / 2, ticks, apart};
  }
  return best;
}

int main(void) {
  const struct timespec pause = {0, 50 * 1000 * 1000};
  const struct moment first = look();
  nanosleep(&pause, NULL);
  const struct moment second = look();
  printf("%.0f\n", (double)(second.ticks - first.ticks) * 1e6 / (double)(second.ns - first.ns));
  return 0;
}
