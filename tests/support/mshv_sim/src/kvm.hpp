// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// KVM, as the simulator uses it: plain calls, negative errno.
#pragma once

#include <linux/stddef.h>
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(TYPE, NAME) TYPE NAME[]
#include <cerrno>
#include <cstdint>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <type_traits>

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_xsave) == 4096 && sizeof(kvm_msrs) == 8);

namespace trivet::mshv_sim {

template <class Argument>
int kvm_call(int fd, unsigned long request, Argument argument) {
  const int result = ::ioctl(fd, request, argument);
  return result < 0 ? -errno : result;
}

}  // namespace trivet::mshv_sim
