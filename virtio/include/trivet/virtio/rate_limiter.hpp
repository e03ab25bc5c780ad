// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include <boost/asio/any_io_executor.hpp>

#include <trivet/core/result.hpp>

namespace trivet::virtio {

/// How much may pass.
struct Rate {
  std::uint64_t per_second = 0;  ///< at most 2^40; 0: no limit
  std::uint64_t burst = 0;       ///< how much may pass at once after a pause, at most 2^32; 0: what passes in 100 ms

  friend bool operator==(const Rate&, const Rate&) = default;
};

/// A token bucket: lets things of any size through as long as it is not empty, and what is larger than what is left
/// puts it in debt, so that on average no more than the rate passes. Thread rule: a value.
class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;

  /// Full. `rate` was checked.
  explicit TokenBucket(Rate rate = {}) noexcept;

  [[nodiscard]] bool limited() const noexcept { return rate_ != 0; }
  /// Whether something may pass now; `now` never goes back.
  [[nodiscard]] bool ready(Clock::time_point now) noexcept;
  /// It passed, and was so large. After `ready`.
  void spend(std::uint64_t size) noexcept;
  /// When `ready` says yes again, if nothing more is spent.
  [[nodiscard]] Clock::time_point ready_at() const noexcept;

 private:
  std::uint64_t rate_;
  Clock::duration depth_{};         // the time in which the empty bucket fills
  Clock::time_point paid_until_{};  // at which what was spent is earned
  Clock::time_point now_{};
  std::uint64_t remainder_ = 0;  // of a nanosecond, in parts of rate_
};

/// How much of a device's work may pass, by bytes and by operations (requests, packets): whichever comes first.
struct RateLimits {
  Rate bytes{};
  Rate operations{};

  friend bool operator==(const RateLimits&, const RateLimits&) = default;
};

/// Holds a device's work to its limits: ask `ready` before each operation, tell `spend` after it; when `ready` says no,
/// `wake` is called once it would say yes. Without limits both cost a compare.
/// Thread rule: on the executor given to `start`, one call at a time.
class RateLimiter {
 public:
  using Now = TokenBucket::Clock::time_point (*)() noexcept;

  /// `out_of_range` (caller) names the rate that is too large.
  static Result<void> check(const RateLimits& limits);

  /// `limits` were checked; `now` is for tests.
  explicit RateLimiter(RateLimits limits = {}, Now now = &TokenBucket::Clock::now) noexcept;
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;
  ~RateLimiter();

  void start(const boost::asio::any_io_executor& executor, std::function<void()> wake);
  /// Ends the wait, if there is one. What was spent stays spent.
  void stop() noexcept;

  [[nodiscard]] bool ready() { return !limited_ || ready_in_time(); }
  void spend(std::uint64_t bytes) noexcept {
    if (limited_) spend_some(bytes);
  }

 private:
  struct Wait;

  bool ready_in_time();
  void spend_some(std::uint64_t bytes) noexcept;

  TokenBucket bytes_;
  TokenBucket operations_;
  bool limited_;
  Now now_;
  std::shared_ptr<Wait> wait_;
};

}  // namespace trivet::virtio
