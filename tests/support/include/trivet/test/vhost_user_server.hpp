// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/test/vhost_user_abi.hpp>
#include <trivet/test/vhost_user_channel.hpp>
#include <trivet/test/vhost_user_memory.hpp>
#include <trivet/test/vhost_user_ring.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/device_host.hpp>

namespace trivet::test::vhost_user {

/// All that a Server speaks.
inline constexpr std::uint64_t all_protocol_features =
    abi::protocol_f_mq | abi::protocol_f_reply_ack | abi::protocol_f_backend_req | abi::protocol_f_config |
    abi::protocol_f_reset_device | abi::protocol_f_configure_mem_slots | abi::protocol_f_status;

/// A device's home behind the vhost-user protocol: the back end of one connection. It shows that a Device runs there as
/// it is, with DeviceHost and nothing else between, and is what tests meet.
///
/// What the front end sends is not trusted: a request that is malformed, that the device cannot have or that comes out
/// of order is refused with an error that names it, and the connection ends, with the device reset and nothing of the
/// front end's kept. What the *host* cannot do is told to who asked for an answer (REPLY_ACK), and the connection
/// lives. What the guest's driver does wrong sets DEVICE_NEEDS_RESET in the status (STATUS) and signals each queue's
/// error descriptor. A ring that is started but disabled is not processed at all.
///
/// Thread rule: it lives on its executor, as DeviceHost says; destroy it there or once the loop has ended.
class Server final : private virtio::DeviceHome {
 public:
  struct Options {
    boost::asio::any_io_executor executor{};
    virtio::ErrorLog log{};
    /// Called once, on the executor, as the last thing: the front end has closed the connection, or was refused. The
    /// server may be destroyed in it.
    std::function<void(const Result<void>&)> ended{};
    std::uint64_t protocol_features = all_protocol_features;
    /// Whether the guest's pages that this side writes are marked in the regions of `memory()`.
    bool track_dirty = false;
  };

  /// Serves from now on, as soon as the executor runs. `invalid_argument` (caller) names what is missing; errors of the
  /// host's when it gives no descriptors.
  static Result<std::unique_ptr<Server>> create(std::unique_ptr<virtio::Device> device, UniqueFd socket,
                                                Options options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// The guest's memory as the device sees it.
  [[nodiscard]] const std::shared_ptr<memory::MemoryMap>& memory() const noexcept { return memory_.map(); }

 private:
  struct Rule;

  Server(std::unique_ptr<virtio::Device> device, UniqueFd socket, std::vector<Ring> rings, Options options);

  // The connection: vhost_user_server.cpp.
  void listen();
  void receive();
  void end(const Result<void>& why);
  Result<void> take(Message& message);
  Result<void> check(const Rule& rule, const Message& message) const;
  template <class T>
  void answer(const T& object);

  // Requests: vhost_user_requests.cpp.
  static std::span<const Rule> rules() noexcept;
  [[nodiscard]] std::uint64_t offered() const noexcept;
  [[nodiscard]] bool has(std::uint64_t protocol_feature) const noexcept;
  Result<void> get_features(Message& message);
  Result<void> set_features(Message& message);
  Result<void> set_owner(Message& message);
  Result<void> reset_owner(Message& message);
  Result<void> set_mem_table(Message& message);
  Result<void> add_mem_reg(Message& message);
  Result<void> rem_mem_reg(Message& message);
  Result<void> get_max_mem_slots(Message& message);
  Result<void> get_protocol_features(Message& message);
  Result<void> set_protocol_features(Message& message);
  Result<void> get_queue_num(Message& message);
  Result<void> set_backend_req_fd(Message& message);
  Result<void> get_config(Message& message);
  Result<void> set_config(Message& message);
  Result<void> reset_device(Message& message);
  Result<void> set_status(Message& message);
  Result<void> get_status(Message& message);

  // Rings: vhost_user_rings.cpp.
  Result<void> set_vring_num(Message& message);
  Result<void> set_vring_addr(Message& message);
  Result<void> set_vring_base(Message& message);
  Result<void> get_vring_base(Message& message);
  Result<void> set_vring_kick(Message& message);
  Result<void> set_vring_call(Message& message);
  Result<void> set_vring_err(Message& message);
  Result<void> set_vring_enable(Message& message);
  Result<Ring*> ring_of(std::uint32_t index);
  Result<Ring*> stopped_ring(std::uint32_t index);
  Result<Ring*> ring_with_descriptor(const Message& message, bool& has_descriptor);
  Result<void> set_event(Message& message, FdSlot Ring::*slot);
  [[nodiscard]] unsigned index_of(const Ring& ring) const noexcept;
  Result<void> update(Ring& ring);
  Result<void> update_all();
  Result<void> start(Ring& ring);
  Result<void> stop(Ring& ring);
  Result<void> follow_memory();
  void forget_driver() noexcept;
  void reset_all(bool disable) noexcept;

  // DeviceHome: any thread.
  void used(unsigned queue) noexcept override;
  void config_changed() noexcept override;
  void needs_reset() noexcept override;
  void tell_change() noexcept;

  std::unique_ptr<virtio::Device> device_;
  Options options_;
  Channel channel_;
  boost::asio::posix::stream_descriptor readable_;
  std::shared_ptr<Server*> self_;  // null behind it once this is gone
  Message message_;
  std::vector<std::byte> reply_;

  bool owned_ = false;
  bool active_ = false;
  std::uint64_t features_ = 0;
  std::uint64_t protocol_features_ = 0;
  Memory memory_;
  std::vector<Ring> rings_;
  std::optional<FdSlot> backend_channel_;

  std::atomic<std::uint32_t> status_{0};
  std::atomic<unsigned> running_{0};        // rings; while there is none the device says nothing
  std::atomic<bool> tells_changes_{false};  // the front end wants to hear of them
  std::atomic<bool> changed_{false};        // and has not heard of the last
  virtio::DeviceHost host_;
};

}  // namespace trivet::test::vhost_user
