// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>

#include "context.hpp"

namespace trivet::xen {

/// Pages of a domain, mapped into this process. Thread rule: like any value.
class Mapping {
 public:
  Mapping() = default;
  /// `pages` pages from frame `first`. `not_found` names the first frame that has no memory behind it.
  static Result<Mapping> create(const Context& context, std::uint64_t first, std::uint64_t pages);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() { reset(); }

  [[nodiscard]] std::byte* data() const noexcept { return data_; }
  void reset() noexcept;

 private:
  Mapping(xenforeignmemory_handle* handle, std::byte* data, std::size_t pages) noexcept
      : handle_(handle), data_(data), pages_(pages) {}
  xenforeignmemory_handle* handle_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t pages_ = 0;
};

}  // namespace trivet::xen
