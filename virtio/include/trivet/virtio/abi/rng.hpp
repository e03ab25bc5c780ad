// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

namespace trivet::virtio::abi {

/// The entropy device has one queue, no feature bits, no configuration space and no headers: the driver hands it
/// writable buffers. Source: virtio 1.2, 5.4.
inline constexpr unsigned rng_request_queue = 0;

}  // namespace trivet::virtio::abi
