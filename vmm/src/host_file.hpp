// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <string>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>

namespace trivet::vmm {

/// Whose file status flags a descriptor has: a duplicate of standard input shares O_NONBLOCK with the shell's.
enum class Flags : bool {
  shared,  ///< will not be changed
  own,     ///< may be changed: opened anew where the kind of file allows it (not a socket) and it matters
};

/// The descriptor behind a configured input or output: "-" duplicates standard input or output, "off" is none (an
/// invalid descriptor), all else is a path. Errors name it.
Result<UniqueFd> open_input(const std::string& name, Flags flags = Flags::shared);
Result<UniqueFd> open_output(const std::string& name, Flags flags = Flags::shared);

}  // namespace trivet::vmm
