// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A command line put together from lines of input: the first byte of each says by which call.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <trivet/vmm/loader/command_line.hpp>

namespace {

void check(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(data, data + size);
  std::string_view rest = text;
  trivet::vmm::CommandLine line(128);
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto before = line.text();
    bool done = false;
    if (part.starts_with('i')) {
      const auto equals = std::min(part.find('='), part.size() - 1);
      done = line.insert(part.substr(1, std::max<std::size_t>(equals, 1) - 1), part.substr(equals + 1)).has_value();
    } else if (part.starts_with('-')) {
      done = line.append_init_arguments(part.substr(1)).has_value();
    } else {
      done = line.append(part).has_value();
    }
    const auto after = line.text();
    check(done || after == before);
    check(after.size() == line.size() && after.size() <= line.limit());
    check(std::all_of(after.begin(), after.end(), [](char c) { return c >= ' ' && c <= '~'; }));
    // What was made is accepted as it stands, and means the same.
    const auto again = trivet::vmm::CommandLine::create(after, line.limit());
    check(again.has_value() && again->size() <= line.limit());
  }
  return 0;
}
