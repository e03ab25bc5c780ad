// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <set>
#include <string>

#include <trivet/core/arch.hpp>
#include <trivet/core/capability.hpp>
#include <trivet/core/exit.hpp>

namespace trivet {
namespace {

template <class Items>
void expect_own_names(const Items& items) {
  std::set<std::string> names;
  for (const auto item : items) {
    const std::string name(to_string(item));
    EXPECT_NE(name, "unknown");
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(names.size(), items.size());
}

TEST(Tables, EveryCapLimitAndElementHasItsOwnName) {
  expect_own_names(all_caps());
  expect_own_names(all_limits());
  expect_own_names(all_state_elements());
  EXPECT_EQ(all_caps().back(), Cap::attach);
  EXPECT_EQ(to_string(Support::at_creation), "at_creation");
  EXPECT_NE(to_string(Support::no), to_string(Support::yes));
}

TEST(Tables, ExitsAreNamedForTheirType) {
  EXPECT_EQ(name(Exit(exits::Kicked{})), "kicked");
  EXPECT_EQ(name(Exit(exits::TripleFault{})), "triple fault");
  EXPECT_EQ(name(Exit(exits::Msr{})), "msr");
  EXPECT_EQ(name(Exit(exits::EmulationFailure{})), "emulation failure");
}

TEST(StateElements, HoldWhatWasPutIn) {
  StateElements set{StateElement::msrs, StateElement::lapic};
  EXPECT_TRUE(set.contains(StateElement::msrs));
  EXPECT_FALSE(set.contains(StateElement::xsave));
  set.erase(StateElement::msrs);
  EXPECT_EQ(set, StateElements{StateElement::lapic});
  set.erase(StateElement::lapic);
  EXPECT_TRUE(set.empty());
  for (const auto element : all_state_elements()) EXPECT_TRUE(StateElements::all().contains(element));
}

TEST(VcpuState, KnowsWhichElementsItHolds) {
  VcpuState state;
  EXPECT_TRUE(state.elements().empty());
  state.general_registers.emplace();
  state.tsc.emplace();
  EXPECT_EQ(state.elements(), (StateElements{StateElement::general_registers, StateElement::tsc}));
  state = VcpuState{
      GeneralRegisters{},       SystemRegisters{}, Xsave{},         ExtendedControl{}, std::vector<MsrValue>{},
      LapicRegisters{},         Activity::running, PendingEvents{}, DebugRegisters{},  Tsc{},
      std::vector<CpuidEntry>{}};
  EXPECT_EQ(state.elements(), StateElements::all());
}

}  // namespace
}  // namespace trivet
