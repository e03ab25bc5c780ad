// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <boost/endian/buffers.hpp>

namespace trivet::virtio::abi {

/// Fields as they lie in guest memory: little-endian, naturally aligned, no arithmetic (virtio 1.2, 1.4). Read with
/// `.value()`.
using u8 = unsigned char;
using le16 = boost::endian::little_uint16_buf_at;
using le32 = boost::endian::little_uint32_buf_at;
using le64 = boost::endian::little_uint64_buf_at;

}  // namespace trivet::virtio::abi
