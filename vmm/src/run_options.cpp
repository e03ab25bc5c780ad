// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/algorithm/string/replace.hpp>
#include <boost/program_options/errors.hpp>
#include <boost/program_options/options_description.hpp>
#include <boost/program_options/parsers.hpp>
#include <boost/program_options/value_semantic.hpp>

#include <trivet/vmm/run_options.hpp>

namespace trivet::vmm {
namespace {

namespace po = boost::program_options;
constexpr auto operation = "read the options";

po::options_description description() {
  po::options_description all;
  auto add = all.add_options();
  add("config", po::value<std::string>());
  add("stats", "");
  add("help,h", "");
  for (const auto& option : option_infos()) add(option.name.c_str(), po::value<std::string>());
  return all;
}

/// The same words with an empty group behind each option that stands alone and may: the parser takes whatever follows
/// an option for its value.
Result<std::vector<std::string>> with_groups(std::span<const std::string> arguments,
                                             const std::vector<OptionInfo>& infos) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto& word = arguments[i];
    words.push_back(word);
    const auto info = std::find_if(infos.begin(), infos.end(), [&](const auto& it) { return word == "--" + it.name; });
    if (info == infos.end()) continue;
    const bool alone = i + 1 == arguments.size() || arguments[i + 1].starts_with("--");
    if (alone && !info->bare) return Error(Errc::invalid_argument, operation, fmt::format("{} needs a value", word));
    if (alone) {
      words.emplace_back();
    } else {
      words.push_back(arguments[++i]);
    }
  }
  return words;
}

/// The library's sentence, with the option's name put in once. Its own what() never ends over a name that holds the
/// placeholder.
std::string sentence(const po::error_with_option_name& failure) {
  const auto& base = static_cast<const std::logic_error&>(failure);
  return boost::replace_all_copy(std::string(base.std::logic_error::what()), "%canonical_option%",
                                 failure.get_option_name());
}

Result<std::vector<po::option>> split(std::span<const std::string> arguments, const std::vector<OptionInfo>& infos) {
  namespace style = po::command_line_style;
  TRIVET_ASSIGN(const auto words, with_groups(arguments, infos));
  try {
    const auto known = description();
    return po::command_line_parser(words)
        .options(known)
        .style(style::unix_style & ~style::allow_guessing)
        .run()
        .options;
  } catch (const po::error_with_option_name& failure) {
    return Error(Errc::invalid_argument, operation, sentence(failure));
  } catch (const po::error& failure) {
    return Error(Errc::invalid_argument, operation, failure.what());
  }
}

}  // namespace

Result<RunOptions> parse_run_options(std::span<const std::string> arguments) {
  const auto infos = option_infos();
  TRIVET_ASSIGN(const auto given, split(arguments, infos));
  RunOptions options;
  std::vector<std::string> once;
  for (const auto& option : given) {
    if (option.position_key >= 0) {
      return Error(Errc::invalid_argument, operation, fmt::format("unexpected argument '{}'", option.value.front()));
    }
    const auto info =
        std::find_if(infos.begin(), infos.end(), [&](const auto& it) { return it.name == option.string_key; });
    if (info != infos.end() && info->repeatable) continue;
    if (std::find(once.begin(), once.end(), option.string_key) != once.end()) {
      return Error(Errc::invalid_argument, operation, fmt::format("--{} is given twice", option.string_key));
    }
    once.push_back(option.string_key);
  }
  for (const auto& option : given) {
    if (option.string_key == "stats") options.stats = true;
    if (option.string_key == "help") options.help = true;
    if (option.string_key == "config") TRIVET_TRY(apply_json_file(options.config, option.value.front()));
  }
  for (const auto& option : given) {
    if (option.string_key == "stats" || option.string_key == "help" || option.string_key == "config") continue;
    TRIVET_TRY(apply_option(options.config, option.string_key, option.value.front()));
  }
  if (!options.help) TRIVET_TRY(validate(options.config));
  return options;
}

std::string run_options_help() {
  std::string text;
  for (const auto& option : option_infos()) {
    const auto* often = !option.repeatable ? (option.bare ? "   (may stand alone)" : "")
                        : option.bare      ? "   (repeatable; may stand alone)"
                                           : "   (repeatable)";
    text += fmt::format("  --{} {}{}\n", option.name, option.keys.empty() ? "NAME" : option.keys, often);
  }
  return text;
}

}  // namespace trivet::vmm
