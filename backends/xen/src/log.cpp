// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "log.hpp"

#include <cstdarg>
#include <cstdio>

extern "C" {
#include <xentoollog.h>
}

namespace trivet::xen {
namespace {

void message(xentoollog_logger* /*logger*/, xentoollog_level /*level*/, int /*number*/, const char* /*context*/,
             const char* /*format*/, va_list /*arguments*/) {}
void progress(xentoollog_logger* /*logger*/, const char* /*context*/, const char* /*doing*/, int /*percent*/,
              unsigned long /*done*/, unsigned long /*total*/) {}
void destroy(xentoollog_logger* /*logger*/) {}

}  // namespace

xentoollog_logger* quiet_log() noexcept {
  static xentoollog_logger logger{message, progress, destroy};
  return &logger;
}

}  // namespace trivet::xen
