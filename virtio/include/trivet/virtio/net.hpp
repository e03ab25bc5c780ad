// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include <trivet/virtio/device.hpp>
#include <trivet/virtio/mac_address.hpp>
#include <trivet/virtio/net_backend.hpp>
#include <trivet/virtio/rate_limiter.hpp>

namespace trivet::virtio {

class NetController;
class NetFilter;
class NetReceiver;
struct NetSteering;
class NetTransmitter;

/// How a network device looks to its driver.
struct NetOptions {
  MacAddress mac{};                    ///< one station's, not 0
  std::optional<std::uint16_t> mtu{};  ///< bytes, 68 or more; nothing: not told, VIRTIO_NET_F_MTU is not offered
  bool offloads = true;                ///< offers what the backend has; else no checksum or segmentation either way
  std::uint16_t queue_size = 256;      ///< a power of two, 4 to 1024
  bool rss = false;                    ///< offers receive-side scaling (with several pairs) and hash reports
  std::uint32_t speed = 0;             ///< Mbit/s that the driver is told, up to 2^31 - 1; 0: not told
  RateLimits receive{};                ///< to the driver; operations are frames
  RateLimits transmit{};               ///< from the driver
};

/// The network device (virtio 1.3, 5.1): checksum and segmentation offloads both ways, merged receive buffers, queue
/// pairs, control queue (receive modes, MAC table, VLANs, MAC, announcement, pairs, offloads). Any descriptor layout.
///
/// Frames are read into and written from the driver's buffers. What the network cannot take stays in the queue until it
/// can; what comes while there are no buffers stays in the network. A frame that breaks the rules of its header or is
/// refused by the network is lost, as on a wire; a chain without room for the header, or a control command without
/// header or status byte, is a driver fault. Not offered: UFO, notification coalescing.
///
/// With `rss` the device hashes every frame itself, which a driver pays for: without, the network steers by its own
/// means (a tap: to the queue that a flow was sent from last).
class Net final : public Device {
 public:
  /// `invalid_argument` or `out_of_range` names the option out of bounds (caller).
  static Result<std::unique_ptr<Net>> create(std::unique_ptr<NetBackend> backend, NetOptions options);
  ~Net() override;

  /// Asks the driver to tell its network where it is now, after a migration: VIRTIO_NET_S_ANNOUNCE. No effect unless
  /// it negotiated VIRTIO_NET_F_GUEST_ANNOUNCE. Any thread.
  void announce() noexcept;
  /// Plugs the cable in or out; without it frames go nowhere. In at first. Any thread.
  void set_link(bool up) noexcept;

  [[nodiscard]] std::uint32_t id() const noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "net"; }
  [[nodiscard]] std::uint64_t features() const noexcept override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return queue_sizes_; }
  void read_config(std::uint32_t offset, Bytes out) const noexcept override;
  void write_config(std::uint32_t, ConstBytes) noexcept override {}
  [[nodiscard]] std::uint32_t config_generation() const noexcept override;

  Result<void> activate(Activation activation) override;
  Result<void> start_queue(Queue queue) override;
  std::optional<Queue> stop_queue(unsigned index) noexcept override;
  Result<More> process(unsigned index) override;
  void reset() noexcept override;

 private:
  class Client;

  Net(std::unique_ptr<NetBackend> backend, NetOptions options);

  [[nodiscard]] bool negotiated(std::uint64_t feature) const noexcept;
  /// The control queue's index, which depends on what was negotiated (5.1.2); none without VIRTIO_NET_F_CTRL_VQ.
  [[nodiscard]] std::optional<unsigned> control_index() const noexcept;
  [[nodiscard]] bool link_up() const noexcept;
  bool use_pairs(unsigned pairs) noexcept;
  Result<More> work(unsigned index);
  /// As if kicked, but for what the backend or a timer brought.
  void serve(unsigned index) noexcept;
  void wake_all(unsigned direction) noexcept;
  /// Sets and clears status bits; the driver is told if one of them changes and it is active.
  void change_status(std::uint16_t set, std::uint16_t clear) noexcept;

  /// \name What the control queue commands; whether it could be done
  /// @{
  friend class NetController;
  bool set_pairs(unsigned pairs) noexcept;
  /// Frames to the pairs of its table, and so many pairs to transmit.
  bool set_steering(const NetSteering& wanted, unsigned transmitters) noexcept;
  bool set_guest_offloads(std::uint64_t offloads) noexcept;
  void set_mac(const MacAddress& mac) noexcept;
  bool announced() noexcept;
  /// @}

  std::unique_ptr<NetBackend> backend_;
  NetOptions options_;
  std::vector<std::uint16_t> queue_sizes_;
  std::atomic<std::uint64_t> mac_;
  std::atomic<std::uint64_t> status_;  // generation << 32 | status: they change in one step
  std::unique_ptr<Client> client_;
  std::unique_ptr<NetFilter> filter_;
  std::unique_ptr<NetSteering> steering_;
  RateLimiter receive_limit_;
  RateLimiter transmit_limit_;
  std::vector<std::unique_ptr<NetReceiver>> receivers_;
  std::vector<std::unique_ptr<NetTransmitter>> transmitters_;
  std::unique_ptr<NetController> controller_;
  unsigned pairs_ = 1;  // in use
  unsigned first_to_wake_ = 0;
  bool faulted_ = false;
  Activation activation_;
  std::mutex notifier_mutex_;  // announce and set_link against reset
  Notifier* notifier_ = nullptr;
};

}  // namespace trivet::virtio
