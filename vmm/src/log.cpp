// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace trivet::vmm::log {
namespace {

/// The logger "trivet" of the program, if it registered one; else ours, made when there is something to say.
spdlog::logger& logger() {
  static const auto chosen = [] {
    if (auto given = spdlog::get("trivet")) return given;
    auto ours = spdlog::stderr_logger_mt("trivet");
    ours->set_pattern("trivet: %l: %v");
    return ours;
  }();
  return *chosen;
}

}  // namespace

void warning(std::string_view text) noexcept {
  try {
    logger().warn("{}", text);
  } catch (...) {  // a log that fails must not end the guest
  }
}

}  // namespace trivet::vmm::log
