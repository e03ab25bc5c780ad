// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "message.hpp"

#include <cstring>
#include <gtest/gtest.h>

namespace trivet::mshv {
namespace {

constexpr std::uint32_t vp = 3;

template <class T>
abi::Message message_of(abi::MessageType type, const T& payload) {
  abi::Message message{};
  message.type = static_cast<std::uint32_t>(type);
  message.payload_size = sizeof payload;
  std::memcpy(message.payload, &payload, sizeof payload);
  return message;
}

abi::IoPortMessage port_payload() {
  abi::IoPortMessage io{};
  io.header.vp_index = vp;
  io.header.length_and_cr8 = 0x52;  // CR8 5, length 2
  io.header.access = abi::access_write;
  io.header.rip = 0x1234;
  io.port = 0x3f8;
  io.access_info = 1;
  io.byte_count = 2;
  io.bytes[0] = 0xe6;
  io.rax = 0x41;
  return io;
}

Errc error_of(const abi::Message& message) {
  const auto result = decode(message, vp);
  EXPECT_FALSE(result);
  EXPECT_EQ(result ? Blame::guest : result.error().blame(), Blame::host);
  return result ? Errc::io : result.error().code();
}

TEST(MshvMessage, ReadsAPortAccess) {
  const auto result = decode(message_of(abi::MessageType::io_port, port_payload()), vp);
  ASSERT_TRUE(result);
  const auto& port = std::get<intercepts::Port>(*result);
  EXPECT_EQ(port.port, 0x3f8);
  EXPECT_EQ(port.size, 1);
  EXPECT_TRUE(port.write);
  EXPECT_FALSE(port.string);
  EXPECT_EQ(port.rax, 0x41U);
  EXPECT_EQ(port.instruction.length, 2) << "without CR8, which shares its byte";
  EXPECT_EQ(port.instruction.rip, 0x1234U);
  EXPECT_EQ(port.instruction.byte_count, 2);
}

TEST(MshvMessage, ReadsThatAnInterruptCanBeTaken) {
  abi::DeliverableMessage told{};
  told.header.vp_index = vp;
  constexpr auto type = abi::MessageType::interruption_deliverable;
  const auto result = decode(message_of(type, told), vp);
  ASSERT_TRUE(result);
  EXPECT_TRUE(std::holds_alternative<intercepts::Deliverable>(*result));
  told.type = 2;
  EXPECT_EQ(error_of(message_of(type, told)), Errc::hypervisor) << "an NMI was not asked for";
  told = {};
  told.header.vp_index = vp + 1;
  EXPECT_EQ(error_of(message_of(type, told)), Errc::hypervisor);
  EXPECT_EQ(error_of(message_of(type, abi::EoiMessage{})), Errc::hypervisor) << "too short";
}

TEST(MshvMessage, RefusesImpossiblePortAccesses) {
  for (const int size : {0, 3, 5, 6, 7}) {
    auto io = port_payload();
    io.access_info = static_cast<std::uint8_t>(size);
    EXPECT_EQ(error_of(message_of(abi::MessageType::io_port, io)), Errc::hypervisor) << size;
  }
  auto io = port_payload();
  io.port = 0xffff;
  io.access_info = 2;
  EXPECT_EQ(error_of(message_of(abi::MessageType::io_port, io)), Errc::hypervisor) << "across the last port";
  io = port_payload();
  io.byte_count = 17;
  EXPECT_EQ(error_of(message_of(abi::MessageType::io_port, io)), Errc::hypervisor);
  io = port_payload();
  io.header.access = abi::access_execute;
  EXPECT_EQ(error_of(message_of(abi::MessageType::io_port, io)), Errc::hypervisor);
  io.header.access = 200;
  EXPECT_EQ(error_of(message_of(abi::MessageType::io_port, io)), Errc::hypervisor);
  io = port_payload();
  io.header.vp_index = vp + 1;
  EXPECT_EQ(error_of(message_of(abi::MessageType::io_port, io)), Errc::hypervisor) << "another processor's";
}

TEST(MshvMessage, ReadsAMemoryAccess) {
  abi::MemoryMessage memory{};
  memory.header.vp_index = vp;
  memory.header.access = abi::access_execute;
  memory.gpa = 0xfee00000;
  auto result = decode(message_of(abi::MessageType::unmapped_gpa, memory), vp);
  ASSERT_TRUE(result);
  EXPECT_TRUE(std::get<intercepts::Memory>(*result).fetch);
  EXPECT_EQ(std::get<intercepts::Memory>(*result).at, GuestAddress{0xfee00000});
  memory.gpa = std::uint64_t{1} << 52;
  EXPECT_EQ(error_of(message_of(abi::MessageType::gpa_intercept, memory)), Errc::hypervisor);
  memory.gpa = 0;
  memory.byte_count = 255;
  EXPECT_EQ(error_of(message_of(abi::MessageType::gpa_intercept, memory)), Errc::hypervisor);
}

TEST(MshvMessage, ReadsAnMsrWriteFromBothHalves) {
  abi::MsrMessage msr{};
  msr.header.vp_index = vp;
  msr.header.access = abi::access_write;
  msr.number = 0x1f0;
  msr.rdx = 0xffffffff00000001;
  msr.rax = 0xffffffff00000002;
  const auto result = decode(message_of(abi::MessageType::msr, msr), vp);
  ASSERT_TRUE(result);
  EXPECT_EQ(std::get<intercepts::Msr>(*result).value, 0x100000002U);
}

TEST(MshvMessage, RefusesWhatEndsTooEarly) {
  const auto io = message_of(abi::MessageType::io_port, port_payload());
  for (unsigned size = 0; size < sizeof(abi::IoPortMessage); ++size) {
    auto message = io;
    message.payload_size = static_cast<std::uint8_t>(size);
    EXPECT_EQ(error_of(message), Errc::hypervisor) << size;
  }
  auto message = io;
  message.payload_size = 241;
  EXPECT_EQ(error_of(message), Errc::hypervisor) << "more than a message holds";
}

TEST(MshvMessage, RefusesWhatWasNeverAskedFor) {
  for (const auto type : {abi::MessageType::cpuid, abi::MessageType::exception, abi::MessageType::hypercall}) {
    abi::Message message{};
    message.type = static_cast<std::uint32_t>(type);
    message.payload_size = 240;
    EXPECT_EQ(error_of(message), Errc::hypervisor);
  }
  abi::Message unknown{};
  unknown.type = 0x12345678;
  const auto result = decode(unknown, vp);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().hypervisor_status(), 0x12345678U);
}

TEST(MshvMessage, RefusesTheEndOfAnImpossibleVector) {
  EXPECT_TRUE(decode(message_of(abi::MessageType::apic_eoi, abi::EoiMessage{vp, 255}), vp));
  EXPECT_EQ(error_of(message_of(abi::MessageType::apic_eoi, abi::EoiMessage{vp, 256})), Errc::hypervisor);
}

}  // namespace
}  // namespace trivet::mshv
