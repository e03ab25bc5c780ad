// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <trivet/virtio/raw_disk.hpp>

#include "disk_lifetime.hpp"
#include "disk_progress.hpp"
#include "image_format.hpp"

namespace trivet::virtio {

namespace {

constexpr std::uint32_t sector = 512;
constexpr std::size_t bounce_size = 128 << 10;
constexpr std::size_t page = 4096;

Error unusable(const std::string& path, std::string_view why) {
  return Error(Errc::invalid_argument, "open disk", fmt::format("{} {}", path, why));
}

/// Punches or zeroes; its errno.
int allocate(int fd, int mode, std::uint64_t offset, std::uint64_t bytes) noexcept {
  while (::fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

bool no_such_ability(int os_errno) noexcept {
  return os_errno == EOPNOTSUPP || os_errno == ENOSYS || os_errno == ENOTTY;
}

}  // namespace

Result<RawDisk> RawDisk::open(const std::string& path, Options options) {
  // Non-blocking only for the open itself, which would wait for ever on a FIFO.
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | (options.direct ? O_DIRECT : 0) | O_CLOEXEC | O_NOCTTY;
  RawDisk disk(UniqueFd(::open(path.c_str(), flags | O_NONBLOCK)), options);
  if (!disk.fd_.valid()) {
    const int why = errno;
    const bool writable = !options.read_only && (why == EACCES || why == EROFS || why == EPERM);
    const bool direct = options.direct && why == EINVAL;
    return Error::from_errno(why, "open disk",
                             path + (writable ? " (would it do read-only?)"
                                     : direct ? " (no O_DIRECT on this file system)"
                                              : ""));
  }
  TRIVET_TRY(disk.check_file(path));
  if (::fcntl(disk.fd(), F_SETFL, flags & ~O_CLOEXEC) != 0) return Error::from_errno(errno, "open disk", path);
  if (!options.raw) TRIVET_TRY(disk.check_format(path));
  TRIVET_TRY(disk.lock(path));
  disk.probe_alignment();
  if (disk.info_.size % disk.info_.logical_block != 0) {
    return unusable(path, fmt::format("has {} bytes, which is not a multiple of the {} that direct I/O needs here",
                                      disk.info_.size, disk.info_.logical_block));
  }
  disk.probe_discard();
  return disk;
}

Result<void> RawDisk::check_file(const std::string& path) {
  struct stat status = {};
  if (::fstat(fd(), &status) != 0) return Error::from_errno(errno, "open disk", path);
  if (S_ISBLK(status.st_mode)) {
    is_device_ = true;
    if (::ioctl(fd(), BLKGETSIZE64, &info_.size) != 0) return Error::from_errno(errno, "size of disk", path);
    probe_lifetime(major(status.st_rdev), minor(status.st_rdev));
  } else if (S_ISREG(status.st_mode)) {
    info_.size = static_cast<std::uint64_t>(status.st_size);
    const auto block = static_cast<std::uint32_t>(status.st_blksize);
    info_.physical_block = std::has_single_bit(block) ? std::clamp<std::uint32_t>(block, sector, page) : sector;
  } else {
    return unusable(path, "is neither a file nor a block device");
  }
  if (info_.size == 0) return unusable(path, "is empty");
  if (info_.size % sector != 0) {
    return unusable(path, fmt::format("has {} bytes, which is not a multiple of 512", info_.size));
  }
  info_.read_only = options_.read_only;
  return {};
}

Result<void> RawDisk::check_format(const std::string& path) const {
  alignas(page) std::array<std::byte, page> start{};  // as direct I/O wants it
  const ssize_t got = ::pread(fd(), start.data(), start.size(), 0);
  if (got <= 0) return {};  // the guest's own reads will meet it
  const std::string_view format = image_format(ConstBytes(start).first(static_cast<std::size_t>(got)));
  if (format.empty()) return {};
  return Error(
      Errc::unsupported, "open disk",
      fmt::format("{} is a {} image; make it a raw one (qemu-img convert -O raw), or say that it is raw", path, format),
      Blame::caller);
}

Result<void> RawDisk::lock(const std::string& path) const {
  struct flock lock = {};
  lock.l_type = static_cast<short>(options_.read_only ? F_RDLCK : F_WRLCK);
  lock.l_whence = SEEK_SET;  // from 0 to the end, wherever that is
  if (::fcntl(fd(), F_OFD_SETLK, &lock) == 0) return {};
  if (errno != EAGAIN && errno != EACCES) return {};  // ENOLCK and the like: there are no locks to be had
  return Error(Errc::bad_state, "open disk",
               path + (options_.read_only ? " is being written by another process" : " is in use by another process"));
}

void RawDisk::probe_alignment() noexcept {
  if (is_device_) {
    int logical = 0;
    unsigned physical = 0;
    if (::ioctl(fd(), BLKSSZGET, &logical) == 0 && logical >= 512)
      info_.logical_block = static_cast<std::uint32_t>(logical);
    if (::ioctl(fd(), BLKPBSZGET, &physical) == 0) info_.physical_block = physical;
  }
  if (options_.direct) {
    memory_alignment_ = std::max(info_.logical_block, sector);
#ifdef STATX_DIOALIGN
    struct statx status = {};
    if (::statx(fd(), "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 && (status.stx_mask & STATX_DIOALIGN) != 0 &&
        status.stx_dio_mem_align != 0 && status.stx_dio_offset_align != 0) {
      memory_alignment_ = status.stx_dio_mem_align;
      info_.logical_block = std::max(sector, status.stx_dio_offset_align);
    }
#endif
  }
  if (!std::has_single_bit(info_.physical_block)) info_.physical_block = 0;
  info_.physical_block = std::max(info_.physical_block, info_.logical_block);
}

void RawDisk::probe_discard() noexcept {
  // A hole beyond the end changes nothing, and tells whether holes can be made at all.
  info_.can_discard =
      !options_.read_only && !no_such_ability(allocate(fd(), FALLOC_FL_PUNCH_HOLE, info_.size, info_.logical_block));
  // So does an erase beyond the end. A file system may keep copies of a file's blocks anywhere.
  const DiskOperation beyond{.offset = info_.size, .bytes = info_.logical_block};
  info_.can_secure_erase = !options_.read_only && is_device_ && !no_such_ability(secure_erase(beyond));
}

void RawDisk::probe_lifetime(unsigned major, unsigned minor) {
  auto files = DiskLifetimeFiles::of(major, minor);
  if (!files.valid() || !files.read()) return;
  lifetime_ = std::make_shared<const DiskLifetimeFiles>(std::move(files));
  info_.tells_lifetime = true;
}

std::optional<DiskLifetime> RawDisk::lifetime() const noexcept {
  return lifetime_ ? lifetime_->read() : std::nullopt;
}

int RawDisk::run(DiskOperation& operation) noexcept {
  switch (operation.kind) {
    case DiskOperation::Kind::read:
    case DiskOperation::Kind::write:
      return must_bounce(operation) ? transfer_bounced(operation) : transfer(operation);
    case DiskOperation::Kind::flush:
      return ::fdatasync(fd()) == 0 ? 0 : errno;
    case DiskOperation::Kind::discard:
      return allocate(fd(), FALLOC_FL_PUNCH_HOLE, operation.offset, operation.bytes);
    case DiskOperation::Kind::write_zeroes:
      return write_zeroes(operation);
    case DiskOperation::Kind::secure_erase:
      return is_device_ ? secure_erase(operation) : EOPNOTSUPP;
  }
  return EINVAL;
}

bool RawDisk::must_bounce(const DiskOperation& operation) const noexcept {
  if (!options_.direct) return false;
  const auto is_aligned = [&](const iovec& part) {
    const auto address = std::bit_cast<std::uintptr_t>(part.iov_base);
    return address % memory_alignment_ == 0 && part.iov_len % info_.logical_block == 0;
  };
  return !operation.pinnable || !std::ranges::all_of(operation.data, is_aligned);
}

int RawDisk::transfer(DiskOperation& operation) noexcept {
  while (!operation.data.empty()) {
    const auto count = static_cast<int>(std::min<std::size_t>(operation.data.size(), IOV_MAX));
    const auto offset = static_cast<off_t>(operation.offset);
    const ssize_t done = operation.kind == DiskOperation::Kind::read
                             ? ::preadv(fd(), operation.data.data(), count, offset)
                             : ::pwritev(fd(), operation.data.data(), count, offset);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return errno;
    if (done == 0) return EIO;  // the file has become shorter than the disk
    advance(operation, static_cast<std::uint64_t>(done));
  }
  return 0;
}

int RawDisk::transfer_bounced(DiskOperation& operation) noexcept {
  if (!bounce_) {
    bounce_.reset(
        static_cast<std::byte*>(std::aligned_alloc(std::max<std::size_t>(page, memory_alignment_), bounce_size)));
    if (!bounce_) return ENOMEM;
  }
  const bool reads = operation.kind == DiskOperation::Kind::read;
  while (!operation.data.empty()) {
    const auto bytes = std::min<std::uint64_t>(bounce_size, bytes_left(operation));
    std::array<iovec, 1> buffer{iovec{bounce_.get(), static_cast<std::size_t>(bytes)}};
    DiskOperation part{.kind = operation.kind, .offset = operation.offset, .data = buffer};
    if (!reads) copy_from(operation, {bounce_.get(), static_cast<std::size_t>(bytes)});
    if (const int failed = transfer(part); failed != 0) return failed;
    if (reads) copy_to(operation, {bounce_.get(), static_cast<std::size_t>(bytes)});
    advance(operation, bytes);
  }
  return 0;
}

int RawDisk::secure_erase(const DiskOperation& operation) noexcept {
  const std::array<std::uint64_t, 2> range{operation.offset, operation.bytes};
  while (::ioctl(fd(), BLKSECDISCARD, range.data()) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

int RawDisk::write_zeroes(const DiskOperation& operation) noexcept {
  const int mode = operation.may_unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
  const int failed = allocate(fd(), mode, operation.offset, operation.bytes);
  if (failed == 0 || !no_such_ability(failed)) return failed;

  alignas(page) static const std::array<std::byte, 16 * page> zeroes{};
  std::array<iovec, 1> buffer{};
  DiskOperation part{.kind = DiskOperation::Kind::write, .offset = operation.offset};
  for (auto left = operation.bytes; left > 0;) {
    const auto bytes = std::min<std::uint64_t>(zeroes.size(), left);
    buffer[0] = {const_cast<std::byte*>(zeroes.data()), static_cast<std::size_t>(bytes)};  // pwritev only reads it
    part.data = buffer;
    if (const int error = transfer(part); error != 0) return error;
    left -= bytes;
  }
  return 0;
}

}  // namespace trivet::virtio
