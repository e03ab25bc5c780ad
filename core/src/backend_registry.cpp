// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <dlfcn.h>
#include <fmt/format.h>
#include <utility>

#include <boost/dll/shared_library.hpp>
#include <boost/filesystem/path.hpp>

#include <trivet/core/backend_registry.hpp>

namespace trivet {
namespace {

/// Stands for a plugin that does not load here, so that people see it listed with the reason.
class UnloadableBackend final : public Backend {
 public:
  UnloadableBackend(std::string name, Error error) : name_(std::move(name)), error_(error) {}
  [[nodiscard]] std::string_view name() const noexcept override { return name_; }
  [[nodiscard]] int priority() const noexcept override { return -1; }
  [[nodiscard]] Probe probe() const override { return {false, to_string(error_)}; }
  Result<std::unique_ptr<Hypervisor>> open() const override { return error_; }

 private:
  std::string name_;
  Error error_;
};

constexpr std::string_view plugin_prefix = "libtrivet-backend-";
constexpr std::string_view plugin_suffix = ".so";

/// "xen" from "libtrivet-backend-xen.so"; empty for any other file.
std::string plugin_name(const std::filesystem::path& object) {
  const auto file = object.filename().string();
  if (!file.starts_with(plugin_prefix) || !file.ends_with(plugin_suffix)) return {};
  if (file.size() <= plugin_prefix.size() + plugin_suffix.size()) return {};
  return file.substr(plugin_prefix.size(), file.size() - plugin_prefix.size() - plugin_suffix.size());
}

/// What the loader says of it, which names the library that is missing; Boost.DLL keeps only that it failed.
std::string why_not(const std::filesystem::path& object) {
  if (void* const loaded = ::dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    ::dlclose(loaded);
    return object.string() + ": it did not load";
  }
  const char* const text = ::dlerror();
  const std::string said = text != nullptr ? text : "it did not load";
  // Of a missing library it names that one only.
  return said.find(object.string()) == std::string::npos ? object.string() + ": " + said : said;
}

}  // namespace

struct BackendRegistry::Impl {
  std::vector<boost::dll::shared_library> objects;  // first, so that they outlive the backends made from them
  std::vector<std::unique_ptr<Backend>> backends;
  std::string unread;  // folders that could not be looked into, each with the reason
};

BackendRegistry::BackendRegistry() : impl_(std::make_unique<Impl>()) {}
BackendRegistry::~BackendRegistry() = default;
BackendRegistry::BackendRegistry(BackendRegistry&&) noexcept = default;
BackendRegistry& BackendRegistry::operator=(BackendRegistry&&) noexcept = default;

Result<void> BackendRegistry::add(std::unique_ptr<Backend> backend) {
  if (find(backend->name()) != nullptr) return Error(Errc::already_exists, "add a backend", backend->name());
  const auto place = std::find_if(impl_->backends.begin(), impl_->backends.end(),
                                  [&](const auto& other) { return other->priority() < backend->priority(); });
  impl_->backends.insert(place, std::move(backend));
  return {};
}

Result<void> BackendRegistry::load(const std::filesystem::path& object) {
  constexpr auto operation = "load a backend";
  std::error_code missing;
  if (!std::filesystem::exists(object, missing)) {
    return Error(Errc::not_found, operation, object.string(), Blame::caller);
  }
  boost::dll::fs::error_code error;
  // Resolved at once: a missing library of the hypervisor must show here, not in the middle of a guest.
  boost::dll::shared_library library(boost::dll::fs::path(object.string()), error, boost::dll::load_mode::rtld_now);
  if (error) return Error(Errc::malformed, operation, why_not(object), Blame::host);
  if (!library.has(backend_symbol)) {
    return Error(Errc::malformed, operation,
                 fmt::format("{}: it has no symbol {}; it is not a Trivet backend", object.string(), backend_symbol),
                 Blame::host);
  }
  const auto& plugin = library.get<const BackendPlugin>(backend_symbol);
  if (plugin.abi_version != backend_abi_version) {
    return Error(Errc::malformed, operation,
                 fmt::format("{}: built for backend ABI {}, this is {}; rebuild it", object.string(),
                             plugin.abi_version, backend_abi_version),
                 Blame::host);
  }
  auto backend = plugin.create(kick_signal::service());
  impl_->objects.push_back(std::move(library));
  return add(std::move(backend));
}

void BackendRegistry::load_all(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> objects;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (!plugin_name(entry->path()).empty()) objects.push_back(entry->path());
  }
  if (error && error != std::errc::no_such_file_or_directory) {
    impl_->unread += fmt::format("; backends in {} are not seen: {}", folder.string(), error.message());
  }
  std::sort(objects.begin(), objects.end());
  for (const auto& object : objects) {
    auto name = plugin_name(object);
    if (find(name) != nullptr) continue;  // linked in: that one stays
    if (const auto loaded = load(object); !loaded) {
      // Cannot fail: the name is free.
      (void)add(std::make_unique<UnloadableBackend>(std::move(name), loaded.error()));
    }
  }
}

std::vector<const Backend*> BackendRegistry::backends() const {
  std::vector<const Backend*> all;
  all.reserve(impl_->backends.size());
  for (const auto& backend : impl_->backends) all.push_back(backend.get());
  return all;
}

const Backend* BackendRegistry::find(std::string_view name) const {
  const auto found = std::find_if(impl_->backends.begin(), impl_->backends.end(),
                                  [&](const auto& backend) { return backend->name() == name; });
  return found == impl_->backends.end() ? nullptr : found->get();
}

Result<const Backend*> BackendRegistry::select(std::string_view name) const {
  constexpr auto operation = "choose a hypervisor";
  if (name != "auto") {
    if (const auto* backend = find(name)) return backend;
    std::string known = "auto";
    for (const auto& backend : impl_->backends) known += fmt::format(", {}", backend->name());
    return Error(Errc::not_found, operation,
                 fmt::format("there is no backend '{}'; known: {}{}", name, known, impl_->unread));
  }
  std::string reasons;
  for (const auto& backend : impl_->backends) {
    const auto probe = backend->probe();
    if (probe.usable) return backend.get();
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", backend->name(), probe.reason);
  }
  return Error(Errc::not_found, operation,
               (reasons.empty() ? "no backend is built in or found" : "none is usable: " + reasons) + impl_->unread,
               Blame::host);
}

}  // namespace trivet
