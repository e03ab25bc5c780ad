// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>

#include <trivet/core/bytes.hpp>

namespace trivet::vmm {

/// Takes the escapes out of what a person types at a raw terminal: Ctrl-A x stops the machine, Ctrl-A Ctrl-A (or
/// Ctrl-A a) is one Ctrl-A, Ctrl-A and anything else is both bytes as typed.
class EscapeFilter {
 public:
  struct Result {
    std::size_t size = 0;  ///< bytes of `out` that go to the guest
    bool stop = false;
  };

  /// `out` has room for `in.size() + 1` bytes.
  Result filter(ConstBytes in, Bytes out) noexcept {
    Result result;
    for (const auto byte : in) {
      if (!escaped_) {
        escaped_ = byte == escape;
        if (!escaped_) out[result.size++] = byte;
        continue;
      }
      escaped_ = false;
      if (byte == std::byte{'x'}) {
        result.stop = true;
        return result;
      }
      out[result.size++] = escape;
      if (byte != escape && byte != std::byte{'a'}) out[result.size++] = byte;
    }
    return result;
  }

 private:
  static constexpr std::byte escape{0x01};
  bool escaped_ = false;
};

}  // namespace trivet::vmm
