// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <trivet/vmm/outcome.hpp>

namespace trivet::vmm {

std::string_view to_string(End end) {
  switch (end) {
    case End::power_off:
      return "power off";
    case End::reset:
      return "reset";
    case End::stopped:
      return "stopped";
    case End::triple_fault:
      return "triple fault";
    case End::crash:
      return "crash";
    case End::failed:
      return "failed";
  }
  return "unknown";
}

int exit_code(End end) {
  switch (end) {
    case End::power_off:
    case End::reset:
    case End::stopped:
      return 0;
    case End::failed:
      return 1;
    case End::triple_fault:
      return 3;
    case End::crash:
      return 4;
  }
  return 1;
}

}  // namespace trivet::vmm
