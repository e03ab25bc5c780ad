// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// trivet-emulator-diff: the instruction emulator against a hypervisor, case by case.
#include <cstdio>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <string>

#include <boost/program_options.hpp>

#include <trivet/core/backend.hpp>
#include <trivet/kvm/backend.hpp>
#include <trivet/mshv/emulator/emulator.hpp>

#include "compare.hpp"
#include "sides.hpp"

namespace {

namespace options = boost::program_options;

constexpr int exit_skipped = 77;

struct Settings {
  std::uint64_t cases = 20'000;
  std::uint64_t seed = 1;
  std::uint64_t show = 5;
  std::string only;
  bool anyway = false;
};

struct Tally {
  std::uint64_t device = 0;
  std::uint64_t exceptions = 0;
  std::uint64_t divergences = 0;
  std::map<std::string_view, std::uint64_t> cases;
  std::map<std::string, std::uint64_t> exempt;
  std::map<std::string, std::uint64_t> differences;
};

void run_case(std::uint64_t seed, const Settings& settings, diff::HypervisorSide& theirs, diff::Side& ours,
              Tally& tally) {
  const auto test = diff::generate(seed, settings.only, theirs.fresh());
  const auto expected = theirs.run(test);
  const auto found = ours.run(test);
  const auto verdict = diff::compare(test, expected, theirs.memory(), found, ours.memory());
  ++tally.cases[test.name];
  if (!found.trace.empty()) ++tally.device;
  if (found.kind == diff::Result::Kind::exception) ++tally.exceptions;
  if (verdict.difference.empty()) return;
  if (!verdict.exemption.empty()) {
    ++tally.exempt[std::string(verdict.exemption)];
    return;
  }
  ++tally.differences[fmt::format("{}: {}", test.name, verdict.difference.substr(0, verdict.difference.find(':')))];
  if (tally.divergences++ >= settings.show) return;
  fmt::print("DIVERGENCE: {}\n  {}\n  hypervisor: {}\n  ours: {}\n", verdict.difference, describe(test),
             describe(expected), describe(found));
}

int report(const Tally& tally, std::uint64_t cases) {
  for (const auto& [what, count] : tally.differences) fmt::print("  divergence: {:6} {}\n", count, what);
  for (const auto& [why, count] : tally.exempt) fmt::print("  exempt: {:6} {}\n", count, why);
  fmt::print("instructions:");
  for (const auto& [name, count] : tally.cases) fmt::print(" {}:{}", name, count);
  fmt::print("\nemulated mnemonics: {}\n", fmt::join(trivet::mshv::emulator::Emulator::instructions(), " "));
  std::uint64_t exempt = 0;
  for (const auto& [why, count] : tally.exempt) exempt += count;
  fmt::print("{} cases, {} with device accesses, {} with exceptions, {} exempt, {} divergences\n", cases, tally.device,
             tally.exceptions, exempt, tally.divergences);
  return tally.divergences == 0 ? 0 : 1;
}

/// Whether this hypervisor executes as a processor does: each mode runs a store with flags that must survive it. An
/// emulated or paravirtual one may lack paging without PAE or drop IOPL, and then it is nothing to compare with.
std::string unfaithful(diff::HypervisorSide& theirs, diff::Side& ours) {
  for (const auto mode : diff::all_modes) {
    for (const bool user : {false, true}) {
      if (user && mode == diff::Mode::real16) continue;
      const auto test = diff::plain_store(mode, user, theirs.fresh());
      const auto verdict = diff::compare(test, theirs.run(test), theirs.memory(), ours.run(test), ours.memory());
      if (!verdict.difference.empty()) {
        return fmt::format("a plain store in {}{}: {}", to_string(mode), user ? " (user)" : "", verdict.difference);
      }
    }
  }
  return {};
}

int run(const Settings& settings) {
  const auto backend = trivet::kvm::backend();
  if (const auto probe = backend->probe(); !probe.usable) {
    fmt::print("skipped: {}\n", probe.reason);
    return exit_skipped;
  }
  auto hypervisor = backend->open();
  if (!hypervisor) {
    fmt::print(stderr, "{}\n", to_string(hypervisor.error()));
    return 1;
  }
  auto theirs = diff::HypervisorSide::create(**hypervisor);
  if (!theirs) {
    fmt::print(stderr, "{}\n", to_string(theirs.error()));
    return 1;
  }
  const auto ours = diff::emulator_side();
  if (const auto why = unfaithful(**theirs, *ours); !why.empty()) {
    fmt::print("{}: this /dev/kvm does not execute as a processor does: {}\n", settings.anyway ? "warning" : "skipped",
               why);
    if (!settings.anyway) return exit_skipped;
  }
  Tally tally;
  for (std::uint64_t i = 0; i < settings.cases; ++i) run_case(settings.seed + i, settings, **theirs, *ours, tally);
  return report(tally, settings.cases);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    Settings settings;
    options::options_description known("trivet-emulator-diff: the x86 emulator against KVM");
    auto add = known.add_options();
    add("help", "this text");
    add("cases", options::value(&settings.cases), "how many");
    add("seed", options::value(&settings.seed), "of the first; case n has seed + n");
    add("only", options::value(&settings.only), "only this instruction");
    add("show", options::value(&settings.show), "how many divergences to print in full");
    add("anyway", options::bool_switch(&settings.anyway), "also where the hypervisor is found wanting");
    options::variables_map given;
    options::store(options::parse_command_line(argc, argv, known), given);
    options::notify(given);
    if (given.count("help") != 0) {
      fmt::print("{}\ninstructions: {}\n", boost::lexical_cast<std::string>(known),
                 fmt::join(diff::form_names(), ", "));
      return 0;
    }
    return run(settings);
  } catch (const std::exception& error) {
    fmt::print(stderr, "trivet-emulator-diff: {}\n", error.what());
    return 2;
  }
}
