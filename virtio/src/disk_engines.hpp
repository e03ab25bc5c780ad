// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <memory>

#include <trivet/core/result.hpp>
#include <trivet/virtio/block_backend.hpp>
#include <trivet/virtio/raw_disk.hpp>

namespace trivet::virtio {

/// Moves from `disk` only when it succeeds.
Result<std::unique_ptr<BlockBackend>> create_uring_engine(RawDisk& disk);
std::unique_ptr<BlockBackend> create_plain_engine(RawDisk disk);

}  // namespace trivet::virtio
