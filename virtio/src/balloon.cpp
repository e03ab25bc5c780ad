// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/balloon.hpp>
#include <trivet/virtio/config_space.hpp>

namespace trivet::virtio {

namespace {

constexpr std::uint64_t pages_a_mib = (std::uint64_t{1} << 20) / abi::balloon_page_size;
constexpr std::uint64_t most_mib = (std::uint64_t{1} << 24) - 1;  // its pages fit in 32 bits

Result<void> check_target(std::uint64_t mib) {
  if (mib <= most_mib) return {};
  return Error(Errc::out_of_range, "set balloon target", "less than 16777216 MiB");
}

/// Queues beyond inflate and deflate exist by their feature. Source: virtio 1.3, 5.5.2.
constexpr std::array<std::uint64_t, 5> feature_of_queue{0, 0, abi::balloon_f_stats_vq, abi::balloon_f_free_page_hint,
                                                        abi::balloon_f_page_reporting};

}  // namespace

Result<std::unique_ptr<Balloon>> Balloon::create(BalloonOptions options) {
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 2 || options.queue_size > 1024) {
    return Error(Errc::invalid_argument, "create balloon", "queue_size: a power of two, 2 to 1024");
  }
  TRIVET_TRY(check_target(options.target_mib));
  return std::unique_ptr<Balloon>(new Balloon(std::move(options)));
}

Balloon::Balloon(BalloonOptions options) noexcept
    : options_(std::move(options)), target_pages_(static_cast<std::uint32_t>(options_.target_mib * pages_a_mib)) {
  queue_sizes_.fill(options_.queue_size);
}

Balloon::~Balloon() {
  reset();
}

// --- configuration ---

std::uint32_t Balloon::id() const noexcept {
  return static_cast<std::uint32_t>(abi::DeviceId::balloon);
}

std::uint64_t Balloon::features() const noexcept {
  return abi::balloon_f_stats_vq | (options_.deflate_on_oom ? abi::balloon_f_deflate_on_oom : 0) |
         (options_.hints ? abi::balloon_f_free_page_hint | abi::balloon_f_page_poison : 0) |
         (options_.free_page_reporting ? abi::balloon_f_page_reporting | abi::balloon_f_page_poison : 0);
}

std::uint32_t Balloon::config_generation() const noexcept {
  const std::lock_guard lock(mutex_);
  return generation_;
}

void Balloon::read_config(std::uint32_t offset, Bytes out) const noexcept {
  abi::BalloonConfig config{};
  {
    const std::lock_guard lock(mutex_);
    config.num_pages = target_pages_;
    config.free_page_hint_cmd_id = hint_command_;
  }
  config.actual = actual_;
  config.poison_val = poison_;
  copy_config(config, offset, out);
}

void Balloon::write_config(std::uint32_t offset, ConstBytes in) noexcept {
  if (in.size() != sizeof(abi::le32)) return;
  abi::le32 value{};
  std::memcpy(&value, in.data(), sizeof value);
  if (offset == offsetof(abi::BalloonConfig, actual)) actual_ = value.value();
  if (offset == offsetof(abi::BalloonConfig, poison_val)) poison_ = value.value();
}

template <class Change>
void Balloon::reconfigure(Change&& change) noexcept {
  const std::lock_guard lock(mutex_);
  change();
  ++generation_;
  if (notifier_ != nullptr) notifier_->config_changed();
}

Result<void> Balloon::set_target(std::uint64_t mib) noexcept {
  TRIVET_TRY(check_target(mib));
  reconfigure([&] { target_pages_ = static_cast<std::uint32_t>(mib * pages_a_mib); });
  return {};
}

std::uint64_t Balloon::target_mib() const noexcept {
  const std::lock_guard lock(mutex_);
  return target_pages_ / pages_a_mib;
}

Result<void> Balloon::start_hinting() noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (notifier_ == nullptr || !negotiated(abi::balloon_f_free_page_hint)) {
      return Error::unsupported("start hinting", "the driver hints at no free pages");
    }
  }
  hinting_ended_ = false;
  reconfigure([&] {
    last_run_ = std::max(last_run_ + 1, abi::balloon_hint_first);  // after 2^32 - 1: 2 again
    hint_command_ = last_run_;
  });
  return {};
}

void Balloon::finish_hinting() noexcept {
  reconfigure([&] { hint_command_ = abi::balloon_hint_done; });
}

void Balloon::request_statistics() noexcept {
  statistics_wanted_ = true;
  const std::lock_guard lock(mutex_);
  if (notifier_ != nullptr && negotiated(abi::balloon_f_stats_vq)) notifier_->wake(abi::balloon_stats_queue);
}

BalloonStatistics Balloon::statistics() const noexcept {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

BalloonCounts Balloon::counts() const noexcept {
  return {counts_[inflated], counts_[deflated], counts_[reported],
          counts_[released], counts_[hinted],   counts_[ignored]};
}

// --- life ---

std::optional<unsigned> Balloon::role_of(unsigned index) const noexcept {
  const auto exists = [&](unsigned role) { return feature_of_queue[role] == 0 || negotiated(feature_of_queue[role]); };
  unsigned number = 0;
  for (unsigned role = 0; role < queue_count; ++role) {
    if (exists(role) && number++ == index) return role;
  }
  return index < queue_count && exists(index) ? std::optional(index) : std::nullopt;
}

Result<void> Balloon::activate(Activation activation) {
  hinting_ = abi::balloon_hint_stop;
  const std::lock_guard lock(mutex_);
  activation_ = std::move(activation);
  notifier_ = activation_.notifier;
  return {};
}

Result<void> Balloon::start_queue(Queue queue) {
  const auto index = queue.index();
  // A queue that carries nothing may be enabled; it is never looked at.
  const auto role = role_of(index).value_or(queue_count);
  queues_[index] = {std::move(queue), role, std::nullopt};
  return {};
}

std::optional<Queue> Balloon::stop_queue(unsigned index) noexcept {
  if (index >= queue_count || !queues_[index].queue) return std::nullopt;
  auto& served = queues_[index];
  auto unfinished = served.list ? std::optional(served.list->chain) : std::nullopt;
  if (served.role == abi::balloon_stats_queue) unfinished = std::exchange(statistics_chain_, std::nullopt);
  if (unfinished) (void)served.queue->push_used(*unfinished, 0);
  served.list.reset();
  return std::exchange(served.queue, std::nullopt);
}

void Balloon::reset() noexcept {
  for (auto& served : queues_) served = {};
  statistics_chain_.reset();
  const std::lock_guard lock(mutex_);
  hint_command_ = abi::balloon_hint_done;  // a new driver is in no run
  actual_ = 0;
  poison_ = 0;
  notifier_ = nullptr;
  activation_ = {};
}

Result<More> Balloon::process(unsigned index) {
  if (index >= queue_count || !queues_[index].queue) return More::no;
  auto& served = queues_[index];
  Result<More> result = More::no;
  switch (served.role) {
    case abi::balloon_inflate_queue:
    case abi::balloon_deflate_queue:
      result = take_pages(served);
      break;
    case abi::balloon_stats_queue:
      result = take_statistics(*served.queue);
      break;
    case abi::balloon_hint_queue:
    case abi::balloon_report_queue:
      result = take_free_pages(served);
      break;
    default:
      break;
  }
  if (served.queue->should_notify()) activation_.notifier->used(index);
  return result;
}

}  // namespace trivet::virtio
