// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A megabyte of RAM with a device in it, and a vCPU whose instructions are emulated.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <gtest/gtest.h>
#include <initializer_list>
#include <ostream>
#include <vector>

#include <trivet/core/io_handler.hpp>
#include <trivet/mshv/emulator/emulator.hpp>

namespace trivet::mshv::emulator::test {

/// One access as a device saw it.
struct Seen {
  enum Kind : std::uint8_t { load, store, in, out } kind;
  std::uint64_t at;
  std::size_t size;
  std::uint64_t value;
  friend bool operator==(const Seen&, const Seen&) = default;
};
inline std::ostream& operator<<(std::ostream& out, const Seen& seen) {
  constexpr std::array names{"load", "store", "in", "out"};
  return out << names[seen.kind] << " 0x" << std::hex << seen.at << "/" << seen.size << "=0x" << seen.value;
}

inline constexpr std::uint64_t code_at = 0x8000;
inline constexpr std::uint64_t device_at = 0x82000;
inline constexpr std::uint64_t device_end = 0x84000;
inline constexpr std::uint64_t rom_at = 0x86000;  // one page
inline constexpr std::uint64_t cr0_protection = 1, cr0_write_protect = 1 << 16, cr0_paging = 1ULL << 31;
inline constexpr std::uint64_t carry = 1, zero = 0x40, trap = 0x100, direction = 0x400, alignment = 0x40000;

/// Starts in 64-bit mode without privilege checks that matter, paging off (which no processor can do, and which keeps
/// tests of other things short). Every test sets what it wants.
class Guest : public Cpu, public IoHandler {
 public:
  std::vector<std::byte> ram_bytes = std::vector<std::byte>(0x100000);
  CpuState state;
  std::vector<Seen> seen;
  std::vector<GuestAddress> written;
  std::array<Xmm, 16> xmm{};
  std::uint64_t answer = 0x1122'3344'5566'7788;
  bool xmm_fails = false;
  Emulator emulator{{.repeat_limit = 100}};

  Guest() {
    state.cr0 = cr0_protection;
    state.cr4 = 0x200;
    state.efer = 0x400;
    for (auto& segment : state.segments) segment = flat_data();
    state.segments[cs] = flat_data();
    state.segments[cs].type = 0xb;
    state.segments[cs].long_mode = true;
    state.segments[cs].default_big = false;
    state.rip = code_at;
    state.gp[rsp] = 0xa000;
  }
  virtual ~Guest() = default;

  static Segment flat_data() {
    Segment data;
    data.limit = 0xffff'ffff;
    data.type = 3;
    data.present = data.code_or_data = data.default_big = data.granularity = true;
    return data;
  }

  void use_32bit() {
    state.efer = 0;
    state.segments[cs].long_mode = false;
    state.segments[cs].default_big = true;
  }
  void use_user() {
    for (auto& segment : state.segments) segment.privilege = 3;
  }

  void put(std::uint64_t at, std::uint64_t value, std::size_t bytes = 8) {
    std::memcpy(ram_bytes.data() + at, &value, bytes);
  }
  [[nodiscard]] std::uint64_t at(std::uint64_t address, std::size_t bytes = 8) const {
    std::uint64_t value = 0;
    std::memcpy(&value, ram_bytes.data() + address, bytes);
    return value;
  }

  Outcome run(std::initializer_list<std::uint8_t> code) {
    std::memcpy(ram_bytes.data() + (state.rip + state.segments[cs].base) % 0x100000, code.begin(), code.size());
    return emulator.run(state, *this, *this);
  }

  std::byte* ram(GuestAddress address, bool write) noexcept override {
    const bool device = address.value >= device_at && address.value < device_end;
    const bool rom = address.value >= rom_at && address.value < rom_at + 0x1000;
    if (address.value >= ram_bytes.size() || device || (write && rom)) return nullptr;
    return ram_bytes.data() + address.value;
  }
  void wrote(GuestAddress address, std::size_t) noexcept override { written.push_back(address); }
  bool read_xmm(unsigned index, Xmm& value) noexcept override {
    value = xmm[index];
    return !xmm_fails;
  }
  bool write_xmm(unsigned index, const Xmm& value) noexcept override {
    xmm[index] = value;
    return !xmm_fails;
  }
  void pio_read(std::uint16_t port, Bytes data) noexcept override { give(Seen::in, port, data); }
  void pio_write(std::uint16_t port, ConstBytes data) noexcept override { note(Seen::out, port, data); }
  void mmio_read(GuestAddress address, Bytes data) noexcept override { give(Seen::load, address.value, data); }
  void mmio_write(GuestAddress address, ConstBytes data, Posted) noexcept override {
    note(Seen::store, address.value, data);
  }

 private:
  void give(Seen::Kind kind, std::uint64_t address, Bytes data) {
    std::memcpy(data.data(), &answer, data.size());
    note(kind, address, data);
  }
  void note(Seen::Kind kind, std::uint64_t address, ConstBytes data) {
    std::uint64_t value = 0;
    std::memcpy(&value, data.data(), data.size());
    seen.push_back({kind, address, data.size(), value});
  }
};

inline void expect_exception(const Outcome& outcome, unsigned vector, int error_code = -1) {
  ASSERT_EQ(outcome.kind, Outcome::Kind::exception);
  EXPECT_EQ(outcome.exception.vector, vector);
  EXPECT_EQ(outcome.exception.has_error_code, error_code >= 0);
  EXPECT_EQ(outcome.exception.error_code, error_code >= 0 ? static_cast<std::uint32_t>(error_code) : 0U);
}

#define TRIVET_EXPECT_DONE(outcome) EXPECT_EQ((outcome).kind, Outcome::Kind::done)

}  // namespace trivet::mshv::emulator::test
