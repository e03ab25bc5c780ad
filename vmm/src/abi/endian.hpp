// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Little-endian fields without arithmetic, under short names. The `packed_` ones are for specifications that misalign.
#pragma once

#include <boost/endian/buffers.hpp>

namespace trivet::vmm::abi {

using le16 = boost::endian::little_uint16_buf_at;
using le32 = boost::endian::little_uint32_buf_at;
using le64 = boost::endian::little_uint64_buf_at;
using packed_le16 = boost::endian::little_uint16_buf_t;
using packed_le32 = boost::endian::little_uint32_buf_t;
using packed_le64 = boost::endian::little_uint64_buf_t;

}  // namespace trivet::vmm::abi
