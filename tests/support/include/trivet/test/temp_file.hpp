// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <string>

#include <trivet/core/bytes.hpp>
#include <trivet/core/unique_fd.hpp>

namespace trivet::test {

/// A file in the temporary folder that goes away with this object. A failure to make it ends the program: a test cannot
/// go on.
class TempFile {
 public:
  explicit TempFile(std::uint64_t size = 0);
  explicit TempFile(ConstBytes content);
  TempFile(TempFile&&) = default;
  TempFile& operator=(TempFile&&) = delete;
  ~TempFile();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] int fd() const noexcept { return fd_.value(); }

  void write(std::uint64_t offset, ConstBytes content) const;
  [[nodiscard]] std::string read(std::uint64_t offset, std::uint64_t size) const;

 private:
  std::string path_;
  UniqueFd fd_;
};

}  // namespace trivet::test
