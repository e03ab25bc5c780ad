// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Xen's stable interfaces. Its headers have no linkage of their own for C++, and hide from those who are no tools what
// a device model needs. libxenctrl is not among them: domctl.hpp is all that the rest sees of it.
#pragma once

#include <cstddef>
#include <cstdint>

#ifndef __XEN_TOOLS__
#define __XEN_TOOLS__ 1
#endif

// They refuse a strict standard, for members without names, which the compilers that we have take anyway.
#pragma push_macro("__STRICT_ANSI__")
#undef __STRICT_ANSI__
extern "C" {
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/ioreq.h>
#include <xen/hvm/save.h>
#include <xen/memory.h>
#include <xen/sched.h>
#include <xendevicemodel.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xentoolcore.h>
}
#pragma pop_macro("__STRICT_ANSI__")

namespace trivet::xen {

inline constexpr std::uint64_t page_size = 4096;
inline constexpr unsigned page_shift = 12;
inline constexpr unsigned max_vcpus = 128;           ///< HVM_MAX_VCPUS
inline constexpr unsigned max_ioreq_servers = 8;     ///< MAX_NR_IOREQ_SERVERS
inline constexpr unsigned max_claimed_ranges = 256;  ///< MAX_NR_IO_RANGES, of each kind

}  // namespace trivet::xen
