// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

#include <trivet/test/temp_file.hpp>

namespace trivet::test {
namespace {

void require(bool ok, const char* what) {
  if (ok) return;
  std::perror(what);
  std::abort();
}

}  // namespace

TempFile::TempFile(std::uint64_t size) {
  const char* folder = std::getenv("TMPDIR");
  path_ = std::string(folder != nullptr ? folder : "/tmp") + "/trivet-test-XXXXXX";
  fd_ = UniqueFd(::mkstemp(path_.data()));
  require(fd_.valid(), "mkstemp");
  require(::ftruncate(fd_.value(), static_cast<off_t>(size)) == 0, "ftruncate");
}

TempFile::TempFile(ConstBytes content) : TempFile() {
  write(0, content);
}

TempFile::~TempFile() {
  if (fd_.valid()) ::unlink(path_.c_str());  // not after a move
}

void TempFile::write(std::uint64_t offset, ConstBytes content) const {
  const auto written = ::pwrite(fd_.value(), content.data(), content.size(), static_cast<off_t>(offset));
  require(written == static_cast<ssize_t>(content.size()), "pwrite");
}

std::string TempFile::read(std::uint64_t offset, std::uint64_t size) const {
  std::string content(size, '\0');
  const auto got = ::pread(fd_.value(), content.data(), content.size(), static_cast<off_t>(offset));
  require(got >= 0, "pread");
  content.resize(static_cast<std::size_t>(got));
  return content;
}

}  // namespace trivet::test
