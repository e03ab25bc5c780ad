// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <bit>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <limits>
#include <linux/memfd.h>
#include <string_view>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include <trivet/memory/mapping.hpp>

namespace trivet::memory {
namespace {

constexpr std::uint64_t page_size = 4096;
constexpr std::uint64_t two_mib = std::uint64_t{2} << 20;
constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();  // mmap's offsets are signed

template <class... Arguments>
Error refuse(Errc code, const char* operation, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  std::array<char, 200> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), format, std::forward<Arguments>(arguments)...);
  return {code, operation, {text.data(), std::min(end.size, text.size())}};
}

Result<void> check_size(const char* operation, std::uint64_t size, std::uint64_t alignment) {
  if (size == 0 || size % alignment != 0 || size > most) {
    return refuse(Errc::invalid_argument, operation, "size {:#x} is not a multiple of {:#x}, or 0", size, alignment);
  }
  return {};
}

Result<std::byte*> map(const char* operation, std::uint64_t size, int protection, int flags, int fd,
                       std::uint64_t offset) {
  // A guest's memory is mostly untouched: it is reserved lazily, as every VMM does.
  void* at = ::mmap(nullptr, size, protection, flags | MAP_NORESERVE, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) {
    const int error = errno;
    return Error::from_errno(error, operation, fmt::format("{:#x} bytes", size));
  }
  return static_cast<std::byte*>(at);
}

/// Touching a page beyond the end of its file would kill the process.
Result<void> check_inside_file(const char* operation, int fd, std::uint64_t offset, std::uint64_t size) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return Error::from_errno(errno, operation, "fstat");
  if (!S_ISREG(status.st_mode)) return {};  // devices have their own bounds, and mmap knows them
  const auto length = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t end = (length + page_size - 1) / page_size * page_size;
  if (offset > end || size > end - offset) {
    return refuse(Errc::out_of_range, operation, "{:#x} bytes at {:#x} lie beyond the file's end at {:#x}", size,
                  offset, length);
  }
  return {};
}

/// The host's policy, which does not change while a VMM runs.
bool huge_pages_for_everybody() {
  static const bool always = [] {
    const UniqueFd file(::open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC));
    std::array<char, 64> text{};  // "always [madvise] never", the chosen one in brackets
    const auto got = file.valid() ? ::read(file.value(), text.data(), text.size()) : -1;
    return got > 0 &&
           std::string_view(text.data(), static_cast<std::size_t>(got)).find("[always]") != std::string_view::npos;
  }();
  return always;
}

}  // namespace

Result<Mapping> Mapping::anonymous(std::uint64_t size) {
  constexpr const char* operation = "map anonymous memory";
  TRIVET_TRY(check_size(operation, size, page_size));
  TRIVET_ASSIGN(std::byte * at, map(operation, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  return Mapping(at, size, UniqueFd(), 0, size >= two_mib && huge_pages_for_everybody());
}

Result<Mapping> Mapping::memfd(const char* name, std::uint64_t size, std::uint64_t huge_page_size) {
  constexpr const char* operation = "map shared memory";
  constexpr std::uint64_t one_gib = std::uint64_t{1} << 30;
  if (huge_page_size != 0 && huge_page_size != two_mib && huge_page_size != one_gib) {
    return refuse(Errc::invalid_argument, operation, "huge pages are 2 MiB or 1 GiB, not {:#x} bytes", huge_page_size);
  }
  TRIVET_TRY(check_size(operation, size, huge_page_size != 0 ? huge_page_size : page_size));

  unsigned flags = MFD_CLOEXEC;
  if (huge_page_size != 0) {
    flags |= MFD_HUGETLB | static_cast<unsigned>(std::countr_zero(huge_page_size)) << MFD_HUGE_SHIFT;
  }
  UniqueFd fd(::memfd_create(name, flags));
  if (!fd.valid()) return Error::from_errno(errno, operation, "memfd_create");
  if (::ftruncate(fd.value(), static_cast<off_t>(size)) != 0) return Error::from_errno(errno, operation, "ftruncate");

  // Huge pages are reserved now: a guest that touches one that is not there would kill the process.
  const int reserve = huge_page_size != 0 ? 0 : MAP_NORESERVE;
  void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | reserve, fd.value(), 0);
  if (at == MAP_FAILED) {
    const int error = errno;
    return Error::from_errno(error, operation,
                             huge_page_size != 0 ? fmt::format("{:#x} bytes of huge pages: reserve them in "
                                                               "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
                                                               size, huge_page_size / 1024)
                                                 : fmt::format("{:#x} bytes", size));
  }
  return Mapping(static_cast<std::byte*>(at), size, std::move(fd), 0, huge_page_size != 0);
}

Result<Mapping> Mapping::file(int fd, std::uint64_t offset, std::uint64_t size, bool writable) {
  constexpr const char* operation = "map file";
  TRIVET_TRY(check_size(operation, size, page_size));
  if (offset % page_size != 0 || offset > most - size) {
    return refuse(Errc::invalid_argument, operation, "offset {:#x} is not page aligned, or too large", offset);
  }
  TRIVET_TRY(check_inside_file(operation, fd, offset, size));
  UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) return Error::from_errno(errno, operation, "duplicate the descriptor");
  const int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  TRIVET_ASSIGN(std::byte * at, map(operation, size, protection, MAP_SHARED, own.value(), offset));
  return Mapping(at, size, std::move(own), offset, false);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      fd_(std::move(other.fd_)),
      fd_offset_(std::exchange(other.fd_offset_, 0)),
      in_huge_pages_(other.in_huge_pages_) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);  // other unmaps what was here
  std::swap(size_, other.size_);
  std::swap(fd_, other.fd_);
  std::swap(fd_offset_, other.fd_offset_);
  std::swap(in_huge_pages_, other.in_huge_pages_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Result<void> Mapping::overlay(std::uint64_t offset, int fd, std::uint64_t file_offset, std::uint64_t size) const {
  constexpr const char* operation = "map a file over guest memory";
  TRIVET_TRY(check_size(operation, size, page_size));
  if (offset % page_size != 0 || file_offset % page_size != 0 || file_offset > most - size) {
    return refuse(Errc::invalid_argument, operation, "offset {:#x} or file offset {:#x} is not page aligned", offset,
                  file_offset);
  }
  if (offset > size_ || size > size_ - offset) {
    return refuse(Errc::out_of_range, operation, "{:#x} bytes at {:#x} lie outside a mapping of {:#x}", size, offset,
                  size_);
  }
  TRIVET_TRY(check_inside_file(operation, fd, file_offset, size));
  void* at = ::mmap(data_ + offset, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
                    static_cast<off_t>(file_offset));
  if (at == MAP_FAILED) return Error::from_errno(errno, operation, "mmap");
  return {};
}

}  // namespace trivet::memory
