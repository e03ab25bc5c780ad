// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

// Reads any struct that Boost.Describe knows, from an option group or from JSON. Adding a key is adding a member.

#include <array>
#include <charconv>
#include <concepts>
#include <fmt/format.h>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/describe/members.hpp>
#include <boost/json/value.hpp>
#include <boost/mp11/algorithm.hpp>

#include <trivet/core/result.hpp>

namespace trivet::vmm::described {

template <class T>
using Members = boost::describe::describe_members<T, boost::describe::mod_public>;

template <class T>
concept Struct = requires {
  typename Members<T>;
}
&&std::is_class_v<T>;

template <class T>
concept Number = std::unsigned_integral<T> && !std::same_as<T, bool>;

template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;

/// Calls `visit(member)` for the member of `T` with this name; false when there is none.
template <Struct T, class Visit>
bool with_member(std::string_view name, Visit&& visit) {
  bool found = false;
  boost::mp11::mp_for_each<Members<T>>([&](auto member) {
    if (!found && name == member.name) {
      found = true;
      visit(member);
    }
  });
  return found;
}

/// "path, read_only, id".
template <Struct T>
std::string names(std::string_view separator = ", ") {
  std::string all;
  boost::mp11::mp_for_each<Members<T>>([&](auto member) {
    if (!all.empty()) all += separator;
    all += member.name;
  });
  return all;
}

inline Error wrong(std::string_view where, std::string_view what, Errc code = Errc::invalid_argument) {
  return {code, "read the configuration", fmt::format("{}: {}", where, what)};
}

// --- text ---

Result<std::uint64_t> number_from_text(std::string_view where, std::string_view text);
Result<bool> bool_from_text(std::string_view where, std::string_view text);

template <class T>
Result<void> from_text(T& target, std::string_view where, std::string_view text) {
  if constexpr (is_optional<T>) {
    typename T::value_type value{};
    TRIVET_TRY(from_text(value, where, text));
    target = std::move(value);
  } else if constexpr (std::same_as<T, bool>) {
    TRIVET_ASSIGN(target, bool_from_text(where, text));
  } else if constexpr (Number<T>) {
    TRIVET_ASSIGN(const auto value, number_from_text(where, text));
    if (!std::in_range<T>(value)) return wrong(where, fmt::format("{} is too large", text), Errc::out_of_range);
    target = static_cast<T>(value);
  } else {
    static_assert(std::same_as<T, std::string>);
    if (text.find('\0') != std::string_view::npos) return wrong(where, "a NUL byte in the value");
    target = std::string(text);
  }
  return {};
}

using KeyValues = std::vector<std::pair<std::string, std::string>>;

/// Splits "a=1,b="x,y"". Bounded: 64 KiB of text, 64 keys, each once.
Result<KeyValues> split_group(std::string_view where, std::string_view text);

template <Struct T>
Result<void> from_group(T& target, std::string_view where, std::string_view text) {
  TRIVET_ASSIGN(const auto pairs, split_group(where, text));
  for (const auto& pair : pairs) {
    Result<void> result;
    const bool known = with_member<T>(pair.first, [&](auto member) {
      result = from_text(target.*member.pointer, fmt::format("{} {}", where, pair.first), pair.second);
    });
    if (!known) return wrong(where, fmt::format("unknown key '{}'; known: {}", pair.first, names<T>()));
    TRIVET_TRY(result);
  }
  return {};
}

// --- JSON ---

Result<std::uint64_t> number_from_json(std::string_view where, const boost::json::value& value);

template <class T>
Result<void> from_json(T& target, const std::string& where, const boost::json::value& value) {
  if constexpr (is_optional<T>) {
    typename T::value_type inner{};
    TRIVET_TRY(from_json(inner, where, value));
    target = std::move(inner);
  } else if constexpr (is_list<T>) {
    constexpr std::size_t most = 64;
    const auto* array = value.if_array();
    if (array == nullptr) return wrong(where, "must be a list");
    if (array->size() > most) return wrong(where, fmt::format("more than {} entries", most), Errc::out_of_range);
    for (std::size_t i = 0; i < array->size(); ++i) {
      typename T::value_type entry{};
      TRIVET_TRY(from_json(entry, fmt::format("{}/{}", where, i), (*array)[i]));
      target.push_back(std::move(entry));
    }
  } else if constexpr (std::same_as<T, bool>) {
    const auto* flag = value.if_bool();
    if (flag == nullptr) return wrong(where, "must be true or false");
    target = *flag;
  } else if constexpr (Number<T>) {
    TRIVET_ASSIGN(const auto number, number_from_json(where, value));
    if (!std::in_range<T>(number)) return wrong(where, fmt::format("{} is too large", number), Errc::out_of_range);
    target = static_cast<T>(number);
  } else if constexpr (std::same_as<T, std::string>) {
    const auto* text = value.if_string();
    if (text == nullptr) return wrong(where, "must be a string");
    if (text->find('\0') != boost::json::string::npos) return wrong(where, "a NUL byte in the value");
    target.assign(text->data(), text->size());
  } else {
    static_assert(Struct<T>);
    const auto* object = value.if_object();
    if (object == nullptr) return wrong(where.empty() ? "/" : where, "must be an object");
    for (const auto& entry : *object) {
      const std::string_view key(entry.key().data(), entry.key().size());
      const auto path = fmt::format("{}/{}", where, key);
      Result<void> result;
      const bool known =
          with_member<T>(key, [&](auto member) { result = from_json(target.*member.pointer, path, entry.value()); });
      if (!known) return wrong(path, fmt::format("unknown key; known: {}", names<T>()));
      TRIVET_TRY(result);
    }
  }
  return {};
}

}  // namespace trivet::vmm::described
