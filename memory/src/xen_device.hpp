// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

namespace trivet::memory {

/// Opens one of Xen's devices (/dev/xen/privcmd, /dev/xen/gntdev). The error says what to do.
Result<UniqueFd> open_xen_device(const char* operation, const char* path);

/// An error that one page of a domain is the reason of: the guest's fault.
Error page_error(Errc code, const char* operation, const char* what, std::uint64_t page, std::uint16_t domain,
                 const char* why) noexcept;

}  // namespace trivet::memory
