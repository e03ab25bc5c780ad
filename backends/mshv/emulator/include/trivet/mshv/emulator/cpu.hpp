// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <trivet/core/address.hpp>

namespace trivet::mshv::emulator {

/// An XMM register, least significant byte first.
using Xmm = std::array<std::byte, 16>;

/// What lies around the vCPU whose instruction is emulated: RAM, and registers that are costly to fetch.
///
/// Accesses that hit no RAM go to the IoHandler instead. Thread rule: called on the thread that is in `Emulator::run`.
class Cpu {
 public:
  /// Where the byte at `at` stands in this process, good up to the end of its 4 KiB page; null where there is no RAM,
  /// or where there is and the guest may not write it although `write` is wanted.
  [[nodiscard]] virtual std::byte* ram(GuestAddress at, bool write) noexcept = 0;

  /// `bytes` from `at` in RAM were changed (a dirty log wants to know); within one page.
  virtual void wrote(GuestAddress at, std::size_t bytes) noexcept { (void)at, (void)bytes; }

  /// Registers 0-15. False: the host failed, and the instruction ends as `Outcome::Kind::host_failure`.
  [[nodiscard]] virtual bool read_xmm(unsigned index, Xmm& value) noexcept = 0;
  [[nodiscard]] virtual bool write_xmm(unsigned index, const Xmm& value) noexcept = 0;

 protected:
  ~Cpu() = default;
};

}  // namespace trivet::mshv::emulator
