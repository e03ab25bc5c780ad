// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include <trivet/core/result.hpp>
#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/block_backend.hpp>

namespace trivet::virtio {

class DiskLifetimeFiles;

/// A raw disk image, or a block device of the host: bytes on the disk are bytes in the file. Secure erase and lifetime
/// are those of a block device that has them; a file system promises neither.
/// Thread rule: one thread at a time, but for `info`.
class RawDisk {
 public:
  /// How the file is opened.
  struct Options {
    bool read_only = false;
    bool direct = false;  ///< past the page cache (O_DIRECT)
    bool raw = false;     ///< its bytes are the disk's, even where they begin as an image of another format does
  };

  /// Opens and locks it: any number of readers, or one writer, whoever they are (OFD locks: fcntl(2)). A file system
  /// without locks does without. `not_found`, `permission`, `io` (host); `bad_state`: somebody else has it open;
  /// `invalid_argument`: it is neither file nor block device, is empty, or its size is not a multiple of 512 bytes, or
  /// with `direct` of the host's block size (all caller). `unsupported` (caller): it is an image of another format
  /// (qcow2, VHDX, VMDK, VDI), whose bytes are not the disk's: a guest would see a broken disk and destroy the image.
  static Result<RawDisk> open(const std::string& path, Options options);

  [[nodiscard]] const DiskInfo& info() const noexcept { return info_; }
  [[nodiscard]] int fd() const noexcept { return fd_.value(); }

  /// See BlockBackend::lifetime.
  [[nodiscard]] std::optional<DiskLifetime> lifetime() const noexcept;

  /// Does all of an operation, or what is left of it, and waits. Its errno, 0 when done.
  int run(DiskOperation& operation) noexcept;

  /// Whether a read or write has to go through a buffer of ours: with `direct`, when the guest's is not aligned or
  /// cannot be pinned.
  [[nodiscard]] bool must_bounce(const DiskOperation& operation) const noexcept;

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { std::free(memory); }
  };

  RawDisk(UniqueFd fd, Options options) noexcept : fd_(std::move(fd)), options_(options) {}
  Result<void> check_file(const std::string& path);
  Result<void> check_format(const std::string& path) const;
  Result<void> lock(const std::string& path) const;
  void probe_alignment() noexcept;
  void probe_discard() noexcept;
  void probe_lifetime(unsigned major, unsigned minor);

  int transfer(DiskOperation& operation) noexcept;
  int transfer_bounced(DiskOperation& operation) noexcept;
  int write_zeroes(const DiskOperation& operation) noexcept;
  int secure_erase(const DiskOperation& operation) noexcept;

  UniqueFd fd_;
  Options options_;
  DiskInfo info_;
  std::uint32_t memory_alignment_ = 1;  // of `data`, with direct
  bool is_device_ = false;
  std::shared_ptr<const DiskLifetimeFiles> lifetime_{};  // null where it is not told
  std::unique_ptr<std::byte, Free> bounce_{};            // at first need
};

/// The ways to do I/O on a raw disk.
enum class DiskEngine : std::uint8_t {
  automatic,  ///< io_uring where the host allows it, else plain
  io_uring,   ///< many operations at once, in the kernel
  plain,      ///< preadv and pwritev, which hold up the event loop
};

/// A backend over a raw disk. With `io_uring`, the host's refusal is an error (`unsupported`, `permission`,
/// `no_memory`); with `automatic` it is not.
Result<std::unique_ptr<BlockBackend>> create_backend(RawDisk disk, DiskEngine engine = DiskEngine::automatic);

}  // namespace trivet::virtio
