// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/result.hpp>

namespace trivet::program {

/// SIGWINCH: the terminal has another size. One in a process. Thread rule: one thread.
class WindowSignal {
 public:
  /// `changed` is called on the executor's thread, once for all signals that came meanwhile.
  static Result<std::unique_ptr<WindowSignal>> create(boost::asio::any_io_executor executor,
                                                      std::function<void()> changed);
  virtual ~WindowSignal() = default;
};

}  // namespace trivet::program
