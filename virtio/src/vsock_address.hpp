// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <string>

namespace trivet::virtio {

/// Bytes of the path, so that a port still fits behind it (unix(7): 107 bytes in all).
inline constexpr std::size_t vsock_most_path = 96;
/// What goes behind the path for host programs that want messages.
inline constexpr const char* vsock_seqpacket_suffix = ".seqpacket";

/// bind(2) and connect(2) to a Unix socket; false with errno.
bool bind_to(int socket, const std::string& path) noexcept;
bool connect_to(int socket, const std::string& path) noexcept;

}  // namespace trivet::virtio
