// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <vector>

#include <trivet/core/result.hpp>
#include <trivet/virtio/abi/admin.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {

/// The group administration commands of a device that owns groups (virtio 1.3, 2.12), as they come on an administration
/// queue (2.13): so far the two that every group type has, LIST_QUERY and LIST_USE.
///
/// A command that is wrong is answered with a status and changes nothing; it never breaks the device. Parts that are
/// shorter than the specification has them are read as zeros and written as far as they go, longer ones are cut
/// (2.13.1). A device without groups refuses every command with INVALID_GROUP, as the specification has it for one
/// without SR-IOV. Thread rule: one thread at a time; allocates nothing but at creation.
class AdminCommands {
 public:
  /// With these group types (`abi::admin_group_sriov`).
  explicit AdminCommands(const std::vector<std::uint16_t>& group_types);

  /// Does what the readable part of a chain says and writes its answer to the writable part. Errors are those of
  /// accesses to the guest's memory, and the guest's.
  Result<void> execute(Reader& command, Writer& answer);

  /// A new driver has said nothing of what it uses yet.
  void reset() noexcept;

 private:
  /// One group type, and which opcodes below 64 its driver may use now.
  struct Group {
    std::uint16_t type;
    std::uint64_t used;
  };
  struct Status {
    std::uint16_t status = abi::admin_status_ok;
    std::uint16_t qualifier = abi::admin_status_q_ok;
  };

  [[nodiscard]] Group* find(std::uint16_t type) noexcept;
  Result<Status> use(Group& group, Reader& command) noexcept;

  std::vector<Group> groups_;
};

}  // namespace trivet::virtio
