// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The simulator by its interface alone: what its messages say, to the bit. A backend that decodes the instruction
// itself would not notice most lies.
#include <poll.h>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>

#include "abi_messages.hpp"
#include "support.hpp"

namespace trivet::mshv {
namespace {

using test::Ram;

mshv_sim::Knobs knobs_under_test() {
  mshv_sim::Knobs knobs;
  std::string wrong;
  // tests/support/mshv_sim/mutations: each mutation must make some test here or in conformance fail.
  const char* const words = std::getenv("TRIVET_MSHV_SIMULATOR");
  if (words != nullptr) {
    EXPECT_TRUE(knobs.parse(words, wrong)) << wrong;
  }
  return knobs;
}

/// A client of /dev/mshv that knows nothing of Trivet.
struct Client {
  explicit Client(bool lapic = false) : simulator(knobs_under_test()), system(simulator.system()) {
    device = system.open("/dev/mshv");
    abi::CreatePartition create{lapic ? 3U : 0U, 0};
    partition = system.ioctl(device, abi::create_partition, &create);
    EXPECT_GE(partition, 0);
    EXPECT_EQ(system.ioctl(partition, abi::initialize_partition, nullptr), 0);
    map(0, ram.at(0), test::ram_size, 3);
    abi::CreateVp index{0};
    vp = system.ioctl(partition, abi::create_vp, &index);
    EXPECT_GE(vp, 0);
    set(abi::reg::cs, 0, std::uint64_t{0x009b} << 48 | 0xffff);
    set(abi::reg::rip, test::code_at);
    set(abi::reg::rax + 4, 0x8000);
  }
  ~Client() {
    for (const int fd : {vp, partition, device}) system.close(fd);
  }
  void map(std::uint64_t gpa, std::byte* host, std::uint64_t size, std::uint8_t flags, int wanted = 0) {
    abi::GuestMemory memory{size, gpa / 4096, reinterpret_cast<std::uintptr_t>(host), flags, {}};
    EXPECT_EQ(system.ioctl(partition, abi::set_guest_memory, &memory), wanted);
  }
  int set(std::uint32_t name, std::uint64_t low, std::uint64_t high = 0) {
    struct {
      abi::VpRegisters header;
      abi::RegisterAssignment assignment;
    } input{{0, 0, 0, {}}, {name, 0, 0, {low, high}}};
    abi::RootHypercall call{0x51, 1, sizeof input, 0, 0, {}, reinterpret_cast<std::uintptr_t>(&input), 0};
    return system.ioctl(vp, abi::root_hypercall, &call);
  }
  abi::RegisterValue get(std::uint32_t name) {
    struct {
      abi::VpRegisters header;
      std::uint32_t name;
      std::uint32_t padding;
    } input{{0, 0, 0, {}}, name, 0};
    abi::RegisterValue value{};
    abi::RootHypercall call{
        0x50, 1, 20, 16, 0, {}, reinterpret_cast<std::uintptr_t>(&input), reinterpret_cast<std::uintptr_t>(&value)};
    EXPECT_EQ(system.ioctl(vp, abi::root_hypercall, &call), 0) << std::hex << name;
    return value;
  }
  template <class T>
  T run(abi::MessageType type) {
    abi::Message message{};
    const StopFlag go{0};
    EXPECT_EQ(system.run(vp, &message, go), 0);
    EXPECT_EQ(message.type, static_cast<std::uint32_t>(type));
    EXPECT_EQ(message.payload_size, sizeof(T));
    T payload{};
    std::memcpy(&payload, message.payload, sizeof payload);
    return payload;
  }

  mshv_sim::Simulator simulator;
  const System& system;
  Ram ram;
  int device = -1, partition = -1, vp = -1;
};

TEST(MshvSimulator, TellsAllOfAMemoryAccess) {
  TRIVET_NEEDS_KVM();
  Client client;
  // Paged protected mode would tell GVA from GPA; in real mode they are the same.
  client.ram.put(test::code_at, {0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0x66, 0x8b, 0x0e, 0x34, 0x12});  // mov ecx, [0xf1234]
  const auto memory = client.run<abi::MemoryMessage>(abi::MessageType::unmapped_gpa);
  EXPECT_EQ(memory.gpa, 0xf1234U);
  EXPECT_EQ(memory.gva, 0xf1234U);
  EXPECT_EQ(memory.access_info, abi::gva_valid | abi::gva_gpa_valid);
  EXPECT_EQ(memory.header.access, abi::access_read);
  EXPECT_EQ(memory.header.length_and_cr8, 5);
  EXPECT_EQ(memory.header.rip, test::code_at + 5);
  EXPECT_EQ(memory.header.cs.attributes, 0x9b);
  EXPECT_EQ(memory.header.execution_state, 0);
  EXPECT_EQ(memory.byte_count, 16);
  EXPECT_EQ(memory.bytes[0], 0x66);
  EXPECT_EQ(client.get(abi::reg::rip).low, test::code_at + 5) << "the instruction has not happened";
  EXPECT_EQ(client.get(abi::reg::rax + 1).low, 0U);
  EXPECT_EQ(client.get(abi::reg::cs).high >> 48, 0x9bU);
}

TEST(MshvSimulator, UndoesWrites) {
  TRIVET_NEEDS_KVM();
  Client client;
  client.ram.put(test::code_at, {0xb8, 0x00, 0xf0, 0x8e, 0xc0, 0xbf, 0x00, 0x20, 0xb9, 0x05, 0x00,  // es:di, cx
                                 0xf3, 0x66, 0xab});                                                // rep stosd
  const auto memory = client.run<abi::MemoryMessage>(abi::MessageType::unmapped_gpa);
  EXPECT_EQ(memory.gpa, 0xf2000U);
  EXPECT_EQ(memory.header.access, abi::access_write);
  EXPECT_EQ(memory.header.rip, test::code_at + 11);
  EXPECT_EQ(memory.header.length_and_cr8 & 15, 3);
  EXPECT_EQ(client.get(abi::reg::rax + 7).low, 0x2000U) << "DI";
  EXPECT_EQ(client.get(abi::reg::rax + 1).low, 5U) << "CX";
}

TEST(MshvSimulator, UndoesWhatAnInputWrote) {
  TRIVET_NEEDS_KVM();
  Client client;
  client.ram.put(0x2000, {1, 2, 3, 4});
  client.ram.put(test::code_at, {0xba, 0x60, 0x00, 0xbf, 0x00, 0x20, 0xb9, 0x04, 0x00, 0xf3, 0x6c});  // rep insb
  const auto io = client.run<abi::IoPortMessage>(abi::MessageType::io_port);
  EXPECT_EQ(io.port, 0x60);
  EXPECT_EQ(io.access_info, 1 | abi::io_string | abi::io_repeated);
  EXPECT_EQ(io.header.access, abi::access_read);
  EXPECT_EQ(io.header.length_and_cr8 & 15, 2);
  EXPECT_EQ(io.rcx, 4U);
  EXPECT_EQ(io.rdi, 0x2000U);
  EXPECT_EQ(client.get(abi::reg::rax + 1).low, 4U);
  EXPECT_EQ(client.get(abi::reg::rax + 7).low, 0x2000U);
  for (std::uint8_t i = 0; i < 4; ++i) EXPECT_EQ(*client.ram.at(std::uint64_t{0x2000} + i), std::byte(i + 1));
}

TEST(MshvSimulator, TellsAFetchFromNowhere) {
  TRIVET_NEEDS_KVM();
  Client client;
  client.ram.put(test::code_at, {0xea, 0x00, 0x10, 0x00, 0xf0});  // jmp 0xf000:0x1000
  const auto memory = client.run<abi::MemoryMessage>(abi::MessageType::unmapped_gpa);
  EXPECT_EQ(memory.header.access, abi::access_execute);
  EXPECT_EQ(memory.gpa, 0xf1000U);
  EXPECT_EQ(client.get(abi::reg::pending_event0).low, 0U) << "no exception is left of it";
}

TEST(MshvSimulator, WantsExactRegions) {
  TRIVET_NEEDS_KVM();
  Client client;
  const Ram other;
  client.map(0x1000, other.at(0), 0x1000, 3, -EEXIST);
  client.map(0x100000, client.ram.at(0), 0x1000, 3, -EEXIST);
  client.map(0x100000, other.at(0), 0x2000, 3);
  client.map(0x100000, other.at(0), 0x1000, 4, -EINVAL);
  client.map(0x100000, other.at(0x1000), 0x2000, 4, -EINVAL);
  client.map(0x100000, other.at(0), 0x2000, 4);
  client.map(0x100000, other.at(0), 0x2000, 4, -EINVAL);
  client.map(0x100000, other.at(0), 0x1001, 3, -EINVAL);
}

TEST(MshvSimulator, ResamplesWhereTheGsiIsTheVector) {
  TRIVET_NEEDS_KVM();
  Client client(true);
  client.ram.put(0x508, {0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0, 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0});
  client.set(abi::reg::gdtr, std::uint64_t{0x17} << 48, 0x500);
  client.set(abi::reg::idtr, std::uint64_t{0x7ff} << 48, 0x3000);
  client.set(abi::reg::cr0, client.get(abi::reg::cr0).low | 1);
  client.set(abi::reg::cs, 0, std::uint64_t{0xc09b} << 48 | std::uint64_t{8} << 32 | 0xffffffff);
  for (std::uint32_t i : {0U, 2U, 3U, 4U, 5U})
    client.set(abi::reg::es + i, 0, std::uint64_t{0xc093} << 48 | std::uint64_t{16} << 32 | 0xffffffff);
  client.ram.put(0x3000 + 0x40 * 8, {0x00, 0x20, 0x08, 0x00, 0x00, 0x8e, 0x00, 0x00});
  client.ram.put(test::code_at, {0xc7, 0x05, 0xf0, 0x00, 0xe0, 0xfe, 0xff, 0x01, 0x00, 0x00, 0xfb, 0xf3, 0x90, 0xeb,
                                 0xfc});  // enable the LAPIC; sti; wait
  client.ram.put(0x2000,
                 {0xc7, 0x05, 0xb0, 0x00, 0xe0, 0xfe, 0x00, 0x00, 0x00, 0x00, 0xe6, 0x81, 0xe6, 0x82, 0xeb, 0xfe});
  const int trigger = ::eventfd(0, EFD_NONBLOCK), resample = ::eventfd(0, EFD_NONBLOCK);
  struct {
    abi::MsiRouting header;
    abi::MsiRoute route;
  } routing{{1, 0}, {0x40, 0xfee00000, 0, 0x40}};
  ASSERT_EQ(client.system.ioctl(client.partition, abi::set_msi_routing, &routing), 0);
  abi::IrqFd irqfd{trigger, resample, 0x40, abi::irqfd_flag::resample};
  EXPECT_EQ(client.system.ioctl(client.partition, abi::irqfd, &irqfd), -EINVAL) << "the route is not a level one";
  routing.route.data |= 1U << 15;
  ASSERT_EQ(client.system.ioctl(client.partition, abi::set_msi_routing, &routing), 0);
  ASSERT_EQ(client.system.ioctl(client.partition, abi::irqfd, &irqfd), 0);
  // The guest waits for it; should it be lost, an alarm ends the wait.
  const std::uint64_t one = 1;
  // Before the LAPIC is on nothing is accepted: signal when the guest has run a little.
  std::jthread signaller([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      (void)!::write(trigger, &one, sizeof one);
      ::usleep(20'000);
    }
  });
  abi::Message message{};
  std::atomic<std::uint32_t> stop_flag{0};
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ::sigaction(SIGALRM, &action, nullptr);
  ::alarm(5);
  int result = client.system.run(client.vp, &message, stop_flag);
  // Its end is told when the guest goes on behind it.
  client.set(abi::reg::rip, client.get(abi::reg::rip).low + 2);
  if (result == 0) result = client.system.run(client.vp, &message, stop_flag);
  ::alarm(0);
  signaller.request_stop();
  signaller.join();
  EXPECT_EQ(result, 0) << "the interrupt never came";
  EXPECT_EQ(message.type, static_cast<std::uint32_t>(abi::MessageType::io_port)) << "its end is not told by a message";
  pollfd waiting{resample, POLLIN, 0};
  EXPECT_EQ(::poll(&waiting, 1, 0), 1);
  ::close(trigger);
  ::close(resample);
}

TEST(MshvSimulator, KeepsDirtyBitsUntilTheyAreCleared) {
  TRIVET_NEEDS_KVM();
  Client client;
  const auto track = [&](std::uint64_t on) {
    abi::SetProperty input{0, abi::property::page_access_tracking, 0, on};
    abi::RootHypercall call{0x45, 0, sizeof input, 0, 0, {}, reinterpret_cast<std::uintptr_t>(&input), 0};
    return client.system.ioctl(client.partition, abi::root_hypercall, &call);
  };
  const auto bits = [&](abi::AccessOperation operation) {
    std::uint16_t bitmap = 0;
    abi::AccessBitmap request{1, static_cast<std::uint8_t>(operation),     {}, 16,
                              0, reinterpret_cast<std::uintptr_t>(&bitmap)};
    EXPECT_EQ(client.system.ioctl(client.partition, abi::access_bitmap, &request), 0);
    return bitmap;
  };
  ASSERT_EQ(track(1), 0);
  (void)bits(abi::AccessOperation::clear);
  client.ram.put(test::code_at, {0xc6, 0x06, 0x00, 0x40, 0x01, 0xc6, 0x06, 0x00, 0x90, 0x01, 0xe6, 0x80});
  (void)client.run<abi::IoPortMessage>(abi::MessageType::io_port);
  EXPECT_EQ(bits(abi::AccessOperation::none), 1U << 4 | 1U << 9);
  EXPECT_EQ(bits(abi::AccessOperation::clear), 1U << 4 | 1U << 9);
  EXPECT_EQ(bits(abi::AccessOperation::none), 0);
  EXPECT_NE(track(0), 0) << "cleared bits must be set again first";
  (void)bits(abi::AccessOperation::set);
  EXPECT_EQ(track(0), 0);
}

TEST(MshvSimulator, RefusesWhatTheDriverRefuses) {
  TRIVET_NEEDS_KVM();
  Client client;
  abi::CreatePartition create{1ULL << 40, 0};
  EXPECT_EQ(client.system.ioctl(client.device, abi::create_partition, &create), -EINVAL);
  abi::CreateVp index{256};
  EXPECT_EQ(client.system.ioctl(client.partition, abi::create_vp, &index), -EINVAL);
  index.index = 0;
  EXPECT_EQ(client.system.ioctl(client.partition, abi::create_vp, &index), -EEXIST);
  abi::IoEventFd port{0, 0x80, 1, 0, abi::ioeventfd_flag::port, {}};
  EXPECT_EQ(client.system.ioctl(client.partition, abi::ioeventfd, &port), -EOPNOTSUPP);
  EXPECT_NE(client.set(0xdead, 0), 0) << "a register that is none";
  EXPECT_EQ(client.system.ioctl(client.vp, abi::create_vp, &index), -ENOTTY);
}

}  // namespace
}  // namespace trivet::mshv
