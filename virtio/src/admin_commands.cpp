// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <array>

#include <trivet/virtio/admin_commands.hpp>

namespace trivet::virtio {
namespace {

/// What every group type has, and all that a driver may use before it has said LIST_USE (2.12.1.2).
constexpr std::uint64_t list_commands = std::uint64_t{1} << abi::admin_cmd_list_query | std::uint64_t{1}
                                                                                            << abi::admin_cmd_list_use;

/// As much of an object as there is; zeros for the rest.
template <class T>
Result<T> read_as_far(Reader& reader) noexcept {
  T object{};
  const auto bytes = std::as_writable_bytes(std::span(&object, 1));
  TRIVET_TRY(reader.read(bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), reader.left())))));
  return object;
}

template <class T>
Result<void> write_as_far(Writer& writer, const T& object) noexcept {
  const auto bytes = std::as_bytes(std::span(&object, 1));
  return writer.write(bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), writer.left()))));
}

}  // namespace

AdminCommands::AdminCommands(const std::vector<std::uint16_t>& group_types) {
  for (const auto type : group_types) groups_.push_back({type, list_commands});
}

void AdminCommands::reset() noexcept {
  for (auto& group : groups_) group.used = list_commands;
}

AdminCommands::Group* AdminCommands::find(std::uint16_t type) noexcept {
  const auto found = std::ranges::find(groups_, type, &Group::type);
  return found == groups_.end() ? nullptr : &*found;
}

Result<AdminCommands::Status> AdminCommands::use(Group& group, Reader& command) noexcept {
  constexpr Status refused{abi::admin_status_einval, abi::admin_status_q_invalid_field};
  std::uint64_t wanted = 0;
  for (std::size_t word = 0; word < abi::admin_most_opcode_words && command.left() != 0; ++word) {
    TRIVET_ASSIGN(const auto opcodes, read_as_far<abi::AdminOpcodes>(command));
    if (word == 0) wanted = opcodes.value();
    if ((opcodes.value() & ~(word == 0 ? list_commands : 0)) != 0) return refused;
  }
  group.used = wanted;
  return Status{};
}

Result<void> AdminCommands::execute(Reader& command, Writer& answer) {
  TRIVET_ASSIGN(const auto header, read_as_far<abi::AdminCommandHeader>(command));
  const auto opcode = header.opcode.value();
  auto* group = find(header.group_type.value());
  Status status;
  if (group == nullptr) {
    status = {abi::admin_status_einval, abi::admin_status_q_invalid_group};
  } else if (opcode >= 64 || (group->used >> opcode & 1) == 0) {
    status = {abi::admin_status_einval, abi::admin_status_q_invalid_opcode};
  } else if (opcode == abi::admin_cmd_list_use) {
    TRIVET_ASSIGN(status, use(*group, command));
  }
  const abi::AdminCommandStatus said{abi::le16(status.status), abi::le16(status.qualifier), {}};
  TRIVET_TRY(write_as_far(answer, said));
  if (status.status != abi::admin_status_ok || opcode != abi::admin_cmd_list_query) return {};
  return write_as_far(answer, abi::AdminOpcodes(list_commands));
}

}  // namespace trivet::virtio
