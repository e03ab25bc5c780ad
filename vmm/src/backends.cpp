// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cstdlib>
#include <fmt/format.h>
#include <memory>
#include <string_view>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <trivet/vmm/backends.hpp>

#include "backend_table.hpp"

namespace trivet::vmm {
namespace {

std::string program_folder() {
  std::array<char, 4096> path{};
  const auto size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return {};
  const std::string_view whole(path.data(), static_cast<std::size_t>(size));
  return std::string(whole.substr(0, whole.rfind('/')));
}

/// What opening a backend shows; the probe alone does not know capabilities.
struct Report {
  std::string_view name;
  int priority = 0;
  bool usable = false;
  std::string reason;
  std::unique_ptr<Hypervisor> hypervisor;  ///< null when it is not usable
};

Report report(const Backend& backend) {
  auto probe = backend.probe();
  Report result{backend.name(), backend.priority(), probe.usable, std::move(probe.reason), nullptr};
  if (!result.usable) return result;
  auto opened = backend.open();
  if (!opened) {
    result.usable = false;
    result.reason = to_string(opened.error());
    return result;
  }
  result.hypervisor = std::move(*opened);
  return result;
}

boost::json::string_view view(std::string_view text) {
  return {text.data(), text.size()};
}

std::string capability_line(const Hypervisor& hypervisor, Support wanted) {
  std::string line;
  for (const auto cap : all_caps()) {
    if (hypervisor.supports(cap) != wanted) continue;
    // Wrapped by hand: a terminal's width is no business of a table that scripts read too.
    const auto start = line.rfind('\n') == std::string::npos ? 0 : line.rfind('\n') + 1;
    if (line.size() - start > 80) line += "\n             ";
    line += fmt::format(" {}", to_string(cap));
  }
  return line.empty() ? " none" : line;
}

}  // namespace

BackendRegistry find_backends() {
  BackendRegistry registry;
  add_linked_backends(registry);
  if (const char* folders = std::getenv("TRIVET_BACKEND_PATH")) {
    std::string_view rest = folders;
    while (!rest.empty()) {
      const auto end = rest.find(':');
      if (const auto folder = rest.substr(0, end); !folder.empty()) registry.load_all(std::string(folder));
      rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    }
  }
  if (const auto folder = program_folder(); !folder.empty()) registry.load_all(folder + "/../lib/trivet");
  return registry;
}

std::string backends_table(const BackendRegistry& registry) {
  std::string table;
  for (const auto* backend : registry.backends()) {
    const auto it = report(*backend);
    table += fmt::format("{:<10}{}: {}\n", it.name, it.usable ? "usable" : "not usable", it.reason);
    if (it.hypervisor == nullptr) continue;
    table += fmt::format("  can        {}\n", capability_line(*it.hypervisor, Support::yes));
    table += fmt::format("  if asked   {}\n", capability_line(*it.hypervisor, Support::at_creation));
    table += fmt::format("  cannot     {}\n", capability_line(*it.hypervisor, Support::no));
    table += "  limits     ";
    for (const auto limit : all_limits()) {
      table += fmt::format(" {}={}", to_string(limit), it.hypervisor->limit(limit));
    }
    table += '\n';
  }
  return table.empty() ? "no backend is built in or found\n" : table;
}

std::string backends_json(const BackendRegistry& registry) {
  boost::json::array list;
  for (const auto* backend : registry.backends()) {
    const auto it = report(*backend);
    boost::json::object entry;
    entry["name"] = view(it.name);
    entry["priority"] = it.priority;
    entry["usable"] = it.usable;
    entry["reason"] = it.reason;
    if (it.hypervisor != nullptr) {
      boost::json::object capabilities;
      for (const auto cap : all_caps())
        capabilities[view(to_string(cap))] = view(to_string(it.hypervisor->supports(cap)));
      boost::json::object limits;
      for (const auto limit : all_limits()) limits[view(to_string(limit))] = it.hypervisor->limit(limit);
      entry["capabilities"] = std::move(capabilities);
      entry["limits"] = std::move(limits);
    }
    list.push_back(std::move(entry));
  }
  return boost::json::serialize(boost::json::object{{"backends", std::move(list)}}) + "\n";
}

}  // namespace trivet::vmm
