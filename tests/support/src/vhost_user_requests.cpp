// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <sys/stat.h>

#include <trivet/virtio/abi/features.hpp>

#include "vhost_user_rule.hpp"

namespace trivet::test::vhost_user {
namespace {

namespace bits = virtio::abi;

/// What this home and its rings add to the features of any device.
constexpr std::uint64_t home_features = bits::f_version_1 | bits::f_indirect_desc | bits::f_event_idx |
                                        bits::f_ring_packed | bits::f_ring_reset | abi::f_protocol_features;

}  // namespace

std::span<const Server::Rule> Server::rules() noexcept {
  using R = abi::Request;
  constexpr std::uint32_t config = sizeof(abi::ConfigSpace);
  constexpr std::uint32_t table = sizeof(abi::MemoryTable);
  constexpr auto region = static_cast<std::uint32_t>(sizeof(abi::MemoryRegion));
  constexpr auto slots = abi::protocol_f_configure_mem_slots;
  constexpr auto status = abi::protocol_f_status;
  constexpr auto configs = abi::protocol_f_config;
  // request, name, bytes from and to, descriptors from and to, after SET_OWNER, protocol features, answers, handler
  static constexpr Rule all[] = {
      {R::get_features, "GET_FEATURES", 0, 0, 0, 0, false, 0, true, &Server::get_features},
      {R::set_features, "SET_FEATURES", 8, 8, 0, 0, true, 0, false, &Server::set_features},
      {R::set_owner, "SET_OWNER", 0, 0, 0, 0, false, 0, false, &Server::set_owner},
      {R::reset_owner, "RESET_OWNER", 0, 0, 0, 0, true, 0, false, &Server::reset_owner},
      {R::set_mem_table, "SET_MEM_TABLE", table, table + abi::most_regions * region, 0, abi::most_regions, true, 0,
       false, &Server::set_mem_table},
      {R::set_vring_num, "SET_VRING_NUM", 8, 8, 0, 0, true, 0, false, &Server::set_vring_num},
      {R::set_vring_addr, "SET_VRING_ADDR", 40, 40, 0, 0, true, 0, false, &Server::set_vring_addr},
      {R::set_vring_base, "SET_VRING_BASE", 8, 8, 0, 0, true, 0, false, &Server::set_vring_base},
      {R::get_vring_base, "GET_VRING_BASE", 8, 8, 0, 0, true, 0, true, &Server::get_vring_base},
      {R::set_vring_kick, "SET_VRING_KICK", 8, 8, 0, 1, true, 0, false, &Server::set_vring_kick},
      {R::set_vring_call, "SET_VRING_CALL", 8, 8, 0, 1, true, 0, false, &Server::set_vring_call},
      {R::set_vring_err, "SET_VRING_ERR", 8, 8, 0, 1, true, 0, false, &Server::set_vring_err},
      {R::get_protocol_features, "GET_PROTOCOL_FEATURES", 0, 0, 0, 0, false, 0, true, &Server::get_protocol_features},
      {R::set_protocol_features, "SET_PROTOCOL_FEATURES", 8, 8, 0, 0, false, 0, false, &Server::set_protocol_features},
      {R::get_queue_num, "GET_QUEUE_NUM", 0, 0, 0, 0, false, abi::protocol_f_mq, true, &Server::get_queue_num},
      {R::set_vring_enable, "SET_VRING_ENABLE", 8, 8, 0, 0, false, 0, false, &Server::set_vring_enable},
      {R::set_backend_req_fd, "SET_BACKEND_REQ_FD", 0, 0, 1, 1, false, abi::protocol_f_backend_req, false,
       &Server::set_backend_req_fd},
      {R::get_config, "GET_CONFIG", config, config + abi::most_config, 0, 0, false, configs, true, &Server::get_config},
      {R::set_config, "SET_CONFIG", config, config + abi::most_config, 0, 0, false, configs, false,
       &Server::set_config},
      {R::reset_device, "RESET_DEVICE", 0, 0, 0, 0, true, abi::protocol_f_reset_device, false, &Server::reset_device},
      {R::get_max_mem_slots, "GET_MAX_MEM_SLOTS", 0, 0, 0, 0, false, slots, true, &Server::get_max_mem_slots},
      {R::add_mem_reg, "ADD_MEM_REG", 40, 40, 1, 1, true, slots, false, &Server::add_mem_reg},
      // Some front ends send a descriptor here, which the protocol lets pass.
      {R::rem_mem_reg, "REM_MEM_REG", 40, 40, 0, 1, true, slots, false, &Server::rem_mem_reg},
      {R::set_status, "SET_STATUS", 8, 8, 0, 0, true, status, false, &Server::set_status},
      {R::get_status, "GET_STATUS", 0, 0, 0, 0, true, status, true, &Server::get_status},
  };
  return all;
}

// --- what is negotiated ---

std::uint64_t Server::offered() const noexcept {
  return (device_->features() & bits::device_features) | home_features;
}

bool Server::has(std::uint64_t protocol_feature) const noexcept {
  return (protocol_features_ & protocol_feature) == protocol_feature;
}

Result<void> Server::get_features(Message&) {
  answer(offered());
  return {};
}

Result<void> Server::set_features(Message& message) {
  const auto wanted = message.at<std::uint64_t>(0);
  if ((wanted & ~offered()) != 0) return refusal(fmt::format("{:#x} was not offered", wanted & ~offered()));
  if (wanted != features_) {
    if (running_ != 0) return out_of_order("while rings run");
    if (active_) forget_driver();
    features_ = wanted;
  }
  if ((wanted & abi::f_protocol_features) == 0) {
    for (auto& ring : rings_) ring.enabled = true;
  }
  return update_all();
}

Result<void> Server::get_protocol_features(Message&) {
  answer(options_.protocol_features);
  return {};
}

Result<void> Server::set_protocol_features(Message& message) {
  const auto wanted = message.at<std::uint64_t>(0);
  if ((wanted & ~options_.protocol_features) != 0) {
    return refusal(fmt::format("{:#x} was not offered", wanted & ~options_.protocol_features));
  }
  if (running_ != 0) return out_of_order("while rings run");
  protocol_features_ = wanted;
  tells_changes_ = has(abi::protocol_f_backend_req | abi::protocol_f_config);
  return {};
}

Result<void> Server::get_queue_num(Message&) {
  answer(std::uint64_t{rings_.size()});
  return {};
}

// --- the connection ---

Result<void> Server::set_owner(Message&) {
  if (owned_) return out_of_order("a second time");
  owned_ = true;
  return {};
}

Result<void> Server::reset_owner(Message&) {
  for (auto& ring : rings_) {
    ring.enabled = false;
    TRIVET_TRY(update(ring));
  }
  return {};
}

Result<void> Server::set_backend_req_fd(Message& message) {
  struct stat status {};
  const auto& socket = message.descriptors[0];
  if (::fstat(socket.value(), &status) != 0 || !S_ISSOCK(status.st_mode)) {
    return refusal("the descriptor is no socket");
  }
  return backend_channel_->put(socket);
}

// --- memory ---

Result<void> Server::set_mem_table(Message& message) {
  const auto count = message.at<abi::MemoryTable>(0).num_regions;
  if (count > abi::most_regions ||
      message.header.size != sizeof(abi::MemoryTable) + count * sizeof(abi::MemoryRegion)) {
    return refusal(fmt::format("{} regions in {} bytes", count, message.header.size));
  }
  if (message.descriptors.size() != count) {
    return refusal(fmt::format("{} descriptors for {} regions", message.descriptors.size(), count));
  }
  std::vector<abi::MemoryRegion> regions;
  for (std::uint32_t i = 0; i < count; ++i) {
    regions.push_back(message.at<abi::MemoryRegion>(sizeof(abi::MemoryTable) + i * sizeof(abi::MemoryRegion)));
  }
  TRIVET_TRY(memory_.set(regions, message.descriptors));
  return follow_memory();
}

Result<void> Server::get_max_mem_slots(Message&) {
  answer(std::uint64_t{Memory::most_slots});
  return {};
}

Result<void> Server::add_mem_reg(Message& message) {
  return memory_.add(message.at<abi::SingleMemoryRegion>(0).region, message.descriptors[0]);
}

Result<void> Server::rem_mem_reg(Message& message) {
  TRIVET_TRY(memory_.remove(message.at<abi::SingleMemoryRegion>(0).region));
  return follow_memory();
}

// --- the device ---

Result<void> Server::get_config(Message& message) {
  const auto space = message.at<abi::ConfigSpace>(0);
  if (message.header.size != sizeof space + space.size) {
    return refusal(fmt::format("a size of {} in a payload of {} bytes", space.size, message.header.size));
  }
  answer(space);
  reply_.resize(sizeof space + space.size);
  device_->read_config(space.offset, Bytes(reply_).subspan(sizeof space));
  return {};
}

Result<void> Server::set_config(Message& message) {
  const auto space = message.at<abi::ConfigSpace>(0);
  if (message.header.size != sizeof space + space.size) {
    return refusal(fmt::format("a size of {} in a payload of {} bytes", space.size, message.header.size));
  }
  if (space.flags > abi::config_for_migration) return refusal(fmt::format("flags {:#x}", space.flags));
  device_->write_config(space.offset, message.payload().subspan(sizeof space));
  return {};
}

Result<void> Server::reset_device(Message&) {
  reset_all(true);
  return {};
}

Result<void> Server::set_status(Message& message) {
  const auto wanted = message.at<std::uint64_t>(0);
  if (wanted > 0xff) return refusal(fmt::format("a status of {:#x}", wanted));
  if (wanted == 0) {
    reset_all(false);
    return {};
  }
  // The device's own bit is not the front end's to set or to clear.
  constexpr auto own = bits::status_needs_reset;
  status_ = (static_cast<std::uint32_t>(wanted) & ~own) | (status_ & own);
  return {};
}

Result<void> Server::get_status(Message&) {
  answer(std::uint64_t{status_});
  return {};
}

}  // namespace trivet::test::vhost_user
