// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "described.hpp"

#include <algorithm>

namespace trivet::vmm::described {
namespace {

constexpr std::size_t most_text = 65536;
constexpr std::size_t most_keys = 64;

/// A value from `text` at `at`, which moves behind it: up to a comma, or a whole "quoted" one.
Result<std::string> take_value(std::string_view where, std::string_view text, std::size_t& at) {
  if (at >= text.size() || text[at] != '"') {
    const auto end = std::min(text.find(',', at), text.size());
    std::string value(text.substr(at, end - at));
    at = end;
    return value;
  }
  std::string value;
  for (++at; at < text.size(); ++at) {
    if (text[at] == '"') {
      ++at;
      if (at < text.size() && text[at] != ',') return wrong(where, "text after a closing quote");
      return value;
    }
    if (text[at] == '\\' && at + 1 < text.size() && (text[at + 1] == '"' || text[at + 1] == '\\')) ++at;
    value += text[at];
  }
  return wrong(where, "a quote is not closed");
}

}  // namespace

Result<std::uint64_t> number_from_text(std::string_view where, std::string_view text) {
  auto digits = text;
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    digits.remove_prefix(2);
    base = 16;
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error == std::errc::result_out_of_range) {
    return wrong(where, fmt::format("{} is too large", text), Errc::out_of_range);
  }
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return wrong(where, fmt::format("'{}' is not a number (decimal, or hexadecimal with 0x)", text));
  }
  return value;
}

Result<bool> bool_from_text(std::string_view where, std::string_view text) {
  if (text == "on" || text == "true" || text == "yes") return true;
  if (text == "off" || text == "false" || text == "no") return false;
  return wrong(where, fmt::format("'{}' is neither on nor off", text));
}

Result<KeyValues> split_group(std::string_view where, std::string_view text) {
  if (text.size() > most_text) return wrong(where, "longer than 64 KiB", Errc::out_of_range);
  KeyValues pairs;
  for (std::size_t at = 0; at < text.size(); ++at) {  // the step is over the comma
    const auto end = std::min(text.find_first_of("=,", at), text.size());
    std::string key(text.substr(at, end - at));
    if (end == text.size() || text[end] == ',') {
      const auto* hint = pairs.empty() ? "" : " (put a value that has commas in double quotes)";
      return wrong(where, fmt::format("'{}' is not key=value{}", key, hint));
    }
    at = end + 1;
    TRIVET_ASSIGN(auto value, take_value(where, text, at));
    if (pairs.size() == most_keys) return wrong(where, "more than 64 keys", Errc::out_of_range);
    if (std::any_of(pairs.begin(), pairs.end(), [&](const auto& pair) { return pair.first == key; })) {
      return wrong(where, fmt::format("key '{}' is given twice", key));
    }
    pairs.emplace_back(std::move(key), std::move(value));
  }
  if (text.ends_with(',')) return wrong(where, "ends in a comma");
  return pairs;
}

Result<std::uint64_t> number_from_json(std::string_view where, const boost::json::value& value) {
  if (const auto* number = value.if_uint64()) return *number;
  if (const auto* number = value.if_int64()) {
    if (*number >= 0) return static_cast<std::uint64_t>(*number);
    return wrong(where, fmt::format("{} is negative", *number), Errc::out_of_range);
  }
  return wrong(where, "must be a whole number");
}

}  // namespace trivet::vmm::described
