// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <charconv>

#include <trivet/mshv_sim/simulator.hpp>

namespace trivet::mshv_sim {
namespace {

constexpr std::array<std::string_view, 9> mutations{"none",          "wrong_gpa",    "wrong_gva",
                                                    "wrong_segment", "wrong_length", "wrong_string",
                                                    "lost_irqfd",    "lost_dirty",   "lost_rollback"};

bool parse_word(Knobs& knobs, std::string_view word) {
  const auto equals = word.find('=');
  const auto name = word.substr(0, equals);
  const auto value = equals == std::string_view::npos ? std::string_view{} : word.substr(equals + 1);
  if (name == "mutation") {
    for (std::size_t i = 0; i < mutations.size(); ++i) {
      if (mutations[i] != value) continue;
      knobs.mutation = static_cast<Mutation>(i);
      return true;
    }
    return false;
  }
  if (equals == std::string_view::npos) {
    if (name == "no-bytes") return knobs.no_bytes = true;
    if (name == "no-gva") return knobs.no_gva = true;
    if (name == "no-length") return knobs.no_length = true;
    if (name == "no-register-page") return knobs.no_register_page = true;
    return false;
  }
  unsigned* number = nullptr;
  if (name == "flaky-register-page") number = &knobs.flaky_register_page;
  if (name == "again-every") number = &knobs.again_every;
  if (name == "most-repetitions") number = &knobs.most_repetitions;
  if (name == "interrupt-every") number = &knobs.interrupt_every;
  if (number == nullptr) return false;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), *number);
  return error == std::errc{} && end == value.data() + value.size() && *number != 0;
}

}  // namespace

std::string_view to_string(Mutation mutation) {
  return mutations[static_cast<std::size_t>(mutation)];
}

bool Knobs::parse(std::string_view words, std::string& wrong) {
  while (!words.empty()) {
    const auto comma = words.find(',');
    const auto word = words.substr(0, comma);
    if (!word.empty() && !parse_word(*this, word)) {
      wrong = word;
      return false;
    }
    words = comma == std::string_view::npos ? std::string_view{} : words.substr(comma + 1);
  }
  return true;
}

}  // namespace trivet::mshv_sim
