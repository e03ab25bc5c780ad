// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cstring>

#include <trivet/mshv/emulator/emulator.hpp>

#include "access.hpp"
#include "decode.hpp"
#include "execute.hpp"
#include "guest_bytes.hpp"
#include "modes.hpp"

namespace trivet::mshv::emulator {
namespace {

constexpr std::size_t longest = 15;
constexpr std::uint64_t dr6_single_step = 1ULL << 14;

/// The instruction's bytes, as far as they were fetched.
struct Fetched {
  std::array<std::byte, longest> bytes{};
  std::size_t size = 0;

  [[nodiscard]] ConstBytes view() const { return {bytes.data(), size}; }
};

enum class Fetch : std::uint8_t { ok, fault, not_in_ram, beyond_segment };

/// Reads code page by page: the second page is touched only by an instruction that reaches into it.
class Fetcher {
 public:
  Fetcher(CpuState& state, Cpu& cpu, unsigned physical_address_bits)
      : state_(state), walk_{state, cpu, physical_address_bits}, cpu_(cpu) {}

  Fetch more(Fetched& fetched, Fault& fault) {
    std::uint64_t at = state_.rip + fetched.size;
    std::size_t left = longest - fetched.size;
    if (is_64bit(state_)) {
      const unsigned unused = (state_.cr4 & cr4_la57) != 0 ? 7 : 16;
      if (static_cast<std::uint64_t>(static_cast<std::int64_t>(at << unused) >> unused) != at)
        return Fetch::beyond_segment;
    } else {
      at &= 0xffff'ffff;
      const std::uint64_t limit = state_.segments[cs].limit;
      if (at > limit) return Fetch::beyond_segment;
      left = static_cast<std::size_t>(std::min<std::uint64_t>(left, limit - at + 1));
      at = (state_.segments[cs].base + at) & 0xffff'ffff;
    }
    std::uint64_t physical = 0;
    if (!translate(walk_, at, Intent::fetch, Actor::program, Marking::yes, physical, fault)) return Fetch::fault;
    const std::byte* const host = cpu_.ram({physical}, false);
    if (host == nullptr) return Fetch::not_in_ram;
    const std::size_t bytes = std::min<std::size_t>(left, page_mask + 1 - (physical & page_mask));
    load_bytes(host, fetched.bytes.data() + fetched.size, bytes);
    fetched.size += bytes;
    return Fetch::ok;
  }

 private:
  CpuState& state_;
  PageWalk walk_;
  Cpu& cpu_;
};

/// Instructions decoded before, by where they stood. The bytes are compared: code may have changed.
class DecodeCache {
 public:
  Decoded decode(CodeSize size, std::uint64_t rip, ConstBytes bytes, const Instruction*& instruction) {
    Entry& entry = entries_[(rip ^ rip >> 6) % entries_.size()];
    const std::size_t length = entry.instruction.length;
    const bool hit = length != 0 && entry.rip == rip && entry.size == size && length <= bytes.size() &&
                     std::memcmp(entry.bytes.data(), bytes.data(), length) == 0;
    instruction = &entry.instruction;
    if (hit) return Decoded::yes;
    const auto decoded = emulator::decode(size, bytes, entry.instruction);
    if (decoded != Decoded::yes) {
      entry.instruction.length = 0;
      return decoded;
    }
    entry.rip = rip;
    entry.size = size;
    std::copy_n(bytes.begin(), entry.instruction.length, entry.bytes.begin());
    return decoded;
  }

 private:
  struct Entry {
    std::uint64_t rip = 0;
    CodeSize size = CodeSize::bits16;
    std::array<std::byte, longest> bytes{};
    Instruction instruction{};  // a length of 0: nothing is here
  };
  std::array<Entry, 64> entries_{};
};

Outcome exception(CpuState& state, const Fault& fault) {
  Outcome outcome{.kind = Outcome::Kind::exception};
  outcome.exception.vector = static_cast<std::uint8_t>(fault.vector);
  outcome.exception.has_error_code = has_error_code(fault.vector) && (state.cr0 & cr0_protection) != 0;
  outcome.exception.error_code = outcome.exception.has_error_code ? fault.error_code : 0;
  if (fault.vector == Vector::page_fault) state.cr2 = fault.address;
  return outcome;
}

Outcome unsupported(const Fetched& fetched, std::uint8_t length) {
  Outcome outcome{.kind = Outcome::Kind::unsupported};
  outcome.length = length;
  std::memcpy(outcome.bytes.data(), fetched.bytes.data(), length);
  return outcome;
}

/// The step trap after an instruction, or after one iteration of a repeated one.
Outcome single_step(CpuState& state) {
  state.dr6 |= dr6_single_step;
  return exception(state, {.vector = Vector::debug});
}

}  // namespace

struct Emulator::Impl {
  Options options;
  DecodeCache cache;

  Outcome find(CpuState& state, Cpu& cpu, ConstBytes prefetched, Fetched& fetched, const Instruction*& instruction);
  Outcome finish(CpuState& state, const Execution& execution, Status status, bool trap);
};

/// `done` where the instruction was found.
Outcome Emulator::Impl::find(CpuState& state, Cpu& cpu, ConstBytes prefetched, Fetched& fetched,
                             const Instruction*& instruction) {
  fetched.size = std::min(prefetched.size(), longest);
  std::copy_n(prefetched.begin(), fetched.size, fetched.bytes.begin());
  Fetcher fetcher(state, cpu, options.physical_address_bits);
  const auto size = code_size(state);
  while (true) {
    auto decoded = Decoded::needs_more;
    if (fetched.size != 0) decoded = cache.decode(size, state.rip, fetched.view(), instruction);
    if (decoded == Decoded::yes) return {};
    if (decoded == Decoded::invalid) return exception(state, {.vector = Vector::invalid_opcode});
    if (decoded == Decoded::too_long || fetched.size == longest) return exception(state, {});
    Fault fault;
    switch (fetcher.more(fetched, fault)) {
      case Fetch::ok:
        break;
      case Fetch::fault:
        return exception(state, fault);
      case Fetch::not_in_ram:
        return {.kind = Outcome::Kind::not_in_ram};
      case Fetch::beyond_segment:
        return exception(state, {});
    }
  }
}

Outcome Emulator::Impl::finish(CpuState& state, const Execution& execution, Status status, bool trap) {
  if (status == Status::again) {
    state.rflags |= flag_resume;  // a breakpoint on it was taken before its first iteration
    return trap ? single_step(state) : Outcome{.kind = Outcome::Kind::again};
  }
  state.rip = execution.next();
  state.rflags &= ~flag_resume;
  if (execution.interrupt_shadow()) return {.kind = Outcome::Kind::done, .interrupt_shadow = true};
  return trap ? single_step(state) : Outcome{};
}

Emulator::Emulator(const Options& options) : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->options.physical_address_bits = std::clamp(options.physical_address_bits, 32U, 52U);
  impl_->options.repeat_limit = std::max(options.repeat_limit, 1U);
}

Emulator::~Emulator() = default;

Outcome Emulator::run(CpuState& state, Cpu& cpu, IoHandler& io, ConstBytes prefetched) {
  Fetched fetched;
  const Instruction* instruction = nullptr;
  if (auto found = impl_->find(state, cpu, prefetched, fetched, instruction); found.kind != Outcome::Kind::done) {
    return found;
  }
  const bool trap = (state.rflags & flag_trap) != 0;
  const std::uint64_t next = (state.rip + instruction->length) & (is_64bit(state) ? ~std::uint64_t{0} : 0xffff'ffff);
  Access access(state, cpu, io, impl_->options.physical_address_bits);
  Execution execution(*instruction, state, cpu, io, access, next, trap ? 1 : impl_->options.repeat_limit);
  const auto status = execution.run();
  switch (status) {
    case Status::fault:
      return exception(state, access.fault());
    case Status::unsupported:
      return unsupported(fetched, instruction->length);
    case Status::host_failure:
      return {.kind = Outcome::Kind::host_failure};
    default:
      return impl_->finish(state, execution, status, trap);
  }
}

std::vector<std::string_view> Emulator::instructions() {
  return known_mnemonics();
}

std::string_view to_string(Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::done:
      return "done";
    case Outcome::Kind::again:
      return "again";
    case Outcome::Kind::exception:
      return "exception";
    case Outcome::Kind::unsupported:
      return "unsupported instruction";
    case Outcome::Kind::not_in_ram:
      return "code outside RAM";
    case Outcome::Kind::host_failure:
      return "host failure";
  }
  return "unknown";
}

}  // namespace trivet::mshv::emulator
