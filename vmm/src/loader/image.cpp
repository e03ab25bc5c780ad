// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <trivet/vmm/layout_x86_64.hpp>
#include <trivet/vmm/loader/image.hpp>

namespace trivet::vmm {
namespace {

constexpr auto page = layout::page_size;
/// Below this, copying costs less than the page faults of a mapping.
constexpr std::uint64_t least_to_map = 64 * layout::kibibyte;

/// Whether nobody but root and this user can shrink or change it behind a mapping.
bool is_trusted(const struct stat& status) {
  const bool owner = status.st_uid == 0 || status.st_uid == geteuid();
  return owner && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

Error ends_early(const Image& image, std::uint64_t offset, std::uint64_t bytes) {
  return image.malformed("read image", fmt::format("ends early: {} bytes at offset {:#x} are needed, it has {} in all",
                                                   bytes, offset, image.size()));
}

}  // namespace

Result<Image> Image::open(const std::string& path) {
  constexpr auto operation = "open image";
  if (path.empty()) return Error(Errc::invalid_argument, operation, "the path is empty");
  Image image;
  // A FIFO would make a plain open wait for ever; for a regular file the flag means nothing.
  image.fd_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!image.fd_.valid()) return Error::from_errno(errno, operation, path);
  struct stat status {};
  if (::fstat(image.fd_.value(), &status) != 0) return Error::from_errno(errno, operation, path);
  if (!S_ISREG(status.st_mode)) {
    const auto what = S_ISDIR(status.st_mode) ? "a folder" : "not a regular file";
    return Error(Errc::invalid_argument, operation, fmt::format("{} is {}; name a file", path, what));
  }
  if (status.st_size == 0) return Error(Errc::invalid_argument, operation, fmt::format("{} is empty", path));
  image.name_ = path;
  image.size_ = static_cast<std::uint64_t>(status.st_size);
  image.may_map_ = is_trusted(status);
  return image;
}

Image Image::from_memory(ConstBytes bytes, std::string name) {
  Image image;
  image.name_ = std::move(name);
  image.bytes_ = bytes;
  image.size_ = bytes.size();
  return image;
}

Error Image::malformed(const char* operation, std::string_view detail) const {
  return Error::malformed(operation, detail).within(name_);
}

Result<void> Image::read(std::uint64_t offset, Bytes out) const {
  if (!contains(offset, out.size())) return ends_early(*this, offset, out.size());
  if (!fd_.valid()) {
    const auto part = bytes_.subspan(static_cast<std::size_t>(offset), out.size());
    std::copy(part.begin(), part.end(), out.begin());
    return {};
  }
  while (!out.empty()) {
    const auto got = ::pread(fd_.value(), out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno(errno, "read image", name_);
    if (got == 0) return ends_early(*this, offset, out.size());
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<void> Image::copy(const memory::GuestMemory& memory, GuestAddress at, std::uint64_t offset,
                         std::uint64_t bytes) const {
  if (bytes == 0) return {};
  if (!fd_.valid()) {
    return memory.write(at, bytes_.subspan(static_cast<std::size_t>(offset), static_cast<std::size_t>(bytes)));
  }
  std::array<memory::Slice, 8> slices;
  TRIVET_ASSIGN(const auto count, memory.slices({at, bytes}, memory::Permission::write, slices));
  for (const auto& slice : std::span(slices).first(count)) {
    TRIVET_TRY(read(offset, {slice.host(), static_cast<std::size_t>(slice.size())}));
    slice.mark_written(0, slice.size());
    offset += slice.size();
  }
  return {};
}

/// True when mapped; false when it has to be copied. All arguments are page aligned.
Result<bool> Image::map(const memory::GuestMemory& memory, GuestAddress at, std::uint64_t offset,
                        std::uint64_t bytes) const {
  const auto* region = memory.find(at);
  const bool alone = region != nullptr && region->mapping() != nullptr && region->shared_fd() < 0;
  if (!alone || !region->range().contains(at, bytes)) return false;
  // A kernel touches most of itself, and patches its text: on huge pages the copy costs less than the guest's faults.
  if (region->mapping()->in_huge_pages()) return false;
  const auto inside = at.value - region->range().start.value;
  if (auto mapped = region->mapping()->overlay(inside, fd_.value(), offset, bytes); !mapped) {
    // A file system that cannot map is no fault: its files are copied.
    if (mapped.error().os_errno() == ENODEV) return false;
    return mapped.error().within(name_);
  }
  if (region->dirty() != nullptr) region->dirty()->mark(inside, bytes);
  return true;
}

Result<void> Image::place(const memory::GuestMemory& memory, GuestAddress at, std::uint64_t offset,
                          std::uint64_t bytes) const {
  if (!contains(offset, bytes)) return ends_early(*this, offset, bytes);
  if (bytes == 0) return {};
  const auto range = GuestRange::create(at, bytes);
  if (!range || !memory.contains(*range)) {
    return Error(Errc::out_of_range, "place image",
                 fmt::format("{}: the guest has no memory for {} bytes at {:#x}", name_, bytes, at.value));
  }
  const auto head = std::min((page - at.value % page) % page, bytes);
  const auto middle = (bytes - head) / page * page;
  const bool congruent = at.value % page == offset % page;
  if (!fd_.valid() || !may_map_ || !congruent || middle < least_to_map) return copy(memory, at, offset, bytes);

  TRIVET_ASSIGN(const bool mapped, map(memory, {at.value + head}, offset + head, middle));
  if (!mapped) return copy(memory, at, offset, bytes);
  TRIVET_TRY(copy(memory, at, offset, head));
  TRIVET_TRY(copy(memory, {at.value + head + middle}, offset + head + middle, bytes - head - middle));
  struct stat status {};
  if (::fstat(fd_.value(), &status) != 0) return Error::from_errno(errno, "place image", name_);
  // Shrunk since it was opened: the pages beyond its end would be faults.
  if (static_cast<std::uint64_t>(status.st_size) < offset + bytes) return ends_early(*this, offset, bytes);
  return {};
}

}  // namespace trivet::vmm
