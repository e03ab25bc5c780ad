// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <trivet/core/address.hpp>
#include <trivet/core/bytes.hpp>

namespace trivet::pci {

class Function;

/// One memory window that a function wants. Source: PCI 3.0, 6.2.5.
struct Bar {
  std::uint64_t size = 0;     ///< bytes, a power of two, at least 16; 0: there is none
  bool wide = false;          ///< 64 bits, taking the next register too
  bool prefetchable = false;  ///< reads have no side effects
};
inline constexpr unsigned bar_count = 6;

/// Memory of this process's that lies in a BAR: whole pages of 4 KiB.
struct BarMemory {
  std::uint64_t offset = 0;  ///< bytes from the BAR's begin
  std::uint64_t size = 0;    ///< bytes, not 0
  std::byte* host = nullptr;
};

/// Who routes addresses to functions: the owner of their bus.
class BarListener {
 public:
  /// From now on this BAR answers at `at`, or nowhere: the guest moved it, or switched its decoding on or off. Comes on
  /// the thread of the access that did it, one at a time for each function; must not call the function back.
  virtual void bar_moved(Function& function, unsigned bar, std::optional<GuestAddress> at) noexcept = 0;

 protected:
  ~BarListener() = default;
};

/// A PCI function as its bus sees it, whoever owns the bus: our own host bridge, or a hypervisor that decodes the
/// configuration mechanism itself and hands us our functions. It begins with no BAR placed and nothing decoded; who
/// plays firmware places them by writing the configuration space.
/// Thread rule: any thread, several at a time; `listen` before the first access.
class Function {
 public:
  virtual ~Function() = default;

  /// `data` is 1, 2 or 4 bytes and crosses no 4-byte boundary. What is not there reads as zeros within the space and as
  /// ones beyond it.
  virtual void read_config(std::uint16_t offset, Bytes data) noexcept = 0;
  virtual void write_config(std::uint16_t offset, ConstBytes data) noexcept = 0;

  [[nodiscard]] virtual const std::array<Bar, bar_count>& bars() const noexcept = 0;
  /// `data` is 1, 2, 4 or 8 bytes, wholly inside the BAR.
  virtual void read_bar(unsigned bar, std::uint64_t offset, Bytes data) noexcept = 0;
  virtual void write_bar(unsigned bar, std::uint64_t offset, ConstBytes data) noexcept = 0;
  /// What the owner of the bus may map into the guest where the BAR is, so that accesses come here no more: pieces that
  /// do not overlap, the same ones as long as the function lives.
  [[nodiscard]] virtual std::vector<BarMemory> bar_memory(unsigned bar) const {
    (void)bar;
    return {};
  }

  /// `listener` outlives the function, or the last access to it.
  virtual void listen(BarListener* listener) noexcept = 0;
};

}  // namespace trivet::pci
