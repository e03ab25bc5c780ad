// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <functional>

#include <boost/asio/any_io_executor.hpp>

namespace trivet::virtio {

/// Whether the io_context behind an executor (its own or a strand's) has stopped. False when that cannot be told.
[[nodiscard]] bool loop_ended(const boost::asio::any_io_executor& executor) noexcept;

/// Runs `work` on the executor and waits until it is done; on the executor's own thread just runs it. False, with
/// `work` not run and not run later, when the loop has ended. Any thread.
[[nodiscard]] bool run_on_executor(const boost::asio::any_io_executor& executor, const std::function<void()>& work);

}  // namespace trivet::virtio
