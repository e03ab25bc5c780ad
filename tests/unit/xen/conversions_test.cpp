// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What needs no Xen: contexts, registers, extents, wires, handles.
#include <gmock/gmock.h>
#include <set>
#include <unistd.h>

#include "cpuid_x86_64.hpp"
#include "hvm_context_x86_64.hpp"
#include "msrs_x86_64.hpp"
#include "owner.hpp"
#include "pin.hpp"
#include "populate.hpp"
#include "registers_x86_64.hpp"
#include "support.hpp"

namespace trivet::xen::test {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

HvmContext with_header() {
  HvmContext context;
  hvm_save_header header{};
  header.magic = HVM_FILE_MAGIC;
  header.version = HVM_FILE_VERSION;
  context.put(RecordType::header, 0, header);
  return context;
}

TEST(XenContextTest, WhatIsWrittenIsReadBack) {
  auto context = with_header();
  hvm_hw_cpu cpu{};
  cpu.rax = 42;
  context.put(RecordType::cpu, 3, cpu);
  context.put(static_cast<RecordType>(77), 0, std::vector<std::uint8_t>{1, 2, 3});
  const auto bytes = context.serialise();
  const auto back = HvmContext::parse(bytes);
  TRIVET_ASSERT_OK(back);
  EXPECT_THAT(back->records(), SizeIs(3));
  hvm_hw_cpu read{};
  EXPECT_TRUE(back->get(RecordType::cpu, 3, read));
  EXPECT_EQ(read.rax, 42U);
  EXPECT_FALSE(back->get(RecordType::cpu, 0, read));
  EXPECT_EQ(back->serialise(), bytes);
}

TEST(XenContextTest, EveryCutIsAnError) {
  auto context = with_header();
  context.put(RecordType::cpu, 0, hvm_hw_cpu{});
  const auto bytes = context.serialise();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(HvmContext::parse(std::span(bytes).first(size)).has_value()) << size;
  }
}

TEST(XenContextTest, BrokenContextsSayWhatIsWrong) {
  auto context = with_header();
  context.put(RecordType::cpu, 0, std::vector<std::uint8_t>(4));
  auto bytes = context.serialise();
  auto longer = bytes;
  longer.push_back(0);
  expect_error(HvmContext::parse(longer), Errc::malformed, "after the end");
  auto twice = with_header().serialise();
  twice.erase(twice.end() - 8, twice.end());
  twice.insert(twice.end(), bytes.begin(), bytes.end());
  expect_error(HvmContext::parse(twice), Errc::malformed, "twice");
  auto magic = bytes;
  magic[8] ^= 1;
  expect_error(HvmContext::parse(magic), Errc::malformed, "magic");
  auto length = bytes;
  length[7] = 0x7f;
  expect_error(HvmContext::parse(length), Errc::malformed, "cut off");
  auto ending = bytes;
  ending[ending.size() - 6] = 1;
  expect_error(HvmContext::parse(ending), Errc::malformed, "end record");
  HvmContext headless;
  headless.put(RecordType::cpu, 0, hvm_hw_cpu{});
  expect_error(HvmContext::parse(headless.serialise()), Errc::malformed, "header");
  expect_error(HvmContext::parse(HvmContext().serialise()), Errc::malformed, "header");
}

TEST(XenRegistersTest, ARecordHoldsEveryNeutralRegister) {
  GeneralRegisters general{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
  SystemRegisters system;
  std::uint16_t number = 1;
  for (auto* segment :
       {&system.cs, &system.ds, &system.es, &system.fs, &system.gs, &system.ss, &system.tr, &system.ldt}) {
    segment->base = number * 0x1000U;
    segment->limit = number * 0x10U;
    segment->selector = number;
    segment->type = static_cast<std::uint8_t>(number & 0xf);
    segment->privilege = number & 3;
    segment->present = true;
    segment->code_or_data = (number & 1) != 0;
    segment->available = (number & 2) != 0;
    segment->long_mode = (number & 4) != 0;
    segment->default_big = (number & 1) == 0;
    segment->granularity = (number & 2) == 0;
    ++number;
  }
  system.gdt = {0x1234, 0x56}, system.idt = {0x789a, 0xbc};
  system.cr0 = 1, system.cr2 = 2, system.cr3 = 3, system.cr4 = 4, system.efer = 5;
  DebugRegisters debug{{1, 2, 3, 4}, 5, 6};
  hvm_hw_cpu cpu{};
  put(cpu, general);
  put(cpu, system);
  put(cpu, debug);
  EXPECT_EQ(general_registers(cpu), general);
  EXPECT_EQ(system_registers(cpu), system);
  EXPECT_EQ(debug_registers(cpu), debug);
}

TEST(XenRegistersTest, AttributesAreXens) {
  const auto code = segment_of(0, 0xffffffff, 8, 0xc9b);
  EXPECT_TRUE(code.default_big && code.granularity && code.present && code.code_or_data && !code.long_mode);
  EXPECT_EQ(code.type, 0xb);
  EXPECT_EQ(segment_rights(code), 0xc9bU);
  EXPECT_TRUE(segment_of(0, 0, 0, 0).unusable);
  auto unusable = code;
  unusable.unusable = true;
  EXPECT_EQ(segment_rights(unusable) & 0x80, 0U);
}

TEST(XenRegistersTest, EventsGoThroughTheRecord) {
  PendingEvents fault;
  fault.exception_injected = fault.exception_has_error_code = true;
  fault.exception_vector = 14;
  fault.exception_error_code = 6;
  PendingEvents interrupt;
  interrupt.interrupt_injected = true;
  interrupt.interrupt_vector = 0x30;
  PendingEvents nmi;
  nmi.nmi_injected = true;
  for (const auto& events : {PendingEvents{}, fault, interrupt, nmi}) {
    hvm_hw_cpu cpu{};
    cpu.pending_event = ~0U;
    TRIVET_ASSERT_OK(put(cpu, events));
    EXPECT_EQ(pending_events(cpu), events);
  }
}

TEST(XenRegistersTest, EventsThatXenCannotHoldAreNamed) {
  const auto refused = [](auto change, std::string_view part) {
    PendingEvents events;
    change(events);
    hvm_hw_cpu cpu{};
    expect_error(put(cpu, events), Errc::unsupported, part);
  };
  refused([](PendingEvents& events) { events.interrupt_shadow = 1; }, "shadow");
  refused([](PendingEvents& events) { events.nmi_masked = true; }, "masked");
  refused([](PendingEvents& events) { events.in_smm = true; }, "SMM");
  refused([](PendingEvents& events) { events.triple_fault_pending = true; }, "triple");
  refused([](PendingEvents& events) { events.nmi_injected = events.interrupt_injected = true; }, "two at once");
}

TEST(XenRegistersTest, ResetIsTheArchitectures) {
  const auto cpu = reset_state();
  const auto system = system_registers(cpu);
  EXPECT_EQ(system.cs.base + cpu.rip, 0xfffffff0U);
  EXPECT_EQ(system.cs.selector, 0xf000);
  EXPECT_EQ(system.cr0, 0x60000010U);
  EXPECT_EQ(cpu.rflags, 2U);
  EXPECT_EQ(legacy_xsave(cpu).area.size(), 576U);
}

TEST(XenMsrsTest, TheyGoToTheirRecordsAndBack) {
  auto whole = with_header();
  whole.put(RecordType::cpu, 1, hvm_hw_cpu{});
  whole.put(RecordType::mtrr, 1, hvm_hw_mtrr{});
  auto out = with_header();
  const std::vector<MsrValue> values{
      {0xc0000082, 0xffff800000001234}, {0x277, 0x0007040600070406}, {0x48, 1}, {0x200, 0x6},
      {0x26f, 0x0606060606060606},      {0x1b, 0xfee00900}};
  TRIVET_ASSERT_OK(put_msrs(out, whole, 1, values));
  const auto back = msrs_of(out, 1);
  for (const auto& value : values) {
    if (value.index == 0x1b) continue;  // an element of its own
    EXPECT_THAT(back, Contains(value)) << std::hex << value.index;
  }
  EXPECT_THAT(msrs_of(out, 0), IsEmpty());
}

TEST(XenMsrsTest, OneWithoutAPlaceIsNamedUnlessZero) {
  auto whole = with_header();
  whole.put(RecordType::cpu, 0, hvm_hw_cpu{});
  auto out = whole;
  TRIVET_EXPECT_OK(put_msrs(out, whole, 0, std::vector<MsrValue>{{0x4b564d00, 0}, {0x277, 0}}));
  expect_error(put_msrs(out, whole, 0, std::vector<MsrValue>{{0x4b564d00, 1}}), Errc::unsupported, "0x4b564d00");
  expect_error(put_msrs(out, whole, 0, std::vector<MsrValue>{{0x277, 6}}), Errc::unsupported, "0x277");
}

TEST(XenMsrsTest, AListThatLiesAboutItsLengthReadsNothingBeyond) {
  auto context = with_header();
  std::vector<std::uint8_t> bytes(8 + 16);
  bytes[0] = bytes[1] = bytes[2] = bytes[3] = 0xff;
  context.put(RecordType::msrs, 0, bytes);
  EXPECT_THAT(msrs_of(context, 0), SizeIs(1));
  context.put(RecordType::msrs, 0, std::vector<std::uint8_t>(3));
  EXPECT_THAT(msrs_of(context, 0), IsEmpty());
}

TEST(XenExtentsTest, LargePagesWhereTheyFit) {
  constexpr std::uint64_t mib = 1 << 20;
  const auto plain = extents_of({{0}, 4 * mib});
  EXPECT_THAT(plain.large, ElementsAre(0, 512));
  EXPECT_TRUE(plain.before.empty() && plain.after.empty());
  const auto ragged = extents_of({{2 * mib - 4096}, 2 * mib + 3 * 4096});
  EXPECT_THAT(ragged.before, ElementsAre(511));
  EXPECT_THAT(ragged.large, ElementsAre(512));
  EXPECT_THAT(ragged.after, ElementsAre(1024, 1025));
  const auto small = extents_of({{mib}, 2 * 4096});
  EXPECT_EQ(small.before.size() + small.after.size(), 2U);
  EXPECT_THAT(small.large, IsEmpty());
}

TEST(XenWiresTest, EveryGsiButTheFirstHasItsOwnAsXenCounts) {
  EXPECT_FALSE(wire_of(0).has_value());
  EXPECT_FALSE(wire_of(48).has_value());
  EXPECT_EQ(wire_of(2)->isa_irq, 0);
  for (std::uint32_t gsi = 1; gsi < 16; ++gsi) {
    const auto wire = wire_of(gsi);
    ASSERT_TRUE(wire && !wire->pci);
    EXPECT_EQ(wire->isa_irq == 0 ? 2U : wire->isa_irq, gsi);  // hvm_isa_irq_to_gsi
  }
  for (std::uint32_t gsi = 16; gsi < 48; ++gsi) {
    const auto wire = wire_of(gsi);
    ASSERT_TRUE(wire && wire->pci && wire->device < 32 && wire->intx < 4);
    const unsigned device = wire->device;
    EXPECT_EQ((((device << 2) + (device >> 3) + wire->intx) & 31) + 16, gsi);  // hvm_pci_intx_gsi
  }
}

TEST(XenOwnerTest, AHandleNamesItsProcess) {
  const Owner owner{0x12345678, 0x9abcdef0};
  const auto handle = handle_of(owner);
  EXPECT_EQ(owner_of(handle), owner);
  EXPECT_EQ(handle[0], 'T');
  DomainHandle other{};
  EXPECT_FALSE(owner_of(other).has_value());
  other = handle;
  other[7] ^= 1;
  EXPECT_FALSE(owner_of(other).has_value());
}

TEST(XenOwnerTest, AProcessIsAliveUnderItsOwnStartOnly) {
  const auto self = this_process();
  TRIVET_ASSERT_OK(self);
  EXPECT_EQ(self->process, static_cast<std::uint32_t>(::getpid()));
  EXPECT_TRUE(alive(*self));
  EXPECT_FALSE(alive({self->process, self->start + 1}));
  EXPECT_FALSE(alive({0x7fffffff, 1}));
}

TEST(XenLapicTest, WhatXenKeepsBesideTheRegistersFollowsThem) {
  hvm_hw_lapic lapic{};
  hvm_hw_lapic_regs page{};
  lapic.apic_base_msr = 0xfee00900;
  page.data[0xf0] = 0xff;
  put_derived(lapic, page);
  EXPECT_EQ(lapic.disabled, 2U) << "by the spurious vector's register";
  EXPECT_EQ(lapic.timer_divisor, 2U);
  page.data[0xf1] = 1;
  page.data[0x3e0] = 0x3;
  put_derived(lapic, page);
  EXPECT_EQ(lapic.disabled, 0U);
  EXPECT_EQ(lapic.timer_divisor, 16U);
  page.data[0x3e0] = 0xb;
  lapic.apic_base_msr = 0xfee00100;
  put_derived(lapic, page);
  EXPECT_EQ(lapic.disabled, 1U) << "by the APIC base";
  EXPECT_EQ(lapic.timer_divisor, 1U);
  page.data[0x3e0] = 0xa;
  put_derived(lapic, page);
  EXPECT_EQ(lapic.timer_divisor, 128U);
}

TEST(XenCpuidTest, AddressBitsComeFromTheirLeaf) {
  const CpuidEntry entries[]{{0x80000008, 0, false, 0x3030, 0, 0, 0}};
  EXPECT_EQ(physical_address_bits(entries), 48U);
  EXPECT_EQ(physical_address_bits({}), 36U);
}

}  // namespace
}  // namespace trivet::xen::test
