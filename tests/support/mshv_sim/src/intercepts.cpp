// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// KVM completes an instruction when it is entered again; Hyper-V does not. So each intercept is completed here with
// zeros and then undone: what reads is known from the registers before it, what writes is searched for backwards from
// where the processor stands after it.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "vp.hpp"
#include "walk.hpp"

namespace trivet::mshv_sim {

namespace abi = mshv::abi;
using Kind = Instruction::Kind;

struct Vp::Before {
  kvm_regs regs{};
  kvm_sregs sregs{};
  kvm_vcpu_events events{};
  kvm_fpu fpu{};
  bool keep_fpu = false;
  std::uint64_t gpa = 0;    // of the access, for memory
  std::uint16_t port = 0;   // for ports
  std::uint8_t length = 0;  // bytes of the access
  std::size_t dropped = 0;  // of further writes by the same instruction
  // RAM that completing destroys: where, how much, what.
  std::array<std::uint64_t, 2> ram{};
  std::array<std::uint8_t, 2> ram_bytes{};
  std::array<std::array<std::uint8_t, 16>, 2> ram_content{};

  [[nodiscard]] bool is_64bit() const { return (sregs.efer & (1U << 10)) != 0 && sregs.cs.l != 0; }
};

namespace {

constexpr std::uint64_t page_mask = 4095;

std::uint64_t count_mask(unsigned address_bits) {
  return address_bits == 64 ? ~0ULL : (1ULL << address_bits) - 1;
}

/// Moves a register of a string instruction back by one element.
void step_back(__u64& pointer, unsigned address_bits, std::int64_t step) {
  const auto mask = count_mask(address_bits);
  const auto moved = (pointer - static_cast<std::uint64_t>(step)) & mask;
  pointer = address_bits == 16 ? (pointer & ~mask) | moved : moved;
}

/// The registers before one element of `instruction` was done.
kvm_regs before_element(kvm_regs regs, const Instruction& instruction) {
  const bool down = (regs.rflags & (1U << 10)) != 0;
  const std::int64_t step = down ? -std::int64_t{instruction.size} : std::int64_t{instruction.size};
  const auto bits = instruction.address_bits;
  if (instruction.kind == Kind::stos || instruction.kind == Kind::movs) step_back(regs.rdi, bits, step);
  if (instruction.kind == Kind::outs || instruction.kind == Kind::movs) step_back(regs.rsi, bits, step);
  if (instruction.repeated) step_back(regs.rcx, bits, -1);
  return regs;
}

}  // namespace

void Vp::remember(Before& before) {
  const int fd = vcpu_.value();
  (void)kvm_call(fd, KVM_GET_REGS, &before.regs);
  (void)kvm_call(fd, KVM_GET_SREGS, &before.sregs);
  (void)kvm_call(fd, KVM_GET_VCPU_EVENTS, &before.events);
}

std::size_t Vp::fetch(const Before& before, std::uint64_t rip, std::span<std::uint8_t> bytes) const {
  std::size_t got = 0;
  while (got < bytes.size()) {
    auto linear = rip + got;
    if (!before.is_64bit()) linear = (before.sregs.cs.base + linear) & 0xffffffff;
    const auto at = walk(before.sregs, partition_->memory(), linear);
    const auto part = std::min<std::size_t>(bytes.size() - got, page_mask + 1 - (linear & page_mask));
    if (!at || !partition_->memory().read(at->gpa, bytes.data() + got, part)) break;
    got += part;
  }
  return got;
}

std::optional<Instruction> Vp::instruction_at(const Before& before, std::uint64_t rip) const {
  std::array<std::uint8_t, 15> bytes{};
  const auto got = fetch(before, rip, bytes);
  return decode({before.regs, before.sregs}, rip, std::span(bytes).first(got));
}

/// Lets KVM finish the access with zeros. What else comes of it is dropped.
bool Vp::complete(std::size_t& dropped) {
  run_->immediate_exit = 1;
  dropped = 0;
  for (int i = 0; i < 256; ++i) {
    if (run_->exit_reason == KVM_EXIT_IO && run_->io.direction == KVM_EXIT_IO_IN) {
      // SAFETY: the kernel keeps the data in the mapping, at that offset.
      std::memset(reinterpret_cast<std::uint8_t*>(run_) + run_->io.data_offset, 0, run_->io.size * run_->io.count);
    }
    if (run_->exit_reason == KVM_EXIT_MMIO && run_->mmio.is_write == 0) std::memset(run_->mmio.data, 0, 8);
    const int result = kvm_call(vcpu_.value(), KVM_RUN, 0UL);
    if (result == -EINTR) return true;
    if (result < 0) return false;
    if (run_->exit_reason == KVM_EXIT_MMIO && run_->mmio.is_write != 0) dropped += run_->mmio.len;
  }
  return false;
}

void Vp::roll_back(const Before& before, const kvm_regs& regs) {
  if (partition_->mutated(Mutation::lost_rollback)) return;
  for (std::size_t i = 0; i < before.ram.size(); ++i) {
    if (before.ram_bytes[i] != 0)
      (void)partition_->memory().write(before.ram[i], before.ram_content[i].data(), before.ram_bytes[i]);
  }
  // A load of a segment register was completed with a null selector.
  kvm_sregs now{};
  auto sregs = before.sregs;
  (void)kvm_call(vcpu_.value(), KVM_GET_SREGS, &now);
  if (std::memcmp(&now, &sregs, offsetof(kvm_sregs, gdt)) != 0) (void)kvm_call(vcpu_.value(), KVM_SET_SREGS, &sregs);
  auto wanted = regs;
  (void)kvm_call(vcpu_.value(), KVM_SET_REGS, &wanted);  // and drops what completing queued
  if (before.keep_fpu) {
    auto fpu = before.fpu;
    (void)kvm_call(vcpu_.value(), KVM_SET_FPU, &fpu);
  }
  if (before.events.interrupt.shadow == 0) return;
  auto events = before.events;
  events.flags = (events.flags & KVM_VCPUEVENT_VALID_PAYLOAD) | KVM_VCPUEVENT_VALID_SHADOW;
  (void)kvm_call(vcpu_.value(), KVM_SET_VCPU_EVENTS, &events);
}

/// Does `instruction`, with the registers of `before`, make just this write?
bool Vp::wrote(const Before& before, const Instruction& instruction, const std::uint8_t* data, bool to_port) const {
  std::array<std::uint8_t, 16> value{};
  bool known = instruction.value != Instruction::Value::unknown;
  if (instruction.value == Instruction::Value::xmm) {
    kvm_fpu fpu{};
    (void)kvm_call(vcpu_.value(), KVM_GET_FPU, &fpu);
    std::memcpy(value.data(), fpu.xmm[instruction.xmm & 15], 16);
  } else if (known) {
    std::memcpy(value.data(), &instruction.immediate, 8);
  }
  const auto same = [&](const std::uint8_t* bytes, std::size_t from, std::size_t count) {
    return !known || std::equal(bytes, bytes + count, value.begin() + static_cast<std::ptrdiff_t>(from));
  };
  if (to_port) {
    const bool right = instruction.kind == Kind::out || instruction.kind == Kind::outs;
    return right && instruction.port == before.port && instruction.size == before.length &&
           same(data, 0, before.length);
  }
  if (instruction.is_port() && instruction.kind != Kind::ins) return false;
  // Page by page: what went to a device must be just what KVM told, and what went to RAM must be there now.
  std::size_t to_device = 0;
  for (std::size_t done = 0; done < instruction.size;) {
    const auto linear = instruction.linear + done;
    const auto piece = std::min<std::size_t>(instruction.size - done, page_mask + 1 - (linear & page_mask));
    const auto at = walk(before.sregs, partition_->memory(), linear);
    if (!at) return false;
    std::array<std::uint8_t, 16> now{};
    if (!partition_->memory().writable(at->gpa)) {
      if (to_device == 0 && (at->gpa != before.gpa || !same(data, done, std::min<std::size_t>(before.length, piece))))
        return false;
      to_device += piece;
    } else if (!partition_->memory().read(at->gpa, now.data(), piece) || !same(now.data(), done, piece)) {
      return false;
    }
    done += piece;
  }
  return to_device == before.length + before.dropped;
}

/// The instruction that made a write, from the registers behind it, which become those before it.
std::optional<Instruction> Vp::find_writer(Before& before, const std::uint8_t* data, bool to_port) const {
  const auto behind = before.regs;
  const auto try_at = [&](std::uint64_t rip, unsigned length) -> std::optional<Instruction> {
    before.regs = behind;
    auto found = instruction_at(before, rip);
    if (!found || (length != 0 && found->length != length) || (length == 0 && !found->repeated)) return std::nullopt;
    if (found->is_string()) {
      before.regs = before_element(behind, *found);
      found = instruction_at(before, rip);
    }
    before.regs.rip = rip;
    const bool writes = found->kind != Kind::load && found->kind != Kind::lods && found->kind != Kind::in;
    return writes && wrote(before, *found, data, to_port) ? found : std::nullopt;
  };
  if (auto found = try_at(behind.rip, 0)) return found;  // in the midst of a repeated one
  for (unsigned length = 1; length <= 15; ++length) {
    if (auto found = try_at(behind.rip - length, length)) return found;
  }
  before.regs = behind;
  return std::nullopt;
}

void Vp::fill_header(abi::InterceptHeader& header, const Before& before, unsigned length, std::uint8_t access) const {
  header.vp_index = index_;
  if (partition_->mutated(Mutation::wrong_length) && length != 0) length = length == 15 ? 14 : length + 1;
  header.length_and_cr8 = static_cast<std::uint8_t>((length & 15) | (before.sregs.cr8 & 15) << 4);
  header.access = access;
  unsigned state = before.sregs.ss.dpl & abi::execution::cpl_mask;
  if ((before.sregs.cr0 & 1) == 0) state = 0;
  if ((before.sregs.cr0 & 1) != 0) state |= abi::execution::cr0_pe;
  if ((before.sregs.cr0 & (1U << 18)) != 0) state |= abi::execution::cr0_am;
  if ((before.sregs.efer & (1U << 10)) != 0) state |= abi::execution::efer_lma;
  if (before.events.interrupt.shadow != 0) state |= abi::execution::interrupt_shadow;
  header.execution_state = static_cast<std::uint16_t>(state);
  header.cs = to_message(before.sregs.cs);
  if (partition_->mutated(Mutation::wrong_segment)) header.cs.attributes ^= 0x1000;
  header.rip = before.regs.rip;
  header.rflags = before.regs.rflags;
}

int Vp::port(abi::Message& message) {
  Before before;
  const bool input = run_->io.direction == KVM_EXIT_IO_IN;
  before.port = run_->io.port;
  before.length = run_->io.size;
  std::array<std::uint8_t, 16> data{};
  // SAFETY: as in complete().
  const auto* shared = reinterpret_cast<const std::uint8_t*>(run_) + run_->io.data_offset;
  std::memcpy(data.data(), shared, std::min<std::size_t>(before.length, data.size()));
  std::optional<Instruction> found;
  if (input) {
    remember(before);
    found = instruction_at(before, before.regs.rip);
    if (found && found->kind == Kind::ins) {
      for (std::size_t i = 0, done = 0; i < 2 && done < found->size; ++i) {
        const auto at = walk(before.sregs, partition_->memory(), found->linear + done);
        const auto part =
            std::min<std::size_t>(found->size - done, page_mask + 1 - ((found->linear + done) & page_mask));
        if (at && partition_->memory().read(at->gpa, before.ram_content[i].data(), part)) {
          before.ram[i] = at->gpa;
          before.ram_bytes[i] = static_cast<std::uint8_t>(part);
        }
        done += part;
      }
    }
    if (found && found->repeated) {
      auto once = before.regs;
      once.rcx = (once.rcx & ~count_mask(found->address_bits)) | 1;
      (void)kvm_call(vcpu_.value(), KVM_SET_REGS, &once);
    }
    if (!complete(before.dropped)) return -EIO;
  } else {
    if (!complete(before.dropped)) return -EIO;
    remember(before);
    found = find_writer(before, data.data(), true);
    if (!found) {
      std::fprintf(stderr, "mshv_sim: cannot tell what wrote to port 0x%x before 0x%llx\n", before.port,
                   before.regs.rip);
      return -EIO;
    }
  }
  roll_back(before, before.regs);

  abi::IoPortMessage io{};
  fill_header(io.header, before, found ? found->length : 0, input ? abi::access_read : abi::access_write);
  io.port = before.port;
  bool string = found && found->is_string();
  if (partition_->mutated(Mutation::wrong_string)) string = !string;
  io.access_info = static_cast<std::uint8_t>(before.length | (string ? abi::io_string : 0) |
                                             (found && found->repeated ? abi::io_repeated : 0));
  if (!partition_->knobs().no_bytes)
    io.byte_count = static_cast<std::uint8_t>(fetch(before, before.regs.rip, io.bytes));
  io.rax = before.regs.rax;
  io.rcx = before.regs.rcx, io.rsi = before.regs.rsi, io.rdi = before.regs.rdi;
  io.ds = to_message(before.sregs.ds), io.es = to_message(before.sregs.es);
  describe(message, abi::MessageType::io_port, &io, sizeof io);
  return 0;
}

/// The virtual address that led to `gpa`.
std::uint64_t Vp::address_of(const Before& before, const Instruction& instruction, std::uint64_t gpa,
                             bool& valid) const {
  for (const auto start : {instruction.linear, instruction.source}) {
    for (const auto offset : {std::uint64_t{0}, page_mask + 1 - (start & page_mask)}) {
      if (offset >= instruction.size) continue;
      const auto at = walk(before.sregs, partition_->memory(), start + offset);
      if (at && at->gpa == gpa) {
        valid = true;
        return start + offset;
      }
    }
  }
  valid = false;
  return 0;
}

int Vp::memory(abi::Message& message) {
  Before before;
  before.gpa = run_->mmio.phys_addr;
  before.length = static_cast<std::uint8_t>(run_->mmio.len);
  const bool write = run_->mmio.is_write != 0;
  std::array<std::uint8_t, 16> data{};
  std::memcpy(data.data(), run_->mmio.data, 8);
  std::optional<Instruction> found;
  if (write) {
    if (!complete(before.dropped)) return -EIO;
    remember(before);
    found = find_writer(before, data.data(), false);
    if (!found) {
      std::fprintf(stderr, "mshv_sim: cannot tell what wrote to 0x%llx before 0x%llx\n",
                   static_cast<unsigned long long>(before.gpa), before.regs.rip);
      return -EIO;
    }
  } else {
    remember(before);
    found = instruction_at(before, before.regs.rip);
    if (found && found->kind == Kind::movs) {
      for (std::size_t i = 0, done = 0; i < 2 && done < found->size; ++i) {
        const auto linear = found->linear + done;
        const auto part = std::min<std::size_t>(found->size - done, page_mask + 1 - (linear & page_mask));
        const auto at = walk(before.sregs, partition_->memory(), linear);
        if (at && partition_->memory().read(at->gpa, before.ram_content[i].data(), part)) {
          before.ram[i] = at->gpa;
          before.ram_bytes[i] = static_cast<std::uint8_t>(part);
        }
        done += part;
      }
    }
    if (found && found->repeated) {
      auto once = before.regs;
      once.rcx = (once.rcx & ~count_mask(found->address_bits)) | 1;
      (void)kvm_call(vcpu_.value(), KVM_SET_REGS, &once);
    }
    (void)kvm_call(vcpu_.value(), KVM_GET_FPU, &before.fpu);
    before.keep_fpu = true;
    if (!complete(before.dropped)) return -EIO;
  }
  roll_back(before, before.regs);

  const auto& knobs = partition_->knobs();
  abi::MemoryMessage shown{};
  fill_header(shown.header, before, found && !knobs.no_length ? found->length : 0,
              write ? abi::access_write : abi::access_read);
  if (!knobs.no_bytes) shown.byte_count = static_cast<std::uint8_t>(fetch(before, before.regs.rip, shown.bytes));
  shown.gpa = before.gpa;
  bool valid = false;
  if (found && !knobs.no_gva) shown.gva = address_of(before, *found, before.gpa, valid);
  if (valid) shown.access_info = abi::gva_valid | abi::gva_gpa_valid;
  if (partition_->mutated(Mutation::wrong_gpa)) shown.gpa ^= 0x40;
  if (partition_->mutated(Mutation::wrong_gva)) shown.gva ^= 0x1000;
  const bool mapped = partition_->memory().mapped(before.gpa);
  describe(message, mapped ? abi::MessageType::gpa_intercept : abi::MessageType::unmapped_gpa, &shown, sizeof shown);
  return 0;
}

int Vp::msr(abi::Message& message, bool& done) {
  const bool write = run_->exit_reason == KVM_EXIT_X86_WRMSR;
  const auto number = run_->msr.index;
  const auto reason = run_->msr.reason;
  const auto data = run_->msr.data;
  if (reason != KVM_MSR_EXIT_REASON_FILTER) {
    run_->msr.error = partition_->unknown_msrs_ignored() ? 0 : 1;
    if (!write) run_->msr.data = 0;
    done = false;
    return 0;
  }
  Before before;
  remember(before);
  run_->msr.error = 0;
  if (!complete(before.dropped)) return -EIO;
  roll_back(before, before.regs);
  abi::MsrMessage shown{};
  fill_header(shown.header, before, 2, write ? abi::access_write : abi::access_read);
  shown.number = number;
  shown.rdx = write ? data >> 32 : before.regs.rdx;
  shown.rax = write ? data & 0xffffffff : before.regs.rax;
  describe(message, abi::MessageType::msr, &shown, sizeof shown);
  return 0;
}

/// A fetch from nowhere, or something that this host's KVM cannot execute.
int Vp::internal_error(abi::Message& message) {
  Before before;
  remember(before);
  std::array<std::uint8_t, 16> bytes{};
  auto linear = before.regs.rip;
  if (!before.is_64bit()) linear = (before.sregs.cs.base + linear) & 0xffffffff;
  const auto got = fetch(before, before.regs.rip, bytes);
  const auto at = walk(before.sregs, partition_->memory(), linear);
  if (!at || partition_->memory().mapped(at->gpa)) {
    std::fprintf(stderr, "mshv_sim: this host's KVM cannot execute the instruction at 0x%llx:", before.regs.rip);
    for (std::size_t i = 0; i < got; ++i) std::fprintf(stderr, " %02x", bytes[i]);
    std::fputc('\n', stderr);
    return -EIO;
  }
  if (before.events.exception.pending != 0 || before.events.exception.injected != 0) {
    auto events = before.events;  // the undefined-opcode exception that KVM made of it
    events.exception = {};
    events.exception_has_payload = 0;
    events.flags = (events.flags & KVM_VCPUEVENT_VALID_PAYLOAD) | KVM_VCPUEVENT_VALID_SHADOW;
    (void)kvm_call(vcpu_.value(), KVM_SET_VCPU_EVENTS, &events);
  }
  abi::MemoryMessage shown{};
  fill_header(shown.header, before, 0, abi::access_execute);
  shown.gva = linear;
  shown.gpa = at->gpa;
  if (!partition_->knobs().no_gva) shown.access_info = abi::gva_valid | abi::gva_gpa_valid;
  describe(message, abi::MessageType::unmapped_gpa, &shown, sizeof shown);
  return 0;
}

}  // namespace trivet::mshv_sim
