// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// trivet-xen-reap: a domain outlives the process that made it, if that is killed. This destroys those of ours.
#include <cstdio>
#include <string_view>

#include "device.hpp"
#include "owner.hpp"

int main(int argc, char** argv) {
  if (argc > 1) {
    const bool help = argc == 2 && std::string_view(argv[1]) == "--help";
    std::fprintf(help ? stdout : stderr,
                 "usage: trivet-xen-reap\n\n"
                 "Destroys the Xen domains that Trivet made and whose process is gone. Prints how many.\n");
    return help ? 0 : 2;
  }
  const auto domctl = trivet::xen::open_device();
  if (!domctl) {
    std::fprintf(stderr, "trivet-xen-reap: %s\n", to_string(domctl.error()).c_str());
    return 1;
  }
  const auto reaped = trivet::xen::reap(*domctl);
  if (!reaped) {
    std::fprintf(stderr, "trivet-xen-reap: %s\n", to_string(reaped.error()).c_str());
    return 1;
  }
  std::printf("%u\n", *reaped);
  return 0;
}
