// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <utility>

#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/config_space.hpp>
#include <trivet/virtio/net.hpp>

#include "net_controller.hpp"
#include "net_filter.hpp"
#include "net_receiver.hpp"
#include "net_shared.hpp"
#include "net_steering.hpp"
#include "net_transmitter.hpp"

namespace trivet::virtio {

namespace {

constexpr unsigned receives = 0;
constexpr unsigned transmits = 1;
/// Linux gives the control queue four entries at most at a time.
constexpr std::uint16_t control_queue_size = 64;
constexpr std::uint16_t least_mtu = 68;  // 5.1.4.1

Error out_of_bounds(const char* what) {
  return Error(Errc::invalid_argument, "create network device", what);
}

std::vector<std::uint16_t> sizes_of(unsigned pairs, std::uint16_t size) {
  std::vector<std::uint16_t> sizes(std::size_t{2} * pairs, size);
  sizes.push_back(control_queue_size);
  return sizes;
}

std::uint64_t packed(const MacAddress& mac) noexcept {
  std::uint64_t value = 0;
  for (const auto byte : mac.bytes) value = value << 8 | byte;
  return value;
}

}  // namespace

/// What the backend calls.
class Net::Client final : public NetClient {
 public:
  explicit Client(Net& net) noexcept : net_(net) {}
  void can_receive(unsigned pair) noexcept override { net_.serve(2 * pair + receives); }
  void can_send(unsigned pair) noexcept override {
    if (net_.transmitters_[pair]) net_.transmitters_[pair]->resume();
    net_.serve(2 * pair + transmits);
  }

 private:
  Net& net_;
};

Result<std::unique_ptr<Net>> Net::create(std::unique_ptr<NetBackend> backend, NetOptions options) {
  if (!backend) return out_of_bounds("it needs a backend");
  if (backend->info().pairs == 0 || backend->info().pairs > 256) return out_of_bounds("queue pairs: 1 to 256");
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 4 || options.queue_size > 1024) {
    return out_of_bounds("queue_size: a power of two, 4 to 1024");
  }
  if (options.mac.is_multicast() || options.mac.is_zero()) return out_of_bounds("mac: one station's address");
  if (options.mtu && *options.mtu < least_mtu) return out_of_bounds("mtu: 68 or more");
  if (options.speed > 0x7fffffff) return out_of_bounds("speed: at most 2^31 - 1");
  TRIVET_TRY(RateLimiter::check(options.receive));
  TRIVET_TRY(RateLimiter::check(options.transmit));
  return std::unique_ptr<Net>(new Net(std::move(backend), options));
}

Net::Net(std::unique_ptr<NetBackend> backend, NetOptions options)
    : backend_(std::move(backend)),
      options_(options),
      queue_sizes_(sizes_of(backend_->info().pairs, options.queue_size)),
      mac_(packed(options.mac)),
      status_(abi::net_s_link_up),
      client_(std::make_unique<Client>(*this)),
      filter_(std::make_unique<NetFilter>()),
      steering_(std::make_unique<NetSteering>()),
      receive_limit_(options.receive),
      transmit_limit_(options.transmit),
      receivers_(backend_->info().pairs),
      transmitters_(backend_->info().pairs) {}

Net::~Net() {
  reset();
}

// --- configuration ---

std::uint32_t Net::id() const noexcept {
  return static_cast<std::uint32_t>(abi::DeviceId::network);
}

std::uint64_t Net::features() const noexcept {
  auto features = abi::net_f_mac | abi::net_f_status | abi::net_f_mrg_rxbuf | abi::net_f_ctrl_vq | abi::net_f_ctrl_rx |
                  abi::net_f_ctrl_rx_extra | abi::net_f_ctrl_vlan | abi::net_f_ctrl_mac_addr |
                  abi::net_f_guest_announce;
  const auto offloads = options_.offloads ? backend_->info().offloads : 0;
  features |= offloads & (abi::net_guest_offloads | abi::net_host_offloads);
  if ((offloads & abi::net_guest_offloads) != 0) features |= abi::net_f_ctrl_guest_offloads;
  if (options_.mtu) features |= abi::net_f_mtu;
  if (options_.speed != 0) features |= abi::net_f_speed_duplex;
  if (backend_->info().pairs > 1) features |= abi::net_f_mq;
  if ((offloads & (abi::net_f_host_tso4 | abi::net_f_host_tso6 | abi::net_f_host_uso)) != 0) {
    features |= abi::net_f_guest_hdrlen;
  }
  if (options_.rss) features |= abi::net_f_hash_report | (backend_->info().pairs > 1 ? abi::net_f_rss : 0);
  return features;
}

std::uint32_t Net::config_generation() const noexcept {
  return static_cast<std::uint32_t>(status_.load(std::memory_order_acquire) >> 32);
}

void Net::read_config(std::uint32_t offset, Bytes out) const noexcept {
  abi::NetConfig config{};
  const auto mac = mac_.load(std::memory_order_relaxed);
  for (unsigned i = 0; i < 6; ++i) config.mac[i] = static_cast<abi::u8>(mac >> (40 - 8 * i));
  config.status = static_cast<std::uint16_t>(status_.load(std::memory_order_acquire));
  config.max_virtqueue_pairs = static_cast<std::uint16_t>(backend_->info().pairs);
  config.mtu = options_.mtu.value_or(0);
  config.speed = options_.speed != 0 ? options_.speed : 0xffffffffU;
  config.duplex = options_.speed != 0 ? abi::net_full_duplex : 0xff;
  if (options_.rss) {
    config.rss_max_key_size = static_cast<abi::u8>(NetHash::key_size);
    config.rss_max_indirection_table_length = static_cast<std::uint16_t>(NetSteering::most_entries);
    config.supported_hash_types = abi::net_hash_types;
  }
  copy_config(config, offset, out);
}

void Net::change_status(std::uint16_t set, std::uint16_t clear) noexcept {
  auto before = status_.load(std::memory_order_relaxed);
  std::uint64_t after = 0;
  do {
    const auto bits = (before & 0xffff & ~std::uint64_t{clear}) | set;
    if (bits == (before & 0xffff)) return;
    after = ((before >> 32) + 1) << 32 | bits;
  } while (!status_.compare_exchange_weak(before, after, std::memory_order_acq_rel));
  if (notifier_ != nullptr && negotiated(abi::net_f_status)) notifier_->config_changed();
}

void Net::announce() noexcept {
  const std::lock_guard lock(notifier_mutex_);
  if (notifier_ != nullptr && negotiated(abi::net_f_guest_announce)) change_status(abi::net_s_announce, 0);
}

void Net::set_link(bool up) noexcept {
  const std::lock_guard lock(notifier_mutex_);
  up ? change_status(abi::net_s_link_up, 0) : change_status(0, abi::net_s_link_up);
  if (notifier_ == nullptr || !up) return;
  for (unsigned index = 0; index < 2 * backend_->info().pairs; ++index) notifier_->wake(index);
}

bool Net::link_up() const noexcept {
  return (status_.load(std::memory_order_relaxed) & abi::net_s_link_up) != 0;
}

// --- life ---

bool Net::negotiated(std::uint64_t feature) const noexcept {
  return (activation_.features & feature) == feature;
}

std::optional<unsigned> Net::control_index() const noexcept {
  if (!negotiated(abi::net_f_ctrl_vq)) return std::nullopt;
  return (activation_.features & (abi::net_f_mq | abi::net_f_rss)) != 0 ? 2 * backend_->info().pairs : 2;
}

Result<void> Net::activate(Activation activation) {
  TRIVET_TRY(backend_->start(activation.executor, *client_));
  auto set = backend_->set_offloads(activation.features & abi::net_guest_offloads);
  if (set) set = backend_->use_pairs(1);
  if (!set) {
    backend_->stop();
    return set;
  }
  receive_limit_.start(activation.executor, [this] { wake_all(receives); });
  transmit_limit_.start(activation.executor, [this] { wake_all(transmits); });
  pairs_ = 1;
  faulted_ = false;
  *steering_ = {};
  filter_->reset(options_.mac, (activation.features & abi::net_f_ctrl_vlan) != 0);
  const std::lock_guard lock(notifier_mutex_);
  activation_ = std::move(activation);
  notifier_ = activation_.notifier;
  return {};
}

Result<void> Net::start_queue(Queue queue) {
  const auto index = queue.index();
  if (index == control_index()) {
    controller_ = std::make_unique<NetController>(std::move(queue), *this, *activation_.notifier, *filter_, *steering_,
                                                  activation_.features);
    return {};
  }
  const auto pair = index / 2;
  if (pair >= receivers_.size()) return {};  // the control queue that was not negotiated
  const bool receiver = index % 2 == receives;
  const NetShared shared{.backend = *backend_,
                         .notifier = *activation_.notifier,
                         .limit = receiver ? receive_limit_ : transmit_limit_,
                         .filter = *filter_,
                         .steering = *steering_,
                         .receivers = receivers_,
                         .features = activation_.features};
  if (receiver) {
    receivers_[pair] = std::make_unique<NetReceiver>(std::move(queue), shared, pair);
  } else {
    transmitters_[pair] = std::make_unique<NetTransmitter>(std::move(queue), shared, pair);
  }
  return {};
}

std::optional<Queue> Net::stop_queue(unsigned index) noexcept {
  const auto stop = [](auto& slot) -> std::optional<Queue> {
    if (!slot) return std::nullopt;
    const auto stopped = std::move(slot);
    return stopped->take();
  };
  if (index == control_index()) return stop(controller_);
  const auto pair = index / 2;
  if (pair >= receivers_.size()) return std::nullopt;
  return index % 2 == receives ? stop(receivers_[pair]) : stop(transmitters_[pair]);
}

void Net::reset() noexcept {
  if (activation_.notifier == nullptr) return;
  backend_->stop();
  receive_limit_.stop();
  transmit_limit_.stop();
  for (auto& receiver : receivers_) receiver.reset();
  for (auto& transmitter : transmitters_) transmitter.reset();
  controller_.reset();
  const std::lock_guard lock(notifier_mutex_);
  notifier_ = nullptr;
  change_status(0, abi::net_s_announce);
  mac_.store(packed(options_.mac), std::memory_order_relaxed);
  activation_ = {};
}

// --- work ---

Result<More> Net::process(unsigned index) {
  auto result = work(index);
  if (!result && result.error().blame() == Blame::guest) faulted_ = true;
  return result;
}

Result<More> Net::work(unsigned index) {
  if (index == control_index()) return controller_ ? controller_->process() : Result<More>(More::no);
  const auto pair = index / 2;
  if (pair >= pairs_) return More::no;  // 5.1.6.5.5: not in use
  if (index % 2 == transmits)
    return transmitters_[pair] ? transmitters_[pair]->process(link_up()) : Result<More>(More::no);
  return receivers_[pair] && link_up() ? receivers_[pair]->process() : Result<More>(More::no);
}

void Net::serve(unsigned index) noexcept {
  if (faulted_) return;
  const auto result = process(index);
  auto& notifier = *activation_.notifier;
  if (!result) {
    result.error().blame() == Blame::guest ? notifier.driver_fault(result.error())
                                           : notifier.host_error(result.error());
  } else if (*result == More::yes) {
    notifier.wake(index);
  }
}

void Net::wake_all(unsigned direction) noexcept {
  // Another pair first each time: what waits for a rate's limit is taken by the first.
  ++first_to_wake_;
  for (unsigned i = 0; i < pairs_; ++i) activation_.notifier->wake(2 * ((first_to_wake_ + i) % pairs_) + direction);
}

// --- what the control queue commands ---

bool Net::set_pairs(unsigned pairs) noexcept {
  if (!use_pairs(pairs)) return false;
  steering_->steers = false;
  return true;
}

bool Net::set_steering(const NetSteering& wanted, unsigned transmitters) noexcept {
  auto pairs = std::max<unsigned>(transmitters, wanted.unclassified + 1U);
  for (std::size_t i = 0; i <= wanted.mask; ++i) pairs = std::max(pairs, wanted.table.at(i) + 1U);
  if (transmitters == 0 || !use_pairs(pairs)) return false;
  *steering_ = wanted;
  steering_->steers = true;
  return true;
}

bool Net::use_pairs(unsigned pairs) noexcept {
  if (pairs == 0 || pairs > backend_->info().pairs) return false;
  if (const auto used = backend_->use_pairs(pairs); !used) {
    activation_.notifier->host_error(used.error());
    return false;
  }
  for (auto pair = pairs; pair < pairs_; ++pair) {
    if (receivers_[pair]) receivers_[pair]->rest();
    if (transmitters_[pair]) transmitters_[pair]->resume();
  }
  pairs_ = pairs;
  wake_all(receives);
  wake_all(transmits);
  return true;
}

bool Net::set_guest_offloads(std::uint64_t offloads) noexcept {
  if ((offloads & ~(activation_.features & abi::net_guest_offloads)) != 0) return false;
  if (const auto set = backend_->set_offloads(offloads); !set) {
    activation_.notifier->host_error(set.error());
    return false;
  }
  return true;
}

void Net::set_mac(const MacAddress& mac) noexcept {
  mac_.store(packed(mac), std::memory_order_relaxed);
  filter_->set_mac(mac);
}

bool Net::announced() noexcept {
  if ((status_.load(std::memory_order_relaxed) & abi::net_s_announce) == 0) return false;
  const auto before = status_.fetch_and(~std::uint64_t{abi::net_s_announce}, std::memory_order_acq_rel);
  return (before & abi::net_s_announce) != 0;
}

}  // namespace trivet::virtio
