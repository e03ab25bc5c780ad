// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "administered_device.hpp"

#include <utility>

#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {

AdministeredDevice::AdministeredDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {
  const auto sizes = device_->queue_sizes();
  sizes_.assign(sizes.begin(), sizes.end());
  sizes_.push_back(admin_queue_size);
}

Result<void> AdministeredDevice::activate(Activation activation) {
  notifier_ = activation.notifier;
  commands_.reset();
  return device_->activate(std::move(activation));
}

Result<void> AdministeredDevice::start_queue(Queue queue) {
  if (queue.index() != admin_index()) return device_->start_queue(std::move(queue));
  queue_ = std::move(queue);
  return {};
}

std::optional<Queue> AdministeredDevice::stop_queue(unsigned index) noexcept {
  return index == admin_index() ? std::exchange(queue_, std::nullopt) : device_->stop_queue(index);
}

void AdministeredDevice::reset() noexcept {
  queue_.reset();
  notifier_ = nullptr;
  device_->reset();
}

Result<More> AdministeredDevice::process(unsigned index) {
  if (index != admin_index()) return device_->process(index);
  if (!queue_) return More::no;
  Result<bool> served = true;
  auto more = More::yes;
  for (unsigned budget = queue_->size(); budget > 0 && served && more == More::yes; --budget) {
    served = serve();
    if (served && !*served && !queue_->enable_kicks()) more = More::no;
  }
  if (queue_->should_notify()) notifier_->used(index);
  if (!served) return served.error();
  return more;
}

/// One command. False when there is none.
Result<bool> AdministeredDevice::serve() {
  TRIVET_ASSIGN(const auto chain, queue_->pop());
  if (!chain) return false;
  TRIVET_ASSIGN(auto command, Reader::create(*chain));
  TRIVET_ASSIGN(auto answer, Writer::create(*chain));
  TRIVET_TRY(commands_.execute(command, answer));
  TRIVET_TRY(queue_->push_used(chain->id(), answer.written()));
  return true;
}

}  // namespace trivet::virtio
