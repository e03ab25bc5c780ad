// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <string_view>
#include <vector>

#include <trivet/vmm/device_model_options.hpp>
#include <trivet/vmm/run_options.hpp>

#include "mac_text.hpp"

namespace trivet::vmm {
namespace {

constexpr auto operation = "read the options";
/// Those of `trivet run` that make sense for somebody else's VM.
constexpr std::array<std::string_view, 6> shared{"block", "console", "rng", "net", "hypervisor", "help"};

/// Devices that somebody else's VM does not get, and why.
struct Refused {
  std::string_view name;
  std::string_view why;
};
constexpr std::array<Refused, 2> refused{{
    // No filter of system calls sees the path of a Unix socket.
    {"vsock",
     "the process that serves a domain has given up its privileges, and one that may connect to a Unix socket may "
     "connect to xenstored's"},
    {"balloon", "the domain's pages are Xen's: xl mem-set takes some back"},
}};

Error no_option(std::string_view name) {
  const auto known = std::find_if(refused.begin(), refused.end(), [&](const auto& it) { return it.name == name; });
  if (known == refused.end()) {
    return {Errc::invalid_argument, operation, fmt::format("dm has no option --{}", name)};
  }
  return Error::unsupported(operation, fmt::format("dm has no --{}: {}", name, known->why));
}

template <class Number>
Result<void> apply(Number& number, std::string_view name, std::string_view text, Number least, Number most) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= least && number <= most) return {};
  return Error(Errc::out_of_range, operation,
               fmt::format("--{} takes a number from {} to {}, not '{}'", name, least, most, text));
}

}  // namespace

Result<DeviceModelOptions> parse_device_model_options(std::span<const std::string> arguments) {
  DeviceModelOptions options;
  std::vector<std::string> rest;
  bool has_id = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    const auto name = word.starts_with("--") ? word.substr(2, word.find('=') - 2) : std::string_view{};
    const bool id = name == "domid";
    if (!id && name != "first-device") {
      if (!name.empty() && std::find(shared.begin(), shared.end(), name) == shared.end()) {
        return no_option(name);
      }
      rest.emplace_back(word);
      continue;
    }
    const auto equals = word.find('=');
    if (equals == std::string_view::npos && ++i == arguments.size()) {
      return Error(Errc::invalid_argument, operation, fmt::format("--{} takes a number", name));
    }
    const auto text = equals == std::string_view::npos ? std::string_view(arguments[i]) : word.substr(equals + 1);
    if (id) {
      if (std::exchange(has_id, true)) return Error(Errc::invalid_argument, operation, "--domid is given twice");
      TRIVET_TRY(apply<std::uint64_t>(options.config.id, name, text, 1, 0x7fef));  // DOMID_FIRST_RESERVED - 1
    } else {
      TRIVET_TRY(apply<std::uint8_t>(options.config.first_device, name, text, 1, 31));
    }
  }
  TRIVET_ASSIGN(auto run, parse_run_options(rest));
  options.help = run.help;
  if (!has_id && !options.help) {
    return Error(Errc::invalid_argument, operation,
                 "--domid is missing: the domain's number, as xl domid NAME prints it");
  }
  if (run.config.hypervisor != "auto") options.config.hypervisor = run.config.hypervisor;
  options.config.block = std::move(run.config.block);
  options.config.console = std::move(run.config.console);
  options.config.rng = std::move(run.config.rng);
  options.config.net = std::move(run.config.net);
  for (auto& net : options.config.net) {
    if (!net.mac.empty()) continue;
    // Chosen now, so that a domain that takes another's place has its address, too.
    TRIVET_ASSIGN(const auto mac, random_mac());
    net.mac = text_of(mac);
  }
  return options;
}

std::string device_model_options_help() {
  std::string text =
      "  --domid N              the guest, as xl domid NAME prints it\n"
      "  --first-device N       of PCI bus 0, for the first virtio device (16)\n";
  for (const auto& option : option_infos()) {
    if (std::find(shared.begin(), shared.end(), option.name) == shared.end()) continue;
    const auto* often = option.bare ? "   (repeatable; may stand alone)" : option.repeatable ? "   (repeatable)" : "";
    text += fmt::format("  --{} {}{}\n", option.name, option.keys.empty() ? "NAME" : option.keys, often);
  }
  return text;
}

}  // namespace trivet::vmm
