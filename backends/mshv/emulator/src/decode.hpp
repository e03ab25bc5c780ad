// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <trivet/core/bytes.hpp>

#include "instruction.hpp"

namespace trivet::mshv::emulator {

/// How wide code is: the machine mode of the decoder.
enum class CodeSize : std::uint8_t { bits16, bits32, bits64 };

enum class Decoded : std::uint8_t {
  yes,         ///< also where the operation is `unsupported`
  needs_more,  ///< the instruction goes on behind the bytes given
  invalid,     ///< no processor executes it: #UD
  too_long,    ///< more than 15 bytes: #GP
};

/// Reads the instruction at the start of `bytes`. Allocates nothing.
[[nodiscard]] Decoded decode(CodeSize size, ConstBytes bytes, Instruction& instruction);

/// Mnemonics that `decode` knows, sorted.
[[nodiscard]] std::vector<std::string_view> known_mnemonics();

}  // namespace trivet::mshv::emulator
