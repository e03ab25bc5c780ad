// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <charconv>
#include <exception>
#include <fmt/format.h>
#include <type_traits>

#include <boost/describe/class.hpp>
#include <boost/describe/members.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/mp11/algorithm.hpp>

#include <trivet/virtio/queue_state.hpp>

namespace trivet::virtio {
namespace {

namespace json = boost::json;

constexpr const char* operation = "read a queue's state";
constexpr std::size_t most_document = 4096;
constexpr std::uint16_t this_version = 1;

/// A number that is written in hexadecimal.
struct Hex {
  std::uint64_t value = 0;
};

/// The document.
struct State {
  std::uint16_t version = 0;
  std::uint16_t index = 0;
  std::uint16_t size = 0;
  std::uint16_t max_size = 0;
  Hex descriptor_area, driver_area, device_area, features;
  std::uint16_t next_available = 0;
  std::uint16_t next_used = 0;
};
BOOST_DESCRIBE_STRUCT(State, (),
                      (version, index, size, max_size, descriptor_area, driver_area, device_area, features,
                       next_available, next_used))

using Members = boost::describe::describe_members<State, boost::describe::mod_public>;

Error wrong(std::string_view key, std::string_view what, Errc code = Errc::invalid_argument) {
  return {code, operation, fmt::format("/{}: {}", key, what)};
}

json::value json_of(std::uint16_t number) {
  return number;
}
json::value json_of(Hex number) {
  return json::value(fmt::format("{:#x}", number.value));
}

Result<void> read(std::uint16_t& target, std::string_view key, const json::value& value) {
  const auto* plain = value.if_int64();
  if (value.is_uint64() || (plain != nullptr && (*plain < 0 || *plain > 0xffff))) {
    return wrong(key, "must be 0 to 65535", Errc::out_of_range);
  }
  if (plain == nullptr) return wrong(key, "must be a whole number");
  target = static_cast<std::uint16_t>(*plain);
  return {};
}

Result<void> read(Hex& target, std::string_view key, const json::value& value) {
  const auto* text = value.if_string();
  if (text == nullptr) return wrong(key, "must be a string as \"0x1000\"");
  if (!text->starts_with("0x")) return wrong(key, "must begin with 0x");
  const char* const end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data() + 2, end, target.value, 16);
  if (error == std::errc::result_out_of_range) return wrong(key, "does not fit into 64 bits", Errc::out_of_range);
  if (error != std::errc() || stop != end) return wrong(key, "is no hexadecimal number");
  return {};
}

Result<State> read_state(const json::object& object) {
  State state;
  Result<void> result;
  boost::mp11::mp_for_each<Members>([&](auto member) {
    if (!result) return;
    const auto* value = object.if_contains(member.name);
    result = value == nullptr ? wrong(member.name, "is missing") : read(state.*member.pointer, member.name, *value);
  });
  TRIVET_TRY(result);
  for (const auto& [key, value] : object) {
    bool known = false;
    boost::mp11::mp_for_each<Members>([&, name = std::string_view(key)](auto member) { known |= name == member.name; });
    if (!known) return wrong(std::string_view(key).substr(0, 64), "is unknown");
  }
  return state;
}

Result<QueueConfig> read_document(std::string_view document) {
  json::parse_options options;
  options.max_depth = 4;
  json::error_code error;
  const auto value = json::parse(document, error, {}, options);
  if (error) return Error(Errc::malformed, operation, fmt::format("it is not JSON: {}", error.message()));
  const auto* object = value.if_object();
  if (object == nullptr) return wrong("", "must be an object");
  // Before all else: another version may have other keys.
  if (const auto* version = object->if_contains("version"); version != nullptr && *version != this_version) {
    return wrong("version", "this version reads version 1 only", Errc::unsupported);
  }
  TRIVET_ASSIGN(const auto state, read_state(*object));
  QueueConfig config;
  config.index = state.index;
  config.size = state.size;
  config.max_size = state.max_size;
  config.descriptor_area = {state.descriptor_area.value};
  config.driver_area = {state.driver_area.value};
  config.device_area = {state.device_area.value};
  config.features = state.features.value;
  config.next_available = state.next_available;
  config.next_used = state.next_used;
  return config;
}

}  // namespace

std::string to_json(const QueueConfig& config) {
  const State state{this_version,
                    config.index,
                    config.size,
                    config.max_size,
                    {config.descriptor_area.value},
                    {config.driver_area.value},
                    {config.device_area.value},
                    {config.features},
                    config.next_available,
                    config.next_used};
  json::object object;
  boost::mp11::mp_for_each<Members>([&](auto member) { object[member.name] = json_of(state.*member.pointer); });
  return json::serialize(object);
}

Result<QueueConfig> queue_config_from_json(std::string_view document) {
  if (document.size() > most_document) return Error(Errc::malformed, operation, "it is longer than 4 KiB");
  try {
    return read_document(document);
  } catch (const std::exception& thrown) {
    return Error(Errc::no_memory, operation, thrown.what(), Blame::host);
  }
}

}  // namespace trivet::virtio
