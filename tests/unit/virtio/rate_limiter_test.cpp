// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>

#include <trivet/virtio/rate_limiter.hpp>

namespace trivet::virtio {
namespace {

using namespace std::chrono_literals;
using Clock = TokenBucket::Clock;

constexpr Clock::time_point begin{1000s};

/// What passes until `end` when all that may pass does, in pieces of `size`.
std::uint64_t passed(TokenBucket& bucket, Clock::time_point from, Clock::time_point end, std::uint64_t size) {
  std::uint64_t sum = 0;
  for (auto now = from; now < end; now = std::max(now, bucket.ready_at())) {
    while (bucket.ready(now)) {
      bucket.spend(size);
      sum += size;
    }
  }
  return sum;
}

TEST(TokenBucket, WithoutARateEverythingPasses) {
  TokenBucket bucket;
  EXPECT_FALSE(bucket.limited());
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(bucket.ready(begin));
    bucket.spend(1U << 30);
  }
}

TEST(TokenBucket, ABurstPassesAtOnceAndThenTheRate) {
  TokenBucket bucket({.per_second = 1000, .burst = 50});
  EXPECT_EQ(passed(bucket, begin, begin + 1ns, 1), 50U);
  EXPECT_FALSE(bucket.ready(begin));
  EXPECT_TRUE(bucket.ready(begin + 500us)) << "a part of one is enough";
  bucket.spend(1);
  EXPECT_FALSE(bucket.ready(begin + 1ms));
  EXPECT_TRUE(bucket.ready(begin + 1ms + 1ns));
  EXPECT_NEAR(static_cast<double>(passed(bucket, begin + 1ms, begin + 10s, 1)), 10000, 2);
}

TEST(TokenBucket, APauseEarnsNoMoreThanTheBurst) {
  TokenBucket bucket({.per_second = 1000, .burst = 10});
  EXPECT_EQ(passed(bucket, begin, begin + 1ns, 1), 10U);
  EXPECT_EQ(passed(bucket, begin + 1h, begin + 1h + 1ns, 1), 10U);
}

TEST(TokenBucket, WhatIsLargerThanTheBurstPassesAndIsPaidFor) {
  TokenBucket bucket({.per_second = 1000, .burst = 10});
  ASSERT_TRUE(bucket.ready(begin));
  bucket.spend(5000);
  EXPECT_FALSE(bucket.ready(begin + 4900ms));
  EXPECT_TRUE(bucket.ready(begin + 5s));
}

TEST(TokenBucket, RoundingLosesNothing) {
  for (const std::uint64_t rate : {3ULL, 7ULL, 999'999'937ULL, 3'000'000'001ULL, 1ULL << 40}) {
    TokenBucket bucket({.per_second = rate, .burst = 1});
    const auto size = std::max<std::uint64_t>(rate / 1000 + 1, 1);
    const auto sum = passed(bucket, begin, begin + 100s, size);
    EXPECT_NEAR(static_cast<double>(sum), 100.0 * static_cast<double>(rate), static_cast<double>(rate) / 100 + 2)
        << rate;
  }
}

TEST(TokenBucket, OneTokenAtATimeCostsItsShareOfANanosecond) {
  TokenBucket bucket({.per_second = 3'000'000'000, .burst = 1});
  EXPECT_NEAR(static_cast<double>(passed(bucket, begin, begin + 1ms, 1)), 3e6, 10);
}

TEST(TokenBucket, TellsWhenItIsReady) {
  TokenBucket bucket({.per_second = 10, .burst = 1});
  ASSERT_TRUE(bucket.ready(begin));
  bucket.spend(3);
  const auto at = bucket.ready_at();
  EXPECT_FALSE(bucket.ready(at - 1ns));
  EXPECT_TRUE(bucket.ready(at));
}

TEST(RateLimiter, ChecksItsBounds) {
  EXPECT_TRUE(RateLimiter::check({}));
  EXPECT_TRUE(RateLimiter::check({.bytes = {1ULL << 40, 1ULL << 32}}));
  EXPECT_EQ(RateLimiter::check({.bytes = {(1ULL << 40) + 1, 0}}).error().code(), Errc::out_of_range);
  EXPECT_NE(to_string(RateLimiter::check({.operations = {0, (1ULL << 32) + 1}}).error()).find("operations"),
            std::string::npos);
}

struct FakeClock {
  static inline Clock::time_point time = begin;
  static Clock::time_point now() noexcept { return time; }
};

TEST(RateLimiter, TheScarcerOfBytesAndOperationsRules) {
  FakeClock::time = begin;
  RateLimiter limiter({.bytes = {1000, 100}, .operations = {100, 3}}, &FakeClock::now);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(limiter.ready());
    limiter.spend(1);
  }
  EXPECT_FALSE(limiter.ready()) << "three operations";
  FakeClock::time += 20ms;
  EXPECT_TRUE(limiter.ready());
  limiter.spend(1000);
  FakeClock::time += 500ms;
  EXPECT_FALSE(limiter.ready()) << "a thousand bytes";
  FakeClock::time += 500ms;
  EXPECT_TRUE(limiter.ready());
}

TEST(RateLimiter, WakesOnceItMayGoOn) {
  boost::asio::io_context loop(1);
  RateLimiter limiter({.bytes = {1000, 1}});
  int woken = 0;
  limiter.start(loop.get_executor(), [&] { ++woken; });
  ASSERT_TRUE(limiter.ready());
  limiter.spend(300);
  EXPECT_FALSE(limiter.ready());
  EXPECT_FALSE(limiter.ready());
  loop.run_for(10s);
  EXPECT_EQ(woken, 1);
  EXPECT_TRUE(limiter.ready());
}

TEST(RateLimiter, WakesNobodyOnceStopped) {
  boost::asio::io_context loop(1);
  int woken = 0;
  {
    RateLimiter limiter({.bytes = {1000, 1}});
    limiter.start(loop.get_executor(), [&] { ++woken; });
    ASSERT_TRUE(limiter.ready());
    limiter.spend(100000);
    EXPECT_FALSE(limiter.ready());
  }
  EXPECT_GT(loop.run_for(10s), 0U);
  EXPECT_EQ(woken, 0);
}

}  // namespace
}  // namespace trivet::virtio
