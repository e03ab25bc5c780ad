// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A machine with a balloon, as a program that embeds one has it: the options of `trivet run`, and a guest that says in
// the serial port's file that its memory was used once. Prints what was seen then:
//   inflate: the balloon is inflated and deflated; before=KIB inflated=KIB deflated_pages=N total=BYTES
//            free_before=BYTES free_inflated=BYTES free_deflated=BYTES ... KIB: this process's anonymous memory
//   hungry: it is inflated, and the guest uses more than it has left; left=PAGES in the balloon after that
//   report: the guest reports what is free; reported=PAGES ...

#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <trivet/vmm/backends.hpp>
#include <trivet/vmm/machine.hpp>
#include <trivet/vmm/run_options.hpp>

namespace {

using namespace trivet;

bool wait_for(const std::function<bool()>& done) {
  for (int i = 0; i < 600; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return false;
}

bool file_has(const std::string& path, const std::string& text) {
  std::ostringstream all;
  all << std::ifstream(path).rdbuf();
  return all.str().find(text) != std::string::npos;
}

unsigned long anonymous_kib() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    unsigned long kib = 0;
    if (std::sscanf(line.c_str(), "RssAnon: %lu", &kib) == 1) return kib;
  }
  return 0;
}

int fail(const char* what) {
  std::fprintf(stderr, "balloon_machine: %s\n", what);
  return 1;
}

/// Asks, and waits for the answer.
bool statistics(virtio::Balloon& balloon, virtio::BalloonStatistics& said) {
  const auto before = balloon.statistics().updates;
  balloon.request_statistics();
  const bool came = wait_for([&] { return balloon.statistics().updates > before; });
  said = balloon.statistics();
  return came && said.total_memory && said.free_memory;
}

int play(virtio::Balloon& balloon, unsigned target_mib) {
  virtio::BalloonStatistics first, inflated, deflated;
  if (!statistics(balloon, first)) return fail("no statistics");
  const auto before = anonymous_kib();
  const std::uint64_t pages = std::uint64_t{target_mib} * 256;
  if (const auto set = balloon.set_target(target_mib); !set) return fail(to_string(set.error()).c_str());
  if (!wait_for([&] { return balloon.actual_pages() == pages; })) return fail("the guest does not inflate");
  const auto after = anonymous_kib();
  if (!statistics(balloon, inflated)) return fail("no statistics while inflated");
  (void)balloon.set_target(0);
  if (!wait_for([&] { return balloon.actual_pages() == 0; })) return fail("the guest does not deflate");
  if (!statistics(balloon, deflated)) return fail("no statistics at the end");
  const auto counts = balloon.counts();
  std::printf("before=%lu inflated=%lu pages=%lu released=%lu deflated_pages=%lu ignored=%lu\n", before, after,
              static_cast<unsigned long>(counts.inflated), static_cast<unsigned long>(counts.released),
              static_cast<unsigned long>(counts.deflated), static_cast<unsigned long>(counts.ignored));
  std::printf("total=%lu free_before=%lu free_inflated=%lu free_deflated=%lu\n", *first.total_memory,
              *first.free_memory, *inflated.free_memory, *deflated.free_memory);
  return 0;
}

int let_it_hunger(virtio::Balloon& balloon, unsigned target_mib, const std::string& serial) {
  if (const auto set = balloon.set_target(target_mib); !set) return fail(to_string(set.error()).c_str());
  if (!wait_for([&] { return balloon.counts().inflated >= std::uint64_t{target_mib} * 256; })) {
    return fail("the guest does not inflate");
  }
  if (!wait_for([&] { return file_has(serial, "killed for memory"); })) return fail("the guest does not use memory");
  std::printf("left=%lu\n", static_cast<unsigned long>(balloon.actual_pages()));
  return 0;
}

int wait_for_reports(virtio::Balloon& balloon) {
  if (!wait_for([&] { return balloon.counts().reported >= 64 * 256; })) return fail("the guest reports no free pages");
  std::printf("reported=%lu released=%lu inflated=%lu\n", static_cast<unsigned long>(balloon.counts().reported),
              static_cast<unsigned long>(balloon.counts().released),
              static_cast<unsigned long>(balloon.counts().inflated));
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) return fail("usage: balloon_machine inflate|hungry|report TARGET_MIB OPTION-OF-RUN...");
  const std::string what = words[1];
  const auto target_mib = static_cast<unsigned>(std::stoul(words[2]));
  const auto options = vmm::parse_run_options(std::vector<std::string>(words + 3, words + count));
  if (!options) return fail(to_string(options.error()).c_str());
  const auto registry = vmm::find_backends();
  auto machine = vmm::Machine::create(options->config, registry, {});
  if (!machine) return fail(to_string(machine.error()).c_str());
  auto* const balloon = (*machine)->balloon();
  if (balloon == nullptr) return fail("give it --balloon");
  if (const auto started = (*machine)->start(); !started) return fail(to_string(started.error()).c_str());
  const std::string& serial = options->config.serial.output;
  int status = 0;
  if (!wait_for([&] { return file_has(serial, "MiB used and freed"); })) {
    status = fail("the guest does not come up");
  } else if (what == "inflate") {
    status = play(*balloon, target_mib);
  } else if (what == "hungry") {
    status = let_it_hunger(*balloon, target_mib, serial);
  } else {
    status = wait_for_reports(*balloon);
  }
  (*machine)->stop();
  (void)(*machine)->wait();
  return status;
}
