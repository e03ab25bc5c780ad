// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace trivet {

/// What kind of thing went wrong. Callers branch on this; people read `to_string`.
enum class Errc : std::uint8_t {
  invalid_argument,  ///< the caller passed something that can never work
  bad_state,         ///< the call is right, but not now (for example on a running vCPU)
  unsupported,       ///< this backend, kernel or host has no such ability; the detail names it
  not_found,         ///< the named thing does not exist
  already_exists,    ///< the thing, or one that overlaps it, exists
  out_of_range,      ///< an address, index or length lies outside what it refers to
  permission,        ///< the host refuses this user
  no_memory,         ///< the host has no memory left for it
  limit,             ///< a documented limit is reached
  malformed,         ///< bytes from a guest, an image or a file break their format
  timed_out,         ///< a bounded wait ended without the event
  io,                ///< a host system call failed; see os_errno
  hypervisor,        ///< the hypervisor itself refused; see hypervisor_status
};

/// Whose fault an error is: the guest's (it may only harm itself), the host's, or the caller's.
enum class Blame : std::uint8_t { caller, host, guest };

[[nodiscard]] std::string_view to_string(Errc code);

/// One failure: what failed, on what, why, what to do. Trivially copyable, so that returning one allocates nothing.
/// Thread rule: a value; no sharing.
class Error {
 public:
  /// `operation` must be a string literal (it is kept by pointer). `detail` is copied and cut to fit, with "..." at the
  /// cut.
  Error(Errc code, const char* operation, std::string_view detail = {}, Blame blame = Blame::caller) noexcept;

  /// A failed system call: picks the code from `os_errno` (EPERM, EACCES -> permission, ENOENT -> not_found, ...). The
  /// host is to blame.
  [[nodiscard]] static Error from_errno(int os_errno, const char* operation, std::string_view detail = {}) noexcept;

  /// A hypervisor's own refusal with its status number. The host is to blame.
  [[nodiscard]] static Error from_hypervisor(std::uint64_t status, const char* operation,
                                             std::string_view detail = {}) noexcept;

  /// Bytes that break their format; the guest (or whoever made the image) is to blame.
  [[nodiscard]] static Error malformed(const char* operation, std::string_view detail) noexcept;

  [[nodiscard]] static Error unsupported(const char* operation, std::string_view detail) noexcept;

  [[nodiscard]] Errc code() const noexcept { return code_; }
  [[nodiscard]] Blame blame() const noexcept { return blame_; }
  [[nodiscard]] int os_errno() const noexcept { return os_errno_; }
  [[nodiscard]] std::uint64_t hypervisor_status() const noexcept { return hypervisor_status_; }
  [[nodiscard]] const char* operation() const noexcept { return operation_; }
  [[nodiscard]] std::string_view detail() const noexcept { return detail_.data(); }

  /// The same error with "context: " put before its detail, for a layer that knows which file or device it was.
  [[nodiscard]] Error within(std::string_view context) const noexcept;

 private:
  Errc code_;
  Blame blame_;
  int os_errno_ = 0;
  std::uint64_t hypervisor_status_ = 0;
  const char* operation_;
  std::array<char, 232> detail_{};
};

/// A sentence a person can act on: "open /dev/kvm: permission denied: add yourself to group kvm".
[[nodiscard]] std::string to_string(const Error& error);

}  // namespace trivet
