// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "console_port.hpp"

namespace trivet::virtio {

/// The waits of one activation of a port; outlives it until the last of them has ended. Never closes a descriptor.
struct ConsolePort::Watches {
  Watches(ConsolePort& owner, const boost::asio::any_io_executor& executor)
      : port(&owner), input(executor), output(executor), listener(executor) {}

  static void release(boost::asio::posix::stream_descriptor& descriptor) noexcept {
    try {
      if (descriptor.is_open()) descriptor.release();
    } catch (const boost::system::system_error&) {
      // It is watched no more, and is not ours to close.
    }
  }

  void stop() noexcept {
    port = nullptr;
    for (auto* descriptor : {&input, &output, &listener}) release(*descriptor);
  }

  ConsolePort* port;
  boost::asio::posix::stream_descriptor input;
  boost::asio::posix::stream_descriptor output;
  boost::asio::posix::stream_descriptor listener;
  unsigned session = 0;  // another for each program at the socket
  bool reading = false;
  bool input_ended = false;
  bool writing = false;
  bool accepting = false;
  bool awaits_hangup = false;
};

}  // namespace trivet::virtio
