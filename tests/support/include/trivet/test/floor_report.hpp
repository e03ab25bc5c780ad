// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace trivet::test {

/// Prints each benchmark NAME as times its floor, the benchmark "NAME/floor" of the same run, with its bar
/// (PERFORMANCE.md) and `held` or `short`. Ratios are of medians over the repetitions.
class FloorReport : public benchmark::ConsoleReporter {
 public:
  /// A bar of 0: there is none. `against` is the benchmark that serves as floor where it is not "NAME/floor".
  void bar(const std::string& name, double times_the_floor, const std::string& against = {}) {
    bars_.push_back({name, times_the_floor, against.empty() ? name + "/floor" : against});
  }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const auto& run : runs) {
      if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
      const bool manual = run.run_name.time_type == "manual_time";
      times_[run.run_name.function_name].push_back(manual ? run.GetAdjustedRealTime() : run.GetAdjustedCPUTime());
    }
  }

  void Finalize() override {
    std::printf("%-44s %10s %10s %8s %6s\n", "operation", "ns", "floor ns", "x floor", "bar");
    for (const auto& bar : bars_) {
      const auto ours = times_.find(bar.name);
      const auto floor = times_.find(bar.against);
      if (ours == times_.end() || floor == times_.end()) continue;
      const double ratio = median(ours->second) / median(floor->second);
      std::printf("%-44s %10.2f %10.2f %8.2f", bar.name.c_str(), median(ours->second), median(floor->second), ratio);
      if (bar.limit > 0) std::printf(" %6.2f %s", bar.limit, ratio <= bar.limit ? "held" : "short");
      std::printf("\n");
    }
  }

 private:
  struct Bar {
    std::string name;
    double limit;
    std::string against;
  };

  static double median(std::vector<double> times) {
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return *middle;
  }

  std::vector<Bar> bars_;
  std::map<std::string, std::vector<double>> times_;
};

/// The main of such a program: five repetitions, interleaved, unless the command line says otherwise.
inline int run_with_floor(int argc, char** argv, FloorReport& report) {
  std::vector<char*> arguments(argv, argv + argc);
  std::string repetitions = "--benchmark_repetitions=5";
  std::string interleaving = "--benchmark_enable_random_interleaving=true";
  std::string time = "--benchmark_min_time=0.05";
  arguments.insert(arguments.begin() + 1, {repetitions.data(), interleaving.data(), time.data()});
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  benchmark::RunSpecifiedBenchmarks(&report);
  benchmark::Shutdown();
  return 0;
}

}  // namespace trivet::test
