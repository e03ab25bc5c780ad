// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "message.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace trivet::mshv {
namespace {

constexpr auto operation = "read an intercept message";
constexpr std::uint16_t attribute_long = 1U << 13;

Error impossible(const abi::Message& message, const char* what, std::uint64_t value) {
  std::array<char, 120> text{};
  std::snprintf(text.data(), text.size(), "type 0x%x: %s 0x%llx", message.type, what,
                static_cast<unsigned long long>(value));
  return Error(Errc::hypervisor, operation, text.data(), Blame::host);
}

template <class T>
Result<T> payload(const abi::Message& message) {
  static_assert(sizeof(T) <= sizeof message.payload);
  if (message.payload_size < sizeof(T)) return impossible(message, "a payload of", message.payload_size);
  T value{};
  std::memcpy(&value, message.payload, sizeof value);
  return value;
}

/// The part that all intercepts of an instruction share.
Result<intercepts::Instruction> instruction(const abi::Message& message, const abi::InterceptHeader& header,
                                            std::uint32_t vp) {
  if (header.vp_index != vp) return impossible(message, "it is for processor", header.vp_index);
  if (header.access > abi::access_execute) return impossible(message, "an access of kind", header.access);
  intercepts::Instruction result;
  result.rip = header.rip;
  result.rflags = header.rflags;
  result.length = header.length_and_cr8 & 0xf;
  result.interrupt_shadow = (header.execution_state & abi::execution::interrupt_shadow) != 0;
  result.long_mode_code =
      (header.execution_state & abi::execution::efer_lma) != 0 && (header.cs.attributes & attribute_long) != 0;
  return result;
}

Result<void> take_bytes(const abi::Message& message, intercepts::Instruction& to, std::uint8_t count,
                        const std::uint8_t (&bytes)[16]) {
  if (count > sizeof bytes) return impossible(message, "a number of instruction bytes of", count);
  to.byte_count = count;
  std::memcpy(to.bytes.data(), bytes, sizeof bytes);
  return {};
}

Result<Intercept> port(const abi::Message& message, std::uint32_t vp) {
  TRIVET_ASSIGN(const auto from, payload<abi::IoPortMessage>(message));
  intercepts::Port to;
  TRIVET_ASSIGN(to.instruction, instruction(message, from.header, vp));
  TRIVET_TRY(take_bytes(message, to.instruction, from.byte_count, from.bytes));
  to.size = from.access_info & abi::io_size_mask;
  if (to.size != 1 && to.size != 2 && to.size != 4) return impossible(message, "a port access of bytes", to.size);
  if (from.header.access == abi::access_execute) return impossible(message, "a port access of kind", 2);
  if (from.port > 0x10000 - to.size) return impossible(message, "an access across the last port, at", from.port);
  to.port = from.port;
  to.write = from.header.access == abi::access_write;
  to.string = (from.access_info & abi::io_string) != 0;
  to.repeated = (from.access_info & abi::io_repeated) != 0;
  to.rax = from.rax;
  return Intercept(to);
}

Result<Intercept> memory(const abi::Message& message, std::uint32_t vp) {
  TRIVET_ASSIGN(const auto from, payload<abi::MemoryMessage>(message));
  intercepts::Memory to;
  TRIVET_ASSIGN(to.instruction, instruction(message, from.header, vp));
  TRIVET_TRY(take_bytes(message, to.instruction, from.byte_count, from.bytes));
  constexpr unsigned most_bits = 52;  // of any processor's physical addresses
  if ((from.gpa >> most_bits) != 0) return impossible(message, "a physical address of", from.gpa);
  to.at = {from.gpa};
  to.write = from.header.access == abi::access_write;
  to.fetch = from.header.access == abi::access_execute;
  return Intercept(to);
}

Result<Intercept> msr(const abi::Message& message, std::uint32_t vp) {
  TRIVET_ASSIGN(const auto from, payload<abi::MsrMessage>(message));
  intercepts::Msr to;
  TRIVET_ASSIGN(to.instruction, instruction(message, from.header, vp));
  if (from.header.access == abi::access_execute) return impossible(message, "an MSR access of kind", 2);
  to.number = from.number;
  to.write = from.header.access == abi::access_write;
  if (to.write) to.value = (from.rdx & 0xffff'ffff) << 32 | (from.rax & 0xffff'ffff);
  return Intercept(to);
}

Result<Intercept> end_of_interrupt(const abi::Message& message, std::uint32_t vp) {
  TRIVET_ASSIGN(const auto from, payload<abi::EoiMessage>(message));
  if (from.vp_index != vp) return impossible(message, "it is for processor", from.vp_index);
  if (from.vector > 0xff) return impossible(message, "the end of vector", from.vector);
  return Intercept(intercepts::EndOfInterrupt{static_cast<std::uint8_t>(from.vector)});
}

Result<Intercept> deliverable(const abi::Message& message, std::uint32_t vp) {
  TRIVET_ASSIGN(const auto from, payload<abi::DeliverableMessage>(message));
  if (from.header.vp_index != vp) return impossible(message, "it is for processor", from.header.vp_index);
  if (from.type != abi::interruption::external) return impossible(message, "an interruption of type", from.type);
  return Intercept(intercepts::Deliverable{});
}

}  // namespace

Result<Intercept> decode(const abi::Message& message, std::uint32_t vp) {
  if (message.payload_size > sizeof message.payload) return impossible(message, "a payload of", message.payload_size);
  switch (static_cast<abi::MessageType>(message.type)) {
    case abi::MessageType::io_port:
      return port(message, vp);
    case abi::MessageType::unmapped_gpa:
    case abi::MessageType::gpa_intercept:
      return memory(message, vp);
    case abi::MessageType::msr:
      return msr(message, vp);
    case abi::MessageType::apic_eoi:
      return end_of_interrupt(message, vp);
    case abi::MessageType::halt: {
      TRIVET_ASSIGN(const auto header, payload<abi::InterceptHeader>(message));
      intercepts::Halt halt;
      TRIVET_ASSIGN(halt.instruction, instruction(message, header, vp));
      return Intercept(halt);
    }
    case abi::MessageType::unrecoverable_exception:
      return Intercept(intercepts::Unrecoverable{});
    case abi::MessageType::invalid_vp_register:
      return Intercept(intercepts::InvalidRegister{});
    case abi::MessageType::interruption_deliverable:
      return deliverable(message, vp);
    case abi::MessageType::none:
    case abi::MessageType::sipi:
      return Intercept(intercepts::Notice{});
    case abi::MessageType::hypercall:
    case abi::MessageType::cpuid:
    case abi::MessageType::exception:
      break;
  }
  return Error::from_hypervisor(message.type, operation, "an intercept that was never asked for");
}

}  // namespace trivet::mshv
