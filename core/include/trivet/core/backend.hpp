// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <trivet/core/hypervisor.hpp>
#include <trivet/core/kick_signal.hpp>
#include <trivet/core/result.hpp>

namespace trivet {

/// Whether a backend works on this host, and if not, what to do about it.
struct Probe {
  bool usable = false;
  std::string reason;  ///< when usable: a short description ("KVM API 12"); else the sentence a person acts on
};

/// The factory of one hypervisor (P8). Stateless. Thread rule: any thread.
class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  /// `auto` takes the usable backend of highest priority.
  [[nodiscard]] virtual int priority() const noexcept = 0;
  /// Changes nothing on the host; quick.
  [[nodiscard]] virtual Probe probe() const = 0;
  /// Errors as the probe's reason.
  virtual Result<std::unique_ptr<Hypervisor>> open() const = 0;
};

/// Changes with every change to a contract in core: a plugin built against another is refused, not run.
inline constexpr std::uint32_t backend_abi_version = 4;

/// What a loadable backend (`libtrivet-backend-<name>.so`) exports, with C linkage, under `backend_symbol`.
struct BackendPlugin {
  std::uint32_t abi_version = backend_abi_version;
  /// `kick` is the host program's kick signal, which the plugin must use in place of its own copy.
  std::unique_ptr<Backend> (*create)(const kick_signal::Service& kick) = nullptr;
};

inline constexpr const char* backend_symbol = "trivet_backend";

}  // namespace trivet
