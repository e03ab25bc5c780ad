// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <trivet/core/address.hpp>
#include <trivet/core/result.hpp>

namespace trivet::vmm {

/// A kernel command line that is always printable ASCII and never longer than its limit. What the kernel hands to init
/// (after a word "--") stays at the end. Every error blames the caller and leaves the line as it was.
/// Source: Linux, Documentation/admin-guide/kernel-parameters.rst. Thread rule: a value.
class CommandLine {
 public:
  /// Linux on x86-64 takes 2,048 bytes with the closing zero.
  static constexpr std::size_t usual_limit = 2047;
  /// The room that the layout keeps for it, with the closing zero.
  static constexpr std::size_t greatest_limit = 65535;

  /// Empty. `limit`: characters without the closing zero, cut to `greatest_limit`.
  explicit CommandLine(std::size_t limit = usual_limit);

  /// `invalid_argument`: a character that is not printable ASCII, or a quote that is never closed; `limit`: too long.
  static Result<CommandLine> create(std::string_view text, std::size_t limit = usual_limit);

  /// Adds words as they are. Errors as `create`.
  Result<void> append(std::string_view words);

  /// Adds `key=value`, quoted where the value has spaces. `invalid_argument` also for a key that is empty or has a
  /// space,
  /// '=' or '"', and for a value that has a '"'.
  Result<void> insert(std::string_view key, std::string_view value);

  /// Adds words for init, after "--".
  Result<void> append_init_arguments(std::string_view words);

  /// Adds `virtio_mmio.device=<size>@<base>:<irq>[:<id>]`, for kernels with CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES.
  /// `invalid_argument`: an empty or wrapping range.
  Result<void> insert_virtio_mmio(const GuestRange& range, std::uint32_t irq,
                                  std::optional<std::uint32_t> id = std::nullopt);

  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] std::size_t limit() const noexcept { return limit_; }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

 private:
  Result<void> add(std::string& part, std::string_view words);

  std::string kernel_;
  std::string init_;
  std::size_t limit_;
};

}  // namespace trivet::vmm
