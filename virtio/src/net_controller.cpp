// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "net_controller.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <fmt/format.h>

#include <trivet/virtio/buffers.hpp>
#include <trivet/virtio/net.hpp>

namespace trivet::virtio {
namespace {

/// Commands that one call of `process` does at most.
constexpr unsigned most_commands = 16;

Error missing(const Chain& chain, std::string_view what) noexcept {
  std::array<char, 128> text{};
  const auto end =
      fmt::format_to_n(text.data(), text.size(), "queue {}, chain {}: a command without {} (virtio 1.3, 5.1.6.5)",
                       chain.queue(), chain.id(), what);
  return Error::malformed("network control", {text.data(), std::min(end.size, text.size())});
}

/// An object, and nothing after it; nothing when the size is another.
template <class T>
Result<std::optional<T>> only(Reader& data) {
  if (data.left() != sizeof(T)) return std::optional<T>();
  TRIVET_ASSIGN(const auto object, data.read_object<T>());
  return std::optional<T>(object);
}

}  // namespace

Result<More> NetController::process() {
  queue_.disable_kicks();
  auto more = More::yes;
  Result<void> result;
  for (unsigned budget = most_commands; budget > 0; --budget) {
    const auto answered = answer_next();
    if (!answered) {
      result = answered.error();
      break;
    }
    if (!*answered && !queue_.enable_kicks()) {
      more = More::no;
      break;
    }
  }
  queue_.publish();
  if (queue_.should_notify()) notifier_.used(queue_.index());
  if (!result) return result.error();
  return more;
}

Result<bool> NetController::answer_next() {
  TRIVET_ASSIGN(const auto chain, queue_.pop());
  if (!chain) return false;
  TRIVET_ASSIGN(auto buffers, Buffers::create(*chain));
  if (buffers.reader.left() < sizeof(abi::NetControlHeader)) return missing(*chain, "its class and number");
  if (buffers.writer.left() == 0) return missing(*chain, "a status byte to write");
  TRIVET_ASSIGN(const bool done, execute(buffers.reader));
  TRIVET_TRY(buffers.writer.write_object(done ? abi::net_ok : abi::net_err));
  TRIVET_TRY(queue_.stage_used(chain->id(), buffers.writer.written()));
  return true;
}

Result<bool> NetController::execute(Reader& data) {
  TRIVET_ASSIGN(const auto header, data.read_object<abi::NetControlHeader>());
  const auto command = header.command;
  switch (header.command_class) {
    case abi::net_ctrl_rx:
      return set_receive_mode(command, data);
    case abi::net_ctrl_mac:
      return set_address(command, data);
    case abi::net_ctrl_vlan:
      return set_vlan(command, data);
    case abi::net_ctrl_announce:
      return command == abi::net_ctrl_announce_ack && has(abi::net_f_guest_announce) && net_.announced();
    case abi::net_ctrl_mq:
      return set_multiqueue(command, data);
    case abi::net_ctrl_guest_offloads: {
      TRIVET_ASSIGN(const auto offloads, only<abi::le64>(data));
      return command == abi::net_ctrl_guest_offloads_set && has(abi::net_f_ctrl_guest_offloads) && offloads &&
             net_.set_guest_offloads(offloads->value());
    }
    default:
      return false;
  }
}

Result<bool> NetController::set_receive_mode(abi::u8 command, Reader& data) {
  TRIVET_ASSIGN(const auto value, only<abi::u8>(data));
  auto& modes = filter_.modes;
  const std::array<bool*, 6> by_command{&modes.promiscuous,  &modes.all_multicast, &modes.all_unicast,
                                        &modes.no_multicast, &modes.no_unicast,    &modes.no_broadcast};
  const auto feature = command <= abi::net_ctrl_rx_allmulti ? abi::net_f_ctrl_rx : abi::net_f_ctrl_rx_extra;
  if (!value || *value > 1 || command >= by_command.size() || !has(feature)) return false;
  *by_command.at(command) = *value == 1;
  return true;
}

Result<bool> NetController::set_address(abi::u8 command, Reader& data) {
  if (command == abi::net_ctrl_mac_table_set) return set_table(data);
  TRIVET_ASSIGN(const auto mac, only<MacAddress>(data));
  if (command != abi::net_ctrl_mac_addr_set || !has(abi::net_f_ctrl_mac_addr) || !mac) return false;
  if (mac->is_multicast() || mac->is_zero()) return false;
  net_.set_mac(*mac);
  return true;
}

Result<bool> NetController::set_table(Reader& data) {
  if (!has(abi::net_f_ctrl_rx)) return false;
  TRIVET_ASSIGN(const bool unicast, read_list(data, filter_.next_unicast()));
  if (!unicast) return false;
  TRIVET_ASSIGN(const bool multicast, read_list(data, filter_.next_multicast()));
  if (!multicast || data.left() != 0) return false;
  filter_.replace();
  return true;
}

Result<bool> NetController::read_list(Reader& data, NetFilter::List& list) const {
  if (data.left() < sizeof(abi::le32)) return false;
  TRIVET_ASSIGN(const auto count, data.read_object<abi::le32>());
  const auto bytes = std::uint64_t{count.value()} * sizeof(MacAddress);
  if (bytes > data.left()) return false;
  list.addresses.clear();
  list.all = count.value() > NetFilter::most_addresses;
  if (list.all) {
    TRIVET_TRY(data.skip(bytes));
    return true;
  }
  for (std::uint32_t i = 0; i < count.value(); ++i) {
    TRIVET_ASSIGN(const auto mac, data.read_object<MacAddress>());
    list.addresses.push_back(mac);  // within what is reserved
  }
  return true;
}

Result<bool> NetController::set_multiqueue(abi::u8 command, Reader& data) {
  if (command == abi::net_ctrl_mq_rss_config) return set_rss(data);
  if (command == abi::net_ctrl_mq_hash_config) return set_hash(data);
  TRIVET_ASSIGN(const auto pairs, only<abi::le16>(data));
  return command == abi::net_ctrl_mq_vq_pairs_set && has(abi::net_f_mq) && pairs && net_.set_pairs(pairs->value());
}

Result<bool> NetController::set_rss(Reader& data) {
  if (!has(abi::net_f_rss) || data.left() < sizeof(abi::NetRssConfig)) return false;
  TRIVET_ASSIGN(const auto begin, data.read_object<abi::NetRssConfig>());
  const std::size_t entries = std::size_t{begin.indirection_table_mask.value()} + 1;
  if (!std::has_single_bit(entries) || entries > NetSteering::most_entries) return false;
  if (data.left() < (entries + 1) * sizeof(abi::le16)) return false;
  NetSteering wanted;
  wanted.mask = begin.indirection_table_mask.value();
  wanted.unclassified = begin.unclassified_queue.value();
  for (std::size_t i = 0; i < entries; ++i) {
    TRIVET_ASSIGN(const auto pair, data.read_object<abi::le16>());
    wanted.table.at(i) = pair.value();
  }
  TRIVET_ASSIGN(const auto transmitters, data.read_object<abi::le16>());
  TRIVET_ASSIGN(const bool has_key, read_key(data, begin.hash_types.value(), wanted.hash));
  return has_key && net_.set_steering(wanted, transmitters.value());
}

Result<bool> NetController::set_hash(Reader& data) {
  if (!has(abi::net_f_hash_report) || data.left() < sizeof(abi::NetHashConfig)) return false;
  TRIVET_ASSIGN(const auto begin, data.read_object<abi::NetHashConfig>());
  return read_key(data, begin.hash_types.value(), steering_.hash);
}

Result<bool> NetController::read_key(Reader& data, std::uint32_t types, NetHash& hash) const {
  if (data.left() == 0 || (types & ~abi::net_hash_types) != 0) return false;
  TRIVET_ASSIGN(const auto size, data.read_object<abi::u8>());
  std::array<std::byte, NetHash::key_size> key{};
  if (size > key.size() || data.left() != size) return false;
  TRIVET_TRY(data.read(std::span(key).first(size)));
  hash.set(types, key);
  return true;
}

Result<bool> NetController::set_vlan(abi::u8 command, Reader& data) {
  TRIVET_ASSIGN(const auto id, only<abi::le16>(data));
  if (command > abi::net_ctrl_vlan_del || !has(abi::net_f_ctrl_vlan) || !id || id->value() >= 4096) return false;
  filter_.set_vlan(id->value(), command == abi::net_ctrl_vlan_add);
  return true;
}

}  // namespace trivet::virtio
