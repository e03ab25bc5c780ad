// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/stream_parser.hpp>

#include <trivet/core/unique_fd.hpp>
#include <trivet/vmm/config.hpp>

#include "described.hpp"

namespace trivet::vmm {
namespace {

constexpr std::size_t most_document = std::size_t{1} << 20;

template <class Value>
Result<void> apply_member(Value& member, std::string_view name, std::string_view text) {
  const auto where = fmt::format("--{}", name);
  if constexpr (described::is_list<Value>) {
    typename Value::value_type entry{};
    TRIVET_TRY(described::from_group(entry, where, text));
    member.push_back(std::move(entry));
    return {};
  } else if constexpr (described::is_optional<Value>) {
    return described::from_group(member.emplace(), where, text);
  } else if constexpr (described::Struct<Value>) {
    return described::from_group(member, where, text);
  } else {
    return described::from_text(member, where, text);
  }
}

template <class Value>
std::string keys_of() {
  if constexpr (described::is_list<Value> || described::is_optional<Value>) {
    return keys_of<typename Value::value_type>();
  } else if constexpr (described::Struct<Value>) {
    return described::names<Value>("=,") + "=";
  } else {
    return {};
  }
}

}  // namespace

Result<void> apply_option(Config& config, std::string_view name, std::string_view group) {
  Result<void> result;
  const bool known = described::with_member<Config>(
      name, [&](auto member) { result = apply_member(config.*member.pointer, name, group); });
  if (!known) return Error(Errc::not_found, "read the options", fmt::format("there is no option --{}", name));
  return result;
}

std::vector<OptionInfo> option_infos() {
  std::vector<OptionInfo> infos;
  boost::mp11::mp_for_each<described::Members<Config>>([&](auto member) {
    using Value = std::remove_cvref_t<decltype(std::declval<Config>().*member.pointer)>;
    OptionInfo info{member.name, keys_of<Value>(), described::is_list<Value>, false};
    if constexpr (described::is_list<Value>) {
      Config with_one;
      (with_one.*member.pointer).emplace_back();
      info.bare = validate(with_one).has_value();
    } else if constexpr (described::is_optional<Value>) {
      Config with_it;
      (with_it.*member.pointer).emplace();
      info.bare = validate(with_it).has_value();
    }
    infos.push_back(std::move(info));
  });
  return infos;
}

Result<void> apply_json(Config& config, std::string_view document) {
  constexpr auto operation = "read the configuration";
  if (document.size() > most_document) return Error(Errc::limit, operation, "the document is larger than 1 MiB");
  try {
    boost::json::stream_parser parser;  // nesting is bounded by its default of 32 levels
    boost::json::error_code error;
    const auto used = parser.write_some(document.data(), document.size(), error);
    if (!error && used == document.size()) parser.finish(error);
    if (error || used != document.size()) {
      return Error(Errc::malformed, operation,
                   fmt::format("not JSON at byte {}: {}", used, error ? error.message() : "text after the end"));
    }
    return described::from_json(config, "", parser.release());
  } catch (const std::exception& failure) {  // out of memory; Boost.JSON has no other way to say so
    return Error(Errc::no_memory, operation, failure.what(), Blame::host);
  }
}

Result<void> apply_json_file(Config& config, const std::string& path) {
  constexpr auto operation = "open the configuration";
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return Error::from_errno(errno, operation, path);
  std::string document;
  while (document.size() <= most_document) {
    std::array<char, 4096> part;
    const auto got = ::read(fd.value(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::from_errno(errno, operation, path);
    if (got == 0) break;
    document.append(part.data(), static_cast<std::size_t>(got));
  }
  const auto applied = apply_json(config, document);
  if (!applied) return applied.error().within(path);
  return {};
}

}  // namespace trivet::vmm
