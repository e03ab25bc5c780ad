// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The unstable libraries. For the domctl*.cpp files only.
#pragma once

#include "domctl.hpp"

extern "C" {
#include <xenctrl.h>
#include <xenguest.h>
}

namespace trivet::xen {

struct Domctl::Impl {
  xc_interface* xc = nullptr;
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (xc != nullptr) xc_interface_close(xc);
  }
};

/// The error in errno, for an operation on a domain. `not_found` for ESRCH.
Error domain_error(int os_errno, const char* operation, DomainId domain, std::string_view detail = {});

/// The result of a call that gives 0 or sets errno.
Result<void> done(int result, const char* operation, DomainId domain, std::string_view detail = {});

}  // namespace trivet::xen
