// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "executor_call.hpp"

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>

#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>

namespace trivet::virtio {

namespace {

using Plain = boost::asio::io_context::executor_type;

/// One call, shared by the caller and the handler, for either may be the last to look at it.
struct Call {
  enum class State { waiting, running, done, withdrawn };
  std::mutex mutex;
  std::condition_variable changed;
  State state = State::waiting;
  const std::function<void()>* work = nullptr;
};

void run(Call& call) {
  {
    const std::lock_guard lock(call.mutex);
    if (call.state != Call::State::waiting) return;
    call.state = Call::State::running;
  }
  (*call.work)();
  const std::lock_guard lock(call.mutex);
  call.state = Call::State::done;
  call.changed.notify_all();
}

}  // namespace

bool loop_ended(const boost::asio::any_io_executor& executor) noexcept {
  if (const auto* plain = executor.target<Plain>()) return plain->context().stopped();
  if (const auto* strand = executor.target<boost::asio::strand<Plain>>()) {
    return strand->get_inner_executor().context().stopped();
  }
  if (const auto* strand = executor.target<boost::asio::strand<boost::asio::any_io_executor>>()) {
    return loop_ended(strand->get_inner_executor());
  }
  return false;
}

bool run_on_executor(const boost::asio::any_io_executor& executor, const std::function<void()>& work) {
  // A loop that ends wakes nobody who waits for it, so the wait looks up now and then.
  constexpr auto look_up = std::chrono::milliseconds(20);

  const auto call = std::make_shared<Call>();
  call->work = &work;
  boost::asio::dispatch(executor, [call] { run(*call); });

  std::unique_lock lock(call->mutex);
  while (!call->changed.wait_for(lock, look_up, [&] { return call->state == Call::State::done; })) {
    if (call->state == Call::State::waiting && loop_ended(executor)) {
      call->state = Call::State::withdrawn;
      return false;
    }
  }
  return true;
}

}  // namespace trivet::virtio
