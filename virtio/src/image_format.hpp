// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>

#include <trivet/core/bytes.hpp>

namespace trivet::virtio {

/// The format of a disk image by its first bytes; empty for one that has no mark of its own, as a raw image has none.
[[nodiscard]] inline std::string_view image_format(ConstBytes start) noexcept {
  struct Mark {
    std::string_view format;
    std::size_t offset;
    std::string_view bytes;
  };
  using namespace std::string_view_literals;
  // QEMU's docs/interop/qcow2.txt (QED: docs/interop/qed_spec.rst), MS-VHDX 2.2.1, VMware's Virtual Disk Format 5.0,
  // VirtualBox's VDICore.h.
  static constexpr std::array<Mark, 6> marks{{{"qcow2", 0, "QFI\xfb"sv},
                                              {"QED", 0, "QED\0"sv},
                                              {"VHDX", 0, "vhdxfile"sv},
                                              {"VMDK", 0, "KDMV"sv},
                                              {"VMDK", 0, "# Disk DescriptorFile"sv},
                                              {"VDI", 0x40, "\x7f\x10\xda\xbe"sv}}};
  const auto found = std::find_if(marks.begin(), marks.end(), [&](const Mark& mark) {
    return start.size() >= mark.offset + mark.bytes.size() &&
           std::memcmp(start.data() + mark.offset, mark.bytes.data(), mark.bytes.size()) == 0;
  });
  return found == marks.end() ? std::string_view() : found->format;
}

}  // namespace trivet::virtio
