// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <trivet/core/backend.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

/// The backends that this process can choose from: linked in, or loaded from shared objects (P8).
///
/// Keep it as long as any Hypervisor opened from it: it holds the loaded objects. Thread rule: one thread at a time.
class BackendRegistry {
 public:
  BackendRegistry();
  ~BackendRegistry();
  BackendRegistry(BackendRegistry&&) noexcept;
  BackendRegistry& operator=(BackendRegistry&&) noexcept;

  /// `already_exists` when one of that name is there: the first stays.
  Result<void> add(std::unique_ptr<Backend> backend);

  /// Loads one plugin. `not_found`, `malformed` (not a backend, or built for another version), `already_exists`.
  Result<void> load(const std::filesystem::path& object);

  /// Loads every `libtrivet-backend-*.so` of a folder, in order of name. One that does not load (a library of its
  /// hypervisor is missing here) is kept as an unusable backend whose probe says why. A missing folder is no error;
  /// what `select` does not find may be in one that cannot be read, so that it says so then.
  void load_all(const std::filesystem::path& folder);

  /// In order of priority, highest first.
  [[nodiscard]] std::vector<const Backend*> backends() const;

  [[nodiscard]] const Backend* find(std::string_view name) const;

  /// "auto": the usable one of highest priority; else the named one. The error says for each backend why it is not
  /// usable (host), or names the known ones (caller).
  Result<const Backend*> select(std::string_view name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet
