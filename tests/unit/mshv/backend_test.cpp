// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The backend over a system that says what a test wants.
#include <cerrno>
#include <functional>
#include <gmock/gmock.h>

#include <trivet/core/backend_registry.hpp>
#include <trivet/mshv/backend.hpp>

#include "hypercall.hpp"
#include "irq_router.hpp"
#include "kicker.hpp"
#include "run_window.hpp"

namespace trivet::mshv {
namespace {

using testing::HasSubstr;

class FakeSystem final : public System {
 public:
  std::function<int(unsigned long, void*)> answer = [](unsigned long, void*) { return 0; };
  int opens = 7;
  mutable int calls = 0;

  int open(const char*) const noexcept override { return opens; }
  int close(int) const noexcept override { return 0; }
  int ioctl(int, unsigned long request, void* argument) const noexcept override {
    ++calls;
    return answer(request, argument);
  }
  void* map_page(int, std::uint64_t) const noexcept override { return nullptr; }
  void unmap_page(void*) const noexcept override {}
  int run(int, void*, const StopFlag&) const noexcept override { return -EINTR; }
};

TEST(MshvBackend, SaysWhatToDoWhereItIsNotUsable) {
  FakeSystem system;
  system.opens = -ENOENT;
  EXPECT_THAT(backend(system)->probe().reason, HasSubstr("mshv_root"));
  system.opens = -EACCES;
  EXPECT_THAT(backend(system)->probe().reason, HasSubstr("give yourself access"));
  system.opens = 7;
  system.answer = [](unsigned long, void*) { return -ENOTTY; };
  EXPECT_THAT(backend(system)->probe().reason, HasSubstr("Linux 6.15"));
  EXPECT_FALSE(backend(system)->open());
  system.answer = [](unsigned long, void*) { return -EFAULT; };
  EXPECT_TRUE(backend(system)->probe().usable);
}

TEST(MshvBackend, IsLoadable) {
  BackendRegistry registry;
  const auto loaded = registry.load(TRIVET_TEST_PLUGIN);
  ASSERT_TRUE(loaded) << to_string(loaded.error());
  EXPECT_NE(registry.find("mshv"), nullptr);
}

TEST(MshvHypercall, GivesUpOnAStormOfAgain) {
  FakeSystem system;
  system.answer = [](unsigned long, void* argument) {
    static_cast<abi::RootHypercall*>(argument)->repetitions = 0;
    return -EAGAIN;
  };
  const Handle handle(system, 7);
  const auto result = write_property(handle, 1, 2, "a property");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::no_memory);
  EXPECT_GT(system.calls, 100);
  const auto registers = read_property(handle, 1, "a property");
  EXPECT_FALSE(registers);
}

TEST(MshvHypercall, FinishesWhatWasDoneInPart) {
  FakeSystem system;
  std::vector<std::uint32_t> asked;
  system.answer = [&](unsigned long, void* argument) {
    auto& call = *static_cast<abi::RootHypercall*>(argument);
    const auto* names = reinterpret_cast<const std::uint32_t*>(call.input + sizeof(abi::VpRegisters));
    auto* values = reinterpret_cast<abi::RegisterValue*>(call.output);
    const unsigned wanted = call.repetitions;
    EXPECT_EQ(call.input_size, sizeof(abi::VpRegisters) + wanted * 4);
    EXPECT_EQ(call.output_size, wanted * 16);
    const unsigned done = std::min(2U, wanted);
    for (unsigned i = 0; i < done; ++i) {
      asked.push_back(names[i]);
      values[i] = {names[i] * 10ULL, 0};
    }
    call.repetitions = static_cast<std::uint16_t>(done);
    return done == wanted ? 0 : -EAGAIN;
  };
  const Handle handle(system, 7);
  std::vector<std::uint32_t> names;
  for (std::uint32_t i = 0; i < 150; ++i) names.push_back(i);
  std::vector<abi::RegisterValue> values(names.size());
  ASSERT_TRUE(read_registers(handle, 0, names, values));
  EXPECT_EQ(asked, names);
  for (std::uint32_t i = 0; i < 150; ++i) EXPECT_EQ(values[i].low, i * 10);
}

TEST(MshvHypercall, RefusesMoreThanItAskedFor) {
  FakeSystem system;
  system.answer = [](unsigned long, void* argument) {
    static_cast<abi::RootHypercall*>(argument)->repetitions = 1000;
    return 0;
  };
  const Handle handle(system, 7);
  const std::uint32_t name = 1;
  abi::RegisterValue value{};
  EXPECT_FALSE(read_registers(handle, 0, {&name, 1}, {&value, 1}));
}

TEST(MshvHypercall, NamesTheHypervisorsStatus) {
  FakeSystem system;
  system.answer = [](unsigned long, void* argument) {
    static_cast<abi::RootHypercall*>(argument)->status = abi::status::access_denied;
    return -EACCES;
  };
  const Handle handle(system, 7);
  EXPECT_EQ(write_property(handle, 1, 2, "a property").error().hypervisor_status(), abi::status::access_denied);
}

TEST(MshvRouter, AsksForAResampledRoute) {
  FakeSystem system;
  abi::IrqFd seen{};
  system.answer = [&](unsigned long request, void* argument) {
    if (request == abi::irqfd) seen = *static_cast<const abi::IrqFd*>(argument);
    return 0;
  };
  const HostFacts host;
  const Context context{host, Handle(system, 7), {}};
  const Router router(context);
  ASSERT_TRUE(router.connect(64, 5, 6));
  EXPECT_EQ(seen.fd, 5);
  EXPECT_EQ(seen.resample_fd, 6);
  EXPECT_EQ(seen.gsi, 64U);
  EXPECT_EQ(seen.flags, abi::irqfd_flag::resample);
  router.disconnect(64, 5);
  EXPECT_EQ(seen.flags, abi::irqfd_flag::deassign);
}

TEST(MshvRouter, LeavesOutWhatReachesNoProcessor) {
  FakeSystem system;
  std::vector<std::uint32_t> words;
  system.answer = [&](unsigned long request, void* argument) {
    if (request != abi::set_msi_routing) return 0;
    const auto* table = static_cast<const std::uint32_t*>(argument);
    words.assign(table, table + 2 + 4 * table[0]);
    return 0;
  };
  const HostFacts host;
  const Context context{host, Handle(system, 7), {}};
  Router router(context);
  const auto masked = router.msi_route({0, 0});
  ASSERT_TRUE(masked);
  EXPECT_EQ(words, (std::vector<std::uint32_t>{0, 0}));
  const auto real = router.msi_route({0xfee01000, 0x31});
  ASSERT_TRUE(real);
  EXPECT_EQ(words, (std::vector<std::uint32_t>{1, 0, 1, 0xfee01000, 0, 0x31}));
  ASSERT_TRUE((*masked)->set_message({0xfee02000, 0x32}));
  EXPECT_EQ(words.size(), 10U);
}

TEST(MshvWindow, DoesNotEnterOnceStopped) {
  const StopFlag stop{1};
  EXPECT_EQ(run_window(-1, nullptr, stop), -EINTR);
  const StopFlag go{0};
  EXPECT_EQ(run_window(-1, nullptr, go), -EBADF) << "the call itself";
  leave_run(nullptr);  // outside a hook there is nothing to leave
}

}  // namespace
}  // namespace trivet::mshv
