// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <cerrno>
#include <future>
#include <optional>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <thread>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>

#include <trivet/core/quiet_thread.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/vmm/event_loop.hpp>

namespace trivet::vmm {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

/// On a busy CPU a kick does not stop the vCPU that made it: this thread has its turn when the vCPU halts or has used
/// its time, and then there is more to do at once. An idle CPU takes it as soon as before. Who asked for more than the
/// scheduler's usual keeps that.
void prefer_batches() noexcept {
  int policy = 0;
  sched_param parameters{};
  if (::pthread_getschedparam(::pthread_self(), &policy, &parameters) != 0 || policy != SCHED_OTHER) return;
  (void)::pthread_setschedparam(::pthread_self(), SCHED_BATCH, &parameters);  // a host that refuses is only slower
}

}  // namespace

struct EventLoop::Impl {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard{context.get_executor()};
  std::thread thread;
  std::atomic<bool> running{false};
};

EventLoop::EventLoop(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
EventLoop::~EventLoop() {
  stop();
}

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  try {
    return std::unique_ptr<EventLoop>(new EventLoop(std::make_unique<Impl>()));
  } catch (const boost::system::system_error& failure) {
    return Error::from_errno(failure.code().value(), "make an event loop");
  }
}

asio::any_io_executor EventLoop::executor() const noexcept {
  return impl_->context.get_executor();
}

void EventLoop::post(std::function<void()> work) {
  asio::post(impl_->context, std::move(work));
}

void EventLoop::run_and_wait(const std::function<void()>& work) {
  if (!impl_->running || impl_->thread.get_id() == std::this_thread::get_id()) return work();
  std::promise<void> done;
  post([&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

Result<void> EventLoop::start() {
  if (impl_->thread.joinable()) return Error(Errc::bad_state, "start the event loop", "it was started before");
  impl_->running = true;
  auto thread = quiet_thread("trivet-io", [impl = impl_.get()] {
    prefer_batches();
    impl->context.run();
  });
  if (!thread) {
    impl_->running = false;
    return thread.error();
  }
  impl_->thread = std::move(*thread);
  return {};
}

void EventLoop::stop() noexcept {
  impl_->context.stop();
  if (impl_->thread.joinable()) impl_->thread.join();
  impl_->running = false;
}

struct ReadyWatch::Impl {
  Impl(asio::io_context& context, Direction way, std::function<void()> call)
      : descriptor(context),
        wait(way == Direction::read ? asio::posix::descriptor_base::wait_read
                                    : asio::posix::descriptor_base::wait_write),
        ready(std::make_shared<std::function<void()>>(std::move(call))) {}

  void wait_once() {
    if (waiting) return;
    waiting = true;
    if (always_ready) {
      // Through the queue, so that others get their turn.
      asio::post(descriptor.get_executor(), [state = alive] {
        if (*state != nullptr) (*state)->fired();
      });
      return;
    }
    descriptor.async_wait(wait, [state = alive](const error_code& error) {
      if (*state != nullptr && error != asio::error::operation_aborted) (*state)->fired();
    });
  }

  void fired() {
    waiting = false;
    if (!armed) return;
    const auto keep = alive;  // the call may destroy the watch, and with it what it is called by
    const auto call = ready;
    (*call)();
    if (*keep != nullptr && armed) wait_once();
  }

  UniqueFd nested;
  asio::posix::stream_descriptor descriptor;
  asio::posix::descriptor_base::wait_type wait;
  std::shared_ptr<std::function<void()>> ready;
  bool always_ready = false;
  bool armed = false;
  bool waiting = false;
  std::shared_ptr<Impl*> alive = std::make_shared<Impl*>(this);
};

ReadyWatch::ReadyWatch(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

ReadyWatch::~ReadyWatch() {
  *impl_->alive = nullptr;
  if (impl_->descriptor.is_open()) (void)impl_->descriptor.release();  // the descriptor is not ours to close
}

Result<std::unique_ptr<ReadyWatch>> ReadyWatch::create(EventLoop& loop, int fd, Direction direction,
                                                       Ownership ownership, std::function<void()> ready) {
  constexpr auto operation = "wait for a descriptor";
  auto impl = std::make_unique<Impl>(loop.impl_->context, direction, std::move(ready));
  int waited = fd;
  if (ownership == Ownership::shared) {
    impl->nested.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!impl->nested.valid()) return Error::from_errno(errno, operation);
    epoll_event event{};
    event.events = direction == Direction::read ? EPOLLIN : EPOLLOUT;
    if (::epoll_ctl(impl->nested.value(), EPOLL_CTL_ADD, fd, &event) != 0) {
      if (errno != EPERM) return Error::from_errno(errno, operation);
      impl->always_ready = true;  // a regular file or /dev/null
    }
    waited = impl->nested.value();
    impl->wait = asio::posix::descriptor_base::wait_read;  // an epoll descriptor only ever turns readable
  }
  if (!impl->always_ready) {
    error_code error;
    impl->descriptor.assign(waited, error);
    if (error) return Error::from_errno(error.value(), operation);
  }
  return std::unique_ptr<ReadyWatch>(new ReadyWatch(std::move(impl)));
}

void ReadyWatch::arm() {
  impl_->armed = true;
  impl_->wait_once();
}

void ReadyWatch::disarm() {
  impl_->armed = false;
}

}  // namespace trivet::vmm
