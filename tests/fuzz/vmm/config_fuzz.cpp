// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A configuration from anyone: the first byte chooses JSON, one option group, or a whole command line.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <trivet/test/require.hpp>
#include <trivet/vmm/config.hpp>
#include <trivet/vmm/run_options.hpp>

namespace {

using trivet::test::require;
using trivet::vmm::Config;

/// An error is one short line; a valid configuration keeps its bounds.
template <class Outcome>
void check(const Outcome& outcome) {
  if (outcome) return;
  const auto text = to_string(outcome.error());
  require(!text.empty() && text.size() < 1024);
}

void check_valid(const Config& config) {
  const auto valid = trivet::vmm::validate(config);
  check(valid);
  if (!valid) return;
  require(config.vcpu.num >= 1 && config.vcpu.num <= 254);
  require(config.memory.size_mib >= 8 && config.memory.size_mib <= 1u << 24);
  require(config.block.size() <= 16 && config.net.empty());
  require(!config.vsock || (config.vsock->cid >= 3 && config.vsock->cid <= 0xfffffffe && !config.vsock->path.empty()));
  require(!config.balloon || config.balloon->target_mib < config.memory.size_mib);
  for (const auto& block : config.block) require(!block.path.empty() && block.id.size() <= 20);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string text(data + 1, data + size);
  Config config;
  if (data[0] == 'j') {
    check(apply_json(config, text));
    check_valid(config);
  } else if (data[0] == 'g') {
    for (const auto& option : trivet::vmm::option_infos()) check(apply_option(config, option.name, text));
    check_valid(config);
  } else {
    std::vector<std::string> words;
    for (std::size_t at = 0; at <= text.size();) {
      const auto end = std::min(text.find('\n', at), text.size());
      auto word = text.substr(at, end - at);
      // A file that the fuzzer names is not its business.
      if (word.starts_with("--c") || word.starts_with("-c")) word = "--vcpu";
      words.push_back(std::move(word));
      at = end + 1;
    }
    const auto options = trivet::vmm::parse_run_options(words);
    check(options);
    if (options && !options->help) check_valid(options->config);
  }
  return 0;
}
