// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Any bytes as an instruction, any registers, any page tables: the emulator ends, touches only what it was given, and
// leaves alone what an instruction that it did not execute must leave alone.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include <trivet/core/io_handler.hpp>
#include <trivet/mshv/emulator/emulator.hpp>
#include <trivet/test/require.hpp>

namespace {

namespace emu = trivet::mshv::emulator;
using trivet::test::require;

constexpr std::uint64_t memory_size = 0x10000;  // and so four bits of a page number
constexpr std::uint64_t device_at = 0x4000, device_end = 0x6000, rom_at = 0x7000, rom_end = 0x8000;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}
  template <class T>
  T take() {
    T value{};
    const std::size_t bytes = std::min(sizeof value, size_);
    if (bytes != 0) std::memcpy(&value, data_, bytes);
    data_ += bytes, size_ -= bytes;
    return value;
  }
  [[nodiscard]] std::size_t left() const { return size_; }
  [[nodiscard]] const std::uint8_t* data() const { return data_; }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

class Guest final : public emu::Cpu, public trivet::IoHandler {
 public:
  std::array<std::byte, memory_size> bytes{};
  std::uint64_t accesses = 0;
  std::uint64_t changes = 0;

  std::byte* ram(trivet::GuestAddress at, bool write) noexcept override {
    if (at.value >= memory_size || (at.value >= device_at && at.value < device_end)) return nullptr;
    if (write && at.value >= rom_at && at.value < rom_end) return nullptr;
    return bytes.data() + at.value;
  }
  void wrote(trivet::GuestAddress at, std::size_t count) noexcept override {
    require(count != 0 && count <= 16 && (at.value & 0xfff) + count <= 0x1000);
    require(ram(at, true) != nullptr);
    ++changes;
  }
  bool read_xmm(unsigned index, emu::Xmm& value) noexcept override {
    require(index < 16);
    value.fill(std::byte{0x5a});
    return true;
  }
  bool write_xmm(unsigned index, const emu::Xmm&) noexcept override {
    require(index < 16);
    return true;
  }
  void pio_read(std::uint16_t, trivet::Bytes data) noexcept override { port(data.size()), fill(data); }
  void pio_write(std::uint16_t, trivet::ConstBytes data) noexcept override { port(data.size()); }
  void mmio_read(trivet::GuestAddress at, trivet::Bytes data) noexcept override {
    memory(at, data.size(), false), fill(data);
  }
  void mmio_write(trivet::GuestAddress at, trivet::ConstBytes data, trivet::Posted) noexcept override {
    memory(at, data.size(), true);
  }

 private:
  static void fill(trivet::Bytes data) { std::memset(data.data(), 0x80, data.size()); }
  void port(std::size_t size) {
    require(size == 1 || size == 2 || size == 4);
    ++accesses;
  }
  void memory(trivet::GuestAddress at, std::size_t size, bool write) {
    require(size == 1 || size == 2 || size == 4 || size == 8);
    require((at.value & 0xfff) + size <= 0x1000);
    require(ram(at, write) == nullptr);
    ++accesses;
  }
};

trivet::Segment take_segment(Input& input) {
  trivet::Segment segment;
  const auto bits = input.take<std::uint16_t>();
  segment.base = input.take<std::uint32_t>() & 0xffff;
  segment.limit = (bits & 1) != 0 ? 0xffff'ffff : input.take<std::uint16_t>();
  segment.selector = bits;
  segment.type = bits >> 1 & 0xf;
  segment.privilege = bits >> 5 & 3;
  segment.present = (bits >> 7 & 1) == 0;
  segment.default_big = (bits >> 8 & 1) != 0;
  segment.long_mode = (bits >> 9 & 1) != 0;
  segment.unusable = (bits >> 10 & 7) == 7;
  segment.code_or_data = true;
  return segment;
}

emu::CpuState take_state(Input& input) {
  emu::CpuState state;
  const auto mode = input.take<std::uint8_t>();
  state.cr0 = (mode & 1) | (input.take<std::uint8_t>() & 1 ? 1U << 31 : 0) | (mode & 0x0c) | (mode & 2 ? 1U << 16 : 0) |
              (mode & 0x10 ? 1U << 18 : 0);
  state.cr4 = input.take<std::uint32_t>();
  state.efer = input.take<std::uint16_t>();
  state.cr3 = input.take<std::uint16_t>();
  state.pkru = input.take<std::uint32_t>();
  state.rflags = input.take<std::uint32_t>() | 2;
  for (auto& segment : state.segments) segment = take_segment(input);
  state.tr = take_segment(input);
  state.ldt = take_segment(input);
  state.gdt = {input.take<std::uint16_t>(), input.take<std::uint16_t>()};
  for (auto& value : state.gp) {
    value = input.take<std::uint16_t>();
    if ((value & 0xf000) == 0xf000) value = input.take<std::uint64_t>();
  }
  state.rip = input.take<std::uint16_t>();
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Guest guest;
  static emu::Emulator emulator({.physical_address_bits = 40, .repeat_limit = 50});
  Input input(data, size);
  const auto code = input.take<std::array<std::uint8_t, 15>>();
  auto state = take_state(input);
  const bool prefetched = (state.gp[0] & 1) != 0;
  // The rest is memory from 0, again and again.
  for (std::size_t i = 0; i < memory_size; ++i) {
    guest.bytes[i] = input.left() == 0 ? std::byte{0} : static_cast<std::byte>(input.data()[i % input.left()]);
  }
  guest.accesses = guest.changes = 0;
  const auto before = state;
  const auto bytes = std::as_bytes(std::span(code));
  const auto outcome = emulator.run(state, guest, guest, prefetched ? bytes : trivet::ConstBytes{});
  require(guest.accesses < 10'000);
  using Kind = emu::Outcome::Kind;
  if (outcome.kind == Kind::done) return 0;
  if (outcome.kind == Kind::again || outcome.kind == Kind::exception) {
    // Only a trap comes after the instruction; a fault leaves RIP on it.
    require(outcome.exception.vector == 1 || state.rip == before.rip);
    return 0;
  }
  require(outcome.kind != Kind::host_failure);
  require(state.gp == before.gp && state.rip == before.rip && state.rflags == before.rflags && guest.accesses == 0);
  return 0;
}
