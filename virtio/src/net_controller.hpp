// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>

#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/queue.hpp>
#include <trivet/virtio/reader.hpp>

#include "net_filter.hpp"
#include "net_steering.hpp"

namespace trivet::virtio {

class Net;

/// The started control queue (virtio 1.3, 5.1.6.5). A command that was not negotiated, is not known or has the wrong
/// size or values is answered with VIRTIO_NET_ERR and changes nothing. On the device's executor only.
class NetController {
 public:
  NetController(Queue queue, Net& net, Notifier& notifier, NetFilter& filter, NetSteering& steering,
                std::uint64_t features) noexcept
      : queue_(std::move(queue)),
        net_(net),
        notifier_(notifier),
        filter_(filter),
        steering_(steering),
        features_(features) {}

  /// Does what the driver commands. See Device::process.
  Result<More> process();

  [[nodiscard]] Queue take() noexcept { return std::move(queue_); }

 private:
  Result<bool> answer_next();
  /// Whether it was done.
  Result<bool> execute(Reader& data);
  Result<bool> set_receive_mode(abi::u8 command, Reader& data);
  Result<bool> set_address(abi::u8 command, Reader& data);
  Result<bool> set_table(Reader& data);
  /// Half of a table into `list`. False when its count does not fit what is there.
  Result<bool> read_list(Reader& data, NetFilter::List& list) const;
  Result<bool> set_multiqueue(abi::u8 command, Reader& data);
  Result<bool> set_rss(Reader& data);
  Result<bool> set_hash(Reader& data);
  /// The rest of `data`: the key's size, and it.
  Result<bool> read_key(Reader& data, std::uint32_t types, NetHash& hash) const;
  Result<bool> set_vlan(abi::u8 command, Reader& data);
  [[nodiscard]] bool has(std::uint64_t feature) const noexcept { return (features_ & feature) != 0; }

  Queue queue_;
  Net& net_;
  Notifier& notifier_;
  NetFilter& filter_;
  NetSteering& steering_;
  std::uint64_t features_;
};

}  // namespace trivet::virtio
