// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "stop_signals.hpp"

#include <atomic>
#include <cstdint>
#include <optional>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <trivet/core/event.hpp>
#include <trivet/vmm/terminal.hpp>

namespace trivet::program {
namespace {

// timeout(1) sends its signal to the process and then to its group: what comes this soon is the same wish.
constexpr std::int64_t same_wish_ms = 250;

std::atomic<int> first_signal{0};
std::atomic<std::int64_t> first_at_ms{0};
std::atomic<const Event*> came{nullptr};

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

void on_signal(int number) {
  int none = 0;
  if (first_signal.compare_exchange_strong(none, number)) {
    first_at_ms = now_ms();
  } else {
    // 0: the first one's handler is on another thread, between its two steps.
    const auto first = first_at_ms.load();
    if (first == 0 || now_ms() - first < same_wish_ms) return;
    vmm::Terminal::restore_now();
    ::_exit(128 + number);
  }
  if (const auto* event = came.load()) event->signal();
}

class Installed final : public StopSignals {
 public:
  Installed(boost::asio::any_io_executor executor, Event event, std::function<void()> stop)
      : event_(std::move(event)), descriptor_(executor, event_.fd()) {
    descriptor_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                           [stop = std::move(stop)](const boost::system::error_code& error) {
                             if (!error) stop();
                           });
    came = &event_;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
      struct sigaction before {};
      ::sigaction(number, nullptr, &before);
      // nohup's wish stays. A shell without job control ignores SIGINT and SIGQUIT for its background jobs, but who
      // sends one to this very process means it.
      if (number != SIGHUP || before.sa_handler != SIG_IGN) ::sigaction(number, &action, nullptr);
    }
  }
  ~Installed() override {
    came = nullptr;
    (void)descriptor_.release();
  }

 private:
  Event event_;
  boost::asio::posix::stream_descriptor descriptor_;
};

}  // namespace

Result<std::unique_ptr<StopSignals>> StopSignals::create(boost::asio::any_io_executor executor,
                                                         std::function<void()> stop) {
  TRIVET_ASSIGN(auto event, Event::create());
  try {
    return std::unique_ptr<StopSignals>(
        std::make_unique<Installed>(std::move(executor), std::move(event), std::move(stop)));
  } catch (const boost::system::system_error& failure) {
    return Error::from_errno(failure.code().value(), "wait for signals");
  }
}

int StopSignals::caught() noexcept {
  return first_signal.load();
}

}  // namespace trivet::program
