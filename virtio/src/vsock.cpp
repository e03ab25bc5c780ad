// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>

#include <trivet/virtio/abi/ids.hpp>
#include <trivet/virtio/config_space.hpp>
#include <trivet/virtio/vsock.hpp>

#include "vsock_address.hpp"
#include "vsock_table.hpp"

namespace trivet::virtio {

namespace {

constexpr auto operation = "create vsock";
constexpr std::uint32_t first_port = std::uint32_t{1} << 30;  // of those that the device gives to host programs
constexpr std::uint64_t last_cid = 0xfffffffe;                // 2^32 - 1 is VMADDR_CID_ANY

Result<void> check_cid(std::uint64_t cid) {
  if (cid > abi::vsock_host_cid && cid <= last_cid) return {};
  return Error(Errc::out_of_range, "set vsock CID", "a guest's is 3 to 4294967294");
}

Result<void> check(const VsockOptions& options) {
  const auto refuse = [](const char* what) { return Error(Errc::invalid_argument, operation, what); };
  TRIVET_TRY(check_cid(options.cid));
  if (options.path.empty() || options.path.size() > vsock_most_path) return refuse("path: 1 to 96 bytes");
  if (options.connections == 0 || options.connections > 65536) return refuse("connections: 1 to 65536");
  if (!std::has_single_bit(options.buffer_size) || options.buffer_size < 4096 || options.buffer_size > 16 << 20) {
    return refuse("buffer_size: a power of two, 4 KiB to 16 MiB");
  }
  if (!std::has_single_bit(options.queue_size) || options.queue_size < 2 || options.queue_size > 1024) {
    return refuse("queue_size: a power of two, 2 to 1024");
  }
  return {};
}

Result<UniqueFd> listen_at(const std::string& path, int type) {
  UniqueFd socket(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return Error::from_errno(errno, operation, "socket");
  if (!bind_to(socket.value(), path)) {
    if (errno != EADDRINUSE) return Error::from_errno(errno, operation, path);
    return Error(Errc::already_exists, operation, path + " is there already: remove it, or take another path");
  }
  if (::listen(socket.value(), SOMAXCONN) != 0) return Error::from_errno(errno, operation, path);
  return socket;
}

}  // namespace

void Vsock::Listener::stop() noexcept {
  device = nullptr;
  try {
    if (socket.is_open()) (void)socket.release();
  } catch (const boost::system::system_error&) {
    // It is watched no more; the device closes it.
  }
}

std::shared_ptr<VsockConnection> Vsock::Table::remove(VsockConnection& connection) {
  connection.unlink();
  const auto found = by_ports.find(key(connection.guest_port, connection.host_port));
  if (found != by_ports.end() && found->second.get() == &connection) {
    auto removed = std::move(found->second);
    by_ports.erase(found);
    return removed;
  }
  const auto other =
      std::find_if(others.begin(), others.end(), [&](const auto& it) { return it.get() == &connection; });
  if (other == others.end()) return nullptr;
  auto removed = std::move(*other);
  *other = std::move(others.back());
  others.pop_back();
  return removed;
}

Result<std::unique_ptr<Vsock>> Vsock::create(VsockOptions options) {
  TRIVET_TRY(check(options));
  std::unique_ptr<Vsock> vsock(new Vsock(std::move(options)));
  const auto& path = vsock->options_.path;
  TRIVET_ASSIGN(vsock->sockets_[0], listen_at(path, SOCK_STREAM));
  TRIVET_ASSIGN(vsock->sockets_[1], listen_at(path + vsock_seqpacket_suffix, SOCK_SEQPACKET));
  return vsock;
}

Vsock::Vsock(VsockOptions options)
    : options_(std::move(options)), cid_(options_.cid), table_(std::make_unique<Table>()), next_port_(first_port) {
  queue_sizes_.fill(options_.queue_size);
}

Vsock::~Vsock() {
  reset();
  // Only what is ours: a path that was in the way is somebody else's.
  if (sockets_[0].valid()) (void)::unlink(options_.path.c_str());
  if (sockets_[1].valid()) (void)::unlink((options_.path + vsock_seqpacket_suffix).c_str());
}

// --- configuration ---

std::uint32_t Vsock::id() const noexcept {
  return static_cast<std::uint32_t>(abi::DeviceId::socket);
}

std::uint64_t Vsock::features() const noexcept {
  return abi::vsock_f_stream | abi::vsock_f_seqpacket | abi::vsock_f_no_implied_stream;
}

std::uint32_t Vsock::config_generation() const noexcept {
  return static_cast<std::uint32_t>(cid_.load(std::memory_order_acquire) >> 32);
}

void Vsock::read_config(std::uint32_t offset, Bytes out) const noexcept {
  abi::VsockConfig config{};
  config.guest_cid = static_cast<std::uint32_t>(cid_.load(std::memory_order_acquire));
  copy_config(config, offset, out);
}

bool Vsock::speaks(std::uint16_t type) const noexcept {
  const auto features = activation_.features;
  if (type == abi::vsock_type_seqpacket) return (features & abi::vsock_f_seqpacket) != 0;
  // A driver that does not know how to say otherwise means streams (5.10.3).
  return type == abi::vsock_type_stream &&
         ((features & abi::vsock_f_stream) != 0 || (features & abi::vsock_f_no_implied_stream) == 0);
}

Result<void> Vsock::reset_transport(std::optional<std::uint64_t> new_cid) noexcept {
  if (new_cid) {
    TRIVET_TRY(check_cid(*new_cid));
    const auto generation = cid_.load(std::memory_order_relaxed) >> 32;
    cid_.store((generation + 1) << 32 | *new_cid, std::memory_order_release);
  }
  ends_all_ = true;
  tells_reset_ = true;
  const std::lock_guard lock(notifier_mutex_);
  if (notifier_ == nullptr) return {};
  notifier_->wake(abi::vsock_receive_queue);
  notifier_->wake(abi::vsock_event_queue);
  return {};
}

// --- life ---

Result<void> Vsock::activate(Activation activation) {
  for (std::size_t i = 0; i < sockets_.size(); ++i) {
    auto listener = std::make_shared<Listener>(*this, activation.executor, i == 1);
    boost::system::error_code error;
    listener->socket.assign(sockets_[i].value(), error);
    if (error) {
      reset();
      return Error::from_errno(error.value(), "activate vsock", "watch the socket");
    }
    listeners_[i] = std::move(listener);
  }
  ends_all_ = false;  // there is nothing to end, and a driver that comes up asks for its CID itself
  tells_reset_ = false;
  {
    const std::lock_guard lock(notifier_mutex_);
    activation_ = std::move(activation);
    notifier_ = activation_.notifier;
  }
  for (auto& listener : listeners_) accept(*listener);
  return {};
}

Result<void> Vsock::start_queue(Queue queue) {
  const auto index = queue.index();
  queues_[index] = std::move(queue);
  return {};
}

std::optional<Queue> Vsock::stop_queue(unsigned index) noexcept {
  if (index >= queues_.size()) return std::nullopt;
  return std::exchange(queues_[index], std::nullopt);
}

Result<More> Vsock::process(unsigned index) {
  if (ends_all_.exchange(false)) end_all();
  if (index >= queues_.size() || !queues_[index]) return More::no;
  if (index == abi::vsock_receive_queue) return receive();
  return index == abi::vsock_transmit_queue ? transmit() : tell_event();
}

void Vsock::reset() noexcept {
  for (auto& listener : listeners_) {
    if (listener) listener->stop();
    listener.reset();
  }
  for (auto& queue : queues_) queue.reset();
  end_all();
  const std::lock_guard lock(notifier_mutex_);
  notifier_ = nullptr;
  activation_ = {};
}

void Vsock::report(const Result<More>& result, unsigned queue) noexcept {
  if (!result) {
    result.error().blame() == Blame::guest ? notifier_->driver_fault(result.error())
                                           : notifier_->host_error(result.error());
  } else if (*result == More::yes) {
    notifier_->wake(queue);
  }
}

void Vsock::end_all() noexcept {
  for (auto& entry : table_->by_ports) entry.second->close();
  for (auto& other : table_->others) other->close();
  table_->by_ports.clear();
  table_->others.clear();
  count_ = 0;
  refusal_count_ = 0;
  transmit_waits_ = false;
  for (auto& listener : listeners_) {
    if (listener) accept(*listener);  // there is room again
  }
}

void Vsock::end(VsockConnection& connection) {
  const auto removed = table_->remove(connection);
  if (!removed) return;
  removed->close();
  --count_;
  for (auto& listener : listeners_) {
    if (listener) accept(*listener);
  }
}

void Vsock::forget(VsockConnection& connection) {
  if (connection.state == VsockConnection::State::greeting || connection.drained() || !connection.guest_ended) {
    return end(connection);
  }
  connection.owed = VsockConnection::nothing;
  connection.state = VsockConnection::State::lingering;
  auto kept = table_->remove(connection);
  table_->others.push_back(std::move(kept));
}

}  // namespace trivet::virtio
