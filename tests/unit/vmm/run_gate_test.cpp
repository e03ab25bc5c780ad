// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "run_gate.hpp"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

#include <trivet/vmm/outcome.hpp>

namespace trivet::vmm {
namespace {

TEST(RunGate, PauseReturnsWhenEveryRunnerWaits) {
  constexpr unsigned count = 3;
  std::atomic<int> kicks{0};
  std::atomic<unsigned> running{0};
  RunGate gate([&] { ++kicks; });
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; ++i) {
    gate.enter(1);
    threads.emplace_back([&] {
      while (gate.pass()) {
        ++running;
        const int seen = kicks;
        while (kicks == seen) std::this_thread::yield();  // a guest that runs until it is kicked
        --running;
      }
      gate.leave();
    });
  }
  EXPECT_TRUE(gate.paused()) << "a machine is made paused";
  for (int round = 0; round < 50; ++round) {
    gate.resume();
    while (running != count) std::this_thread::yield();
    gate.pause();
    EXPECT_EQ(running, 0u);
  }
  gate.finish({End::power_off, "first", {}});
  gate.finish({End::crash, "second", {}});
  for (auto& thread : threads) thread.join();
  const auto outcome = gate.wait();
  EXPECT_EQ(outcome.end, End::power_off);
  EXPECT_EQ(outcome.detail, "first");
}

TEST(RunGate, PauseDoesNotWaitForARunnerThatLeft) {
  RunGate gate([] {});
  gate.enter(1);
  gate.leave();
  gate.resume();
  gate.pause();
  EXPECT_TRUE(gate.paused());
}

TEST(RunGate, TheEndKicks) {
  int kicks = 0;
  RunGate gate([&] { ++kicks; });
  EXPECT_FALSE(gate.outcome());
  gate.finish({End::stopped, {}, {}});
  EXPECT_EQ(kicks, 1);
  EXPECT_FALSE(gate.pass());
  ASSERT_TRUE(gate.outcome());
  EXPECT_EQ(gate.outcome()->end, End::stopped);
}

TEST(Outcome, ExitCodesTellTheEndsApart) {
  EXPECT_EQ(exit_code(End::power_off), 0);
  EXPECT_EQ(exit_code(End::reset), 0);
  EXPECT_EQ(exit_code(End::stopped), 0);
  EXPECT_EQ(exit_code(End::failed), 1);
  EXPECT_EQ(exit_code(End::triple_fault), 3);
  EXPECT_EQ(exit_code(End::crash), 4);
  EXPECT_EQ(to_string(End::triple_fault), "triple fault");
}

}  // namespace
}  // namespace trivet::vmm
