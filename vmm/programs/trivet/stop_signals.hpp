// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/result.hpp>

namespace trivet::program {

/// SIGINT, SIGTERM, SIGHUP and SIGQUIT: the first stops the machine cleanly, one that comes 250 ms later or more ends
/// the process at once with the terminal restored, even when the I/O thread hangs (which is why Asio's signal_set does
/// not do: its handlers run on that thread). One in a process. Thread rule: one thread.
class StopSignals {
 public:
  /// `stop` is called on the executor's thread.
  static Result<std::unique_ptr<StopSignals>> create(boost::asio::any_io_executor executor, std::function<void()> stop);
  virtual ~StopSignals() = default;

  /// The first signal that came; 0: none.
  [[nodiscard]] static int caught() noexcept;
};

}  // namespace trivet::program
