// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// trivet-conformance: runs the built-in guest's scenarios on one backend and watches from the host.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <set>

#include <boost/program_options.hpp>

#include <trivet/core/backend_registry.hpp>

#include "backends.hpp"
#include "isolate.hpp"
#include "scenario.hpp"

namespace {

namespace options = boost::program_options;
using conformance::Outcome;
using conformance::Scenario;
using conformance::Verdict;

constexpr int exit_failed = 1;
constexpr int exit_usage = 2;
constexpr int exit_skipped = 77;

struct Arguments {
  std::string hypervisor;
  std::vector<std::string> names;
  std::vector<std::string> plugins;
  std::string save;
  double slow = 1;
  bool list = false;
  bool skip_unusable = false;
  bool in_process = false;
};

/// Nothing when only help was wanted; throws options::error.
bool parse(int count, char** words, Arguments& arguments) {
  options::options_description visible("trivet-conformance --hypervisor NAME [--list] [SCENARIO...]");
  visible.add_options()("help", "this text")                                                                    //
      ("hypervisor", options::value(&arguments.hypervisor)->default_value("auto"), "backend to test, or auto")  //
      ("list", options::bool_switch(&arguments.list), "print the scenarios and end")                            //
      ("slow", options::value(&arguments.slow)->default_value(1), "multiplies every time limit")                //
      ("save", options::value(&arguments.save), "a file that gets the lines too, for table.sh")                 //
      ("plugin", options::value(&arguments.plugins), "a backend to load from a shared object")                  //
      ("skip-unusable", options::bool_switch(&arguments.skip_unusable),
       "exit with 77 where the backend is not usable on this host")  //
      ("in-process", options::bool_switch(&arguments.in_process),
       "no child processes and no time limit; for debuggers");
  options::options_description hidden;
  hidden.add_options()("scenario", options::value(&arguments.names));
  options::options_description all;
  all.add(visible).add(hidden);
  options::positional_options_description positional;
  positional.add("scenario", -1);
  options::variables_map map;
  options::store(options::command_line_parser(count, words).options(all).positional(positional).run(), map);
  if (map.contains("help")) {
    std::cout << visible;
    return false;
  }
  options::notify(map);
  return true;
}

Outcome run_on(const trivet::Backend& backend, const Scenario& scenario) {
  auto hypervisor = backend.open();
  if (!hypervisor) return conformance::failed("open: " + trivet::to_string(hypervisor.error()));
  auto needs = conformance::check_needs(**hypervisor, scenario.needs);
  if (failed(needs)) return needs;
  return scenario.run(**hypervisor);
}

Outcome run_one(const trivet::Backend& backend, const Scenario& scenario, const Arguments& arguments) {
  if (arguments.in_process) return run_on(backend, scenario);
  const auto seconds = static_cast<unsigned>(scenario.seconds * arguments.slow + 0.5);
  return conformance::isolate(seconds, [&] { return run_on(backend, scenario); });
}

/// To standard output and the file that was asked for.
class Report {
 public:
  explicit Report(const std::string& path) {
    if (!path.empty()) file_.open(path, std::ios::trunc);
    if (!path.empty() && !file_) throw std::runtime_error("--save: cannot write " + path);
  }
  void line(const std::string& text) {
    std::cout << text << std::endl;
    if (file_.is_open()) file_ << text << std::endl;
  }

 private:
  std::ofstream file_;
};

int run_all(const trivet::Backend& backend, const std::vector<const Scenario*>& chosen, const Arguments& arguments) {
  Report report(arguments.save);
  static constexpr std::array words{"pass", "fail", "unsupported"};
  std::array<unsigned, 3> counts{};
  for (const Scenario* scenario : chosen) {
    const Outcome outcome = run_one(backend, *scenario, arguments);
    const auto verdict = static_cast<std::size_t>(outcome.verdict);
    ++counts[verdict];
    report.line(fmt::format("{} {} {}{}{}", backend.name(), scenario->name, words[verdict],
                            outcome.reason.empty() ? "" : " ", outcome.reason));
  }
  report.line(fmt::format("{}: {} passed, {} failed, {} unsupported", backend.name(), counts[0], counts[1], counts[2]));
  return counts[1] == 0 ? EXIT_SUCCESS : exit_failed;
}

int choose(const Arguments& arguments, std::vector<const Scenario*>& chosen) {
  std::set<std::string_view> wanted(arguments.names.begin(), arguments.names.end());
  for (const auto& scenario : conformance::all_scenarios()) {
    if (arguments.names.empty() || wanted.erase(scenario.name) != 0) chosen.push_back(&scenario);
  }
  if (wanted.empty()) return EXIT_SUCCESS;
  fmt::print(stderr, "trivet-conformance: no scenario \"{}\"; --list names them\n", *wanted.begin());
  return exit_usage;
}

int run(const Arguments& arguments) {
  std::vector<const Scenario*> chosen;
  if (const int status = choose(arguments, chosen); status != EXIT_SUCCESS) return status;
  if (arguments.list) {
    for (const Scenario* scenario : chosen) fmt::print("{}\n", scenario->name);
    return EXIT_SUCCESS;
  }
  if (arguments.slow < 1) {
    fmt::print(stderr, "trivet-conformance: --slow must be 1 or more\n");
    return exit_usage;
  }
  trivet::BackendRegistry registry;
  conformance::add_backends(registry);
  for (const auto& plugin : arguments.plugins) {
    if (auto loaded = registry.load(plugin); !loaded) {
      fmt::print(stderr, "trivet-conformance: {}\n", trivet::to_string(loaded.error()));
      return exit_usage;
    }
  }
  auto backend = registry.select(arguments.hypervisor);
  if (!backend) {
    fmt::print(stderr, "trivet-conformance: {}\n", trivet::to_string(backend.error()));
    return exit_usage;
  }
  if (const auto probe = (*backend)->probe(); !probe.usable) {
    fmt::print(stderr, "trivet-conformance: {}: {}\n", (*backend)->name(), probe.reason);
    return arguments.skip_unusable ? exit_skipped : exit_failed;
  }
  return run_all(**backend, chosen, arguments);
}

}  // namespace

int main(int count, char** words) {
  Arguments arguments;
  try {
    if (!parse(count, words, arguments)) return EXIT_SUCCESS;
    return run(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "trivet-conformance: {}\n", error.what());
    return exit_usage;
  }
}
