// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "window_signal.hpp"

#include <atomic>
#include <cerrno>
#include <signal.h>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>

#include <trivet/core/event.hpp>

namespace trivet::program {
namespace {

std::atomic<const Event*> came{nullptr};

void on_signal(int) {
  const int saved = errno;
  if (const auto* event = came.load()) event->signal();
  errno = saved;
}

class Installed final : public WindowSignal {
 public:
  Installed(const boost::asio::any_io_executor& executor, Event event, std::function<void()> changed)
      : event_(std::move(event)), descriptor_(executor, event_.fd()), changed_(std::move(changed)) {
    wait();
    came = &event_;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGWINCH, &action, nullptr);
  }
  ~Installed() override {
    came = nullptr;
    (void)descriptor_.release();
  }

 private:
  void wait() {
    descriptor_.async_wait(boost::asio::posix::descriptor_base::wait_read,
                           [this](const boost::system::error_code& error) {
                             if (error) return;
                             (void)event_.take();
                             changed_();
                             wait();
                           });
  }

  Event event_;
  boost::asio::posix::stream_descriptor descriptor_;
  std::function<void()> changed_;
};

}  // namespace

Result<std::unique_ptr<WindowSignal>> WindowSignal::create(boost::asio::any_io_executor executor,
                                                           std::function<void()> changed) {
  TRIVET_ASSIGN(auto event, Event::create());
  try {
    return std::unique_ptr<WindowSignal>(std::make_unique<Installed>(executor, std::move(event), std::move(changed)));
  } catch (const boost::system::system_error& failure) {
    return Error::from_errno(failure.code().value(), "wait for SIGWINCH");
  }
}

}  // namespace trivet::program
