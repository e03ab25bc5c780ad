// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/syscall.h>
#include <thread>
#include <unistd.h>

#include <trivet/core/kick_signal.hpp>

namespace trivet {
namespace {

void count(void* context) noexcept {
  static_cast<std::atomic<int>*>(context)->fetch_add(1);
}

pid_t this_thread() {
  return static_cast<pid_t>(::syscall(SYS_gettid));
}

TEST(KickSignal, RunsTheHookOfTheThreadItIsSentTo) {
  ASSERT_TRUE(kick_signal::install());
  ASSERT_TRUE(kick_signal::install()) << "a second backend of the process installs it too";

  std::atomic<int> here = 0;
  std::atomic<int> there = 0;
  kick_signal::set_thread_hook(count, &here);
  std::atomic<pid_t> other_id = 0;
  std::atomic<bool> done = false;
  std::thread other([&] {
    kick_signal::set_thread_hook(count, &there);
    other_id = this_thread();
    while (!done) std::this_thread::yield();
    kick_signal::set_thread_hook(nullptr, nullptr);
  });
  while (other_id == 0) std::this_thread::yield();

  kick_signal::send(other_id);
  while (there == 0) std::this_thread::yield();
  EXPECT_EQ(here, 0);
  kick_signal::send(this_thread());
  EXPECT_EQ(here, 1) << "a signal to oneself is taken before the call returns";

  done = true;
  other.join();
  kick_signal::set_thread_hook(nullptr, nullptr);
  kick_signal::send(this_thread());
  EXPECT_EQ(here, 1);
  kick_signal::send(other_id);  // gone: no error, no effect
}

std::atomic<void*> seen_registers = nullptr;
void look(void*) noexcept {
  seen_registers = kick_signal::interrupted();
}

TEST(KickSignal, ShowsAHookWhatItInterrupted) {
  ASSERT_TRUE(kick_signal::install());
  EXPECT_EQ(kick_signal::interrupted(), nullptr) << "outside a hook";
  kick_signal::set_thread_hook(look, nullptr);
  kick_signal::send(this_thread());
  EXPECT_NE(seen_registers.load(), nullptr);
  kick_signal::set_thread_hook(nullptr, nullptr);
  EXPECT_EQ(kick_signal::interrupted(), nullptr);
}

}  // namespace
}  // namespace trivet
