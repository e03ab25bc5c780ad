// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <functional>
#include <memory>

#include <trivet/core/bytes.hpp>
#include <trivet/test/home.hpp>
#include <trivet/virtio/device.hpp>

namespace trivet::test {

/// Plays a driver that does what `script` says to a device on one of its transports, through the same door as a real
/// one: registers in any order and width, on PCI configuration space and interrupt vectors too, rings and buffers with
/// any content, kicks at any time. The script also brings the device up in order, so that it gets to what lies behind
/// the status machine.
///
/// Ends the program when the transport or the device breaks a promise. `outside` is called with a byte of the script
/// for what happens on the device's other side. One thread, no waiting.
void play_hostile_driver(ConstBytes script, std::unique_ptr<virtio::Device> device,
                         const std::function<void(std::uint8_t)>& outside = {}, Home home = Home::mmio);

}  // namespace trivet::test
