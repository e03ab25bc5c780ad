// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include <trivet/virtio/rate_limiter.hpp>

namespace trivet::virtio {
namespace {

constexpr std::uint64_t second = 1'000'000'000;
constexpr std::uint64_t most_per_second = std::uint64_t{1} << 40;
constexpr std::uint64_t most_at_once = std::uint64_t{1} << 32;

/// In which that much is earned. Neither product nor sum wraps within the bounds above.
std::chrono::nanoseconds time_of(std::uint64_t size, std::uint64_t rate, std::uint64_t& remainder) noexcept {
  const auto parts = std::min(size, most_at_once) * second + remainder;
  remainder = parts % rate;
  return std::chrono::nanoseconds(static_cast<std::int64_t>(parts / rate));
}

Result<void> check_rate(const Rate& rate, const char* which) {
  if (rate.per_second <= most_per_second && rate.burst <= most_at_once) return {};
  return Error(Errc::out_of_range, "limit the rate", which);
}

}  // namespace

TokenBucket::TokenBucket(Rate rate) noexcept : rate_(rate.per_second) {
  if (rate_ == 0) return;
  std::uint64_t remainder = 0;
  depth_ = rate.burst == 0 ? std::chrono::milliseconds(100) : time_of(rate.burst, rate_, remainder);
  depth_ = std::max<Clock::duration>(depth_, std::chrono::nanoseconds(1));  // something can always pass
}

bool TokenBucket::ready(Clock::time_point now) noexcept {
  now_ = now;
  return rate_ == 0 || paid_until_ - now < depth_;
}

void TokenBucket::spend(std::uint64_t size) noexcept {
  if (rate_ != 0) paid_until_ = std::max(paid_until_, now_) + time_of(size, rate_, remainder_);
}

TokenBucket::Clock::time_point TokenBucket::ready_at() const noexcept {
  return paid_until_ - depth_ + std::chrono::nanoseconds(1);
}

/// Lives until its timer's last handler is gone.
struct RateLimiter::Wait {
  Wait(const boost::asio::any_io_executor& executor, std::function<void()> its_wake)
      : timer(executor), wake(std::move(its_wake)) {}

  boost::asio::steady_timer timer;
  std::function<void()> wake;
  bool armed = false;
};

Result<void> RateLimiter::check(const RateLimits& limits) {
  TRIVET_TRY(check_rate(limits.bytes, "bytes: at most 2^40 in a second, 2^32 at once"));
  return check_rate(limits.operations, "operations: at most 2^40 in a second, 2^32 at once");
}

RateLimiter::RateLimiter(RateLimits limits, Now now) noexcept
    : bytes_(limits.bytes),
      operations_(limits.operations),
      limited_(bytes_.limited() || operations_.limited()),
      now_(now) {}

RateLimiter::~RateLimiter() {
  stop();
}

void RateLimiter::start(const boost::asio::any_io_executor& executor, std::function<void()> wake) {
  if (limited_) wait_ = std::make_shared<Wait>(executor, std::move(wake));
}

void RateLimiter::stop() noexcept {
  if (!wait_) return;
  wait_->wake = nullptr;
  try {
    wait_->timer.cancel();
  } catch (const boost::system::system_error&) {
    // It runs out, and wakes nobody.
  }
  wait_.reset();
}

bool RateLimiter::ready_in_time() {
  const auto now = now_();
  const bool bytes = bytes_.ready(now);
  const bool operations = operations_.ready(now);
  if (bytes && operations) return true;
  if (!wait_ || wait_->armed) return false;
  auto at = bytes ? operations_.ready_at() : bytes_.ready_at();
  if (!bytes && !operations) at = std::max(at, operations_.ready_at());
  wait_->armed = true;
  wait_->timer.expires_after(at - now);
  wait_->timer.async_wait([wait = wait_](const boost::system::error_code&) {
    wait->armed = false;
    if (wait->wake) wait->wake();
  });
  return false;
}

void RateLimiter::spend_some(std::uint64_t bytes) noexcept {
  bytes_.spend(bytes);
  operations_.spend(1);
}

}  // namespace trivet::virtio
