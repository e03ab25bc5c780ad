// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string>
#include <string_view>

#include <trivet/core/result.hpp>
#include <trivet/virtio/queue.hpp>

/// A queue's saved state as text: what `Queue::config` gives, for snapshots that people and other programs can read.
namespace trivet::virtio {

/// One JSON object on one line: `version` (1), each member of QueueConfig by its name, addresses and features as
/// strings in hexadecimal ("0x1000"), which keep all 64 bits in any reader. Thread rule: any thread.
[[nodiscard]] std::string to_json(const QueueConfig& config);

/// The same back. `malformed` when it is not JSON, or longer than 4 KiB; `invalid_argument` or `out_of_range` with the
/// path in the document ("/size") for a key that is unknown or missing, a wrong type, a number that does not fit;
/// `unsupported`: another version (caller). What the values mean together `Queue::create` checks. Thread rule: any
/// thread.
Result<QueueConfig> queue_config_from_json(std::string_view document);

}  // namespace trivet::virtio
