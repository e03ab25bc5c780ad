// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Instructions that hit a device, a second: fetched through four levels of page tables, executed, translated, given to
// the handler. Beside them the decoder alone, which is the floor of whoever decodes each time.
#include <Zydis/Zydis.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <time.h>
#include <utility>
#include <vector>

#include <trivet/core/io_handler.hpp>
#include <trivet/mshv/emulator/emulator.hpp>

namespace {

namespace emu = trivet::mshv::emulator;

constexpr int runs = 9;
constexpr std::uint64_t code_at = 0x8000;
constexpr std::uint64_t device_at = 0x100000;
constexpr std::array<unsigned char, 3> load{0x8b, 0x47, 0x10};   // mov eax, [rdi + 0x10]
constexpr std::array<unsigned char, 3> store{0x89, 0x47, 0x10};  // mov [rdi + 0x10], eax

/// Nanoseconds of processor time that this thread has had.
double now() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/// 64-bit code over an identity map of the first two megabytes; what lies behind the first is a device.
class Guest final : emu::Cpu, trivet::IoHandler {
 public:
  Guest() : ram_(0x100000) {
    constexpr std::uint64_t root = 0x20000, table = 0x63;
    for (unsigned level = 0; level < 3; ++level) put(root + 0x1000 * level, (root + 0x1000 * (level + 1)) | table);
    for (std::uint64_t page = 0; page < 512; ++page) put(root + 0x3000 + 8 * page, page << 12 | table);
    state_.cr0 = 0x8001'0001;
    state_.cr3 = root;
    state_.cr4 = 0x20;
    state_.efer = 0x500;
    for (auto& segment : state_.segments) segment.present = segment.code_or_data = true;
    state_.segments[emu::cs].long_mode = true;
    state_.gp[emu::rdi] = device_at;
  }

  void put_code(std::uint64_t at, const std::array<unsigned char, 3>& code) {
    std::memcpy(ram_.data() + at, code.data(), code.size());
  }

  /// `spread`: how many places the instruction stands at, one after the other.
  double instructions(int count, std::uint64_t spread) {
    const double start = now();
    for (int i = 0; i < count; ++i) {
      state_.rip = code_at + static_cast<std::uint64_t>(i) % spread * 3;
      if (emulator_.run(state_, *this, *this).kind != emu::Outcome::Kind::done) std::abort();
    }
    return (now() - start) / count;
  }

  /// One element of a REP STOSD.
  double elements(int count) {
    constexpr std::array<unsigned char, 3> code{0xf3, 0xab, 0x90};
    put_code(code_at, code);
    const double start = now();
    for (int done = 0; done < count; done += 1000) {
      state_.rip = code_at;
      state_.gp[emu::rcx] = 1000;
      state_.gp[emu::rdi] = device_at;
      if (emulator_.run(state_, *this, *this).kind != emu::Outcome::Kind::done) std::abort();
    }
    return (now() - start) / count;
  }

  [[nodiscard]] std::uint64_t accesses() const { return accesses_; }

 private:
  void put(std::uint64_t at, std::uint64_t value) { std::memcpy(ram_.data() + at, &value, 8); }
  std::byte* ram(trivet::GuestAddress at, bool) noexcept override {
    return at.value < ram_.size() ? ram_.data() + at.value : nullptr;
  }
  bool read_xmm(unsigned, emu::Xmm&) noexcept override { return false; }
  bool write_xmm(unsigned, const emu::Xmm&) noexcept override { return false; }
  void pio_read(std::uint16_t, trivet::Bytes) noexcept override {}
  void pio_write(std::uint16_t, trivet::ConstBytes) noexcept override {}
  void mmio_read(trivet::GuestAddress, trivet::Bytes data) noexcept override {
    ++accesses_;
    std::memset(data.data(), 0x5a, data.size());
  }
  void mmio_write(trivet::GuestAddress, trivet::ConstBytes, trivet::Posted) noexcept override { ++accesses_; }

  std::vector<std::byte> ram_;
  emu::CpuState state_;
  emu::Emulator emulator_;
  std::uint64_t accesses_ = 0;
};

double decode_alone(const std::array<unsigned char, 3>& code, int count) {
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  std::array<unsigned char, 15> bytes{};
  std::copy(code.begin(), code.end(), bytes.begin());
  const double start = now();
  for (int i = 0; i < count; ++i) {
    ZydisDecodedInstruction instruction;
    std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
    const auto status = ZydisDecoderDecodeFull(&decoder, bytes.data(), bytes.size(), &instruction, operands.data());
    if (!ZYAN_SUCCESS(status) || instruction.length != code.size()) std::abort();
  }
  return (now() - start) / count;
}

template <class Measure>
double median(Measure&& measure) {
  std::array<double, runs> found{};
  for (auto& value : found) value = measure();
  std::nth_element(found.begin(), found.begin() + runs / 2, found.end());
  return found[runs / 2];
}

void print(const char* what, double nanoseconds, double decode) {
  std::printf("%-36s %7.1f ns  %6.2f M/s  %5.2f of the decode\n", what, nanoseconds, 1e3 / nanoseconds,
              nanoseconds / decode);
}

}  // namespace

int main() {
  constexpr int count = 200'000;
  constexpr std::uint64_t many = 5000;  // far more than are remembered
  for (const auto& [name, code] : {std::pair{"MOV from a device", load}, std::pair{"MOV to a device", store}}) {
    Guest guest;
    for (std::uint64_t i = 0; i < many; ++i) guest.put_code(code_at + 3 * i, code);
    const double decode = median([&] { return decode_alone(code, count); });
    const double warm = median([&] { return guest.instructions(count, 8); });
    const double cold = median([&] { return guest.instructions(count, many); });
    std::printf("%s\n", name);
    print("  the decode alone", decode, decode);
    print("  executed, decoded before", warm, decode);
    print("  executed, decoded each time", cold, decode);
    if (guest.accesses() != std::uint64_t{2} * runs * count) return 1;
  }
  Guest guest;
  const double element = median([&] { return guest.elements(count); });
  std::printf("REP STOSD to a device\n  an element %7.1f ns  %6.2f M/s\n", element, 1e3 / element);
  return 0;
}
