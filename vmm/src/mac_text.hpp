// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string>
#include <string_view>

#include <trivet/core/result.hpp>
#include <trivet/virtio/mac_address.hpp>

namespace trivet::vmm {

/// "52:54:00:12:34:56", the address of one station. `invalid_argument` names the text (caller).
Result<virtio::MacAddress> parse_mac(std::string_view text);
[[nodiscard]] std::string text_of(const virtio::MacAddress& mac);
/// One of those that anybody may give (IEEE 802, locally administered).
Result<virtio::MacAddress> random_mac();

}  // namespace trivet::vmm
