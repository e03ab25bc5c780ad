// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/memory/guest_memory.hpp>

namespace trivet::memory {

/// Gives the host pages behind a guest range back to the host: what the guest had there is gone, and what it touches
/// again is another page, of zeros (or, where a file was laid over memory, the file's). Only whole host pages go: the
/// range is cut to them. How many bytes went.
///
/// Anonymous memory goes by madvise(MADV_DONTNEED), memory with a descriptor by fallocate(FALLOC_FL_PUNCH_HOLE). The
/// hypervisor must look a page up anew when the guest touches it (`Cap::fresh_pages`). Errors: `out_of_range` or
/// `permission` (guest), as an access for writing, and then nothing went; `unsupported` (host) where the memory is not
/// this process's to give, as another domain's is not, and the errors of the calls (host): then what lies before it
/// went. Thread rule: any thread; whoever else accesses the range meanwhile sees old bytes or zeros. Allocates nothing.
Result<std::uint64_t> discard(const GuestMemory& memory, const GuestRange& range) noexcept;

}  // namespace trivet::memory
