// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <span>

/// The built-in guest as an ELF64 image with a PVH entry note. Lives as long as the program. Any thread.
std::span<const std::byte> builtin_guest_image() noexcept;
