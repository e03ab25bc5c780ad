// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>

#include <trivet/vmm/loader/command_line.hpp>

namespace trivet::vmm {
namespace {

constexpr auto operation = "kernel command line";
constexpr std::string_view separator = "--";

bool printable(char c) {
  return c >= ' ' && c <= '~';
}

Result<void> check_text(std::string_view text) {
  const auto bad = std::find_if_not(text.begin(), text.end(), printable);
  if (bad != text.end()) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("character {} has code {:#04x}, which is not printable ASCII", bad - text.begin() + 1,
                             static_cast<unsigned char>(*bad)));
  }
  if (std::count(text.begin(), text.end(), '"') % 2 != 0) {
    return Error(Errc::invalid_argument, operation, "a double quote is opened and never closed");
  }
  return {};
}

std::string_view trim(std::string_view text) {
  const auto first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

/// Where the word "--" stands outside quotes (as the kernel splits words), or npos.
std::size_t find_separator(std::string_view text) {
  bool quoted = false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '"') quoted = !quoted;
    const bool starts_word = at == 0 || text[at - 1] == ' ';
    if (quoted || !starts_word || text.substr(at, separator.size()) != separator) continue;
    const auto end = at + separator.size();
    if (end == text.size() || text[end] == ' ') return at;
  }
  return std::string_view::npos;
}

}  // namespace

CommandLine::CommandLine(std::size_t limit) : limit_(std::min(limit, greatest_limit)) {}

Result<CommandLine> CommandLine::create(std::string_view text, std::size_t limit) {
  CommandLine line(limit);
  TRIVET_TRY(line.append(text));
  return line;
}

std::size_t CommandLine::size() const noexcept {
  if (init_.empty()) return kernel_.size();
  return kernel_.size() + (kernel_.empty() ? 0 : 1) + separator.size() + 1 + init_.size();
}

std::string CommandLine::text() const {
  if (init_.empty()) return kernel_;
  return fmt::format("{}{}{} {}", kernel_, kernel_.empty() ? "" : " ", separator, init_);
}

Result<void> CommandLine::add(std::string& part, std::string_view words) {
  words = trim(words);
  if (words.empty()) return {};
  const auto before = part.size();
  if (!part.empty()) part += ' ';
  part += words;
  if (size() > limit_) {
    const auto wanted = size();
    part.resize(before);
    return Error(Errc::limit, operation, fmt::format("{} characters long; at most {} are possible", wanted, limit_));
  }
  return {};
}

Result<void> CommandLine::append(std::string_view words) {
  TRIVET_TRY(check_text(words));
  const auto at = find_separator(words);
  if (at == std::string_view::npos) return add(kernel_, words);
  const auto before = kernel_;
  TRIVET_TRY(add(kernel_, words.substr(0, at)));
  auto result = add(init_, words.substr(at + separator.size()));
  if (!result) kernel_ = before;
  return result;
}

Result<void> CommandLine::append_init_arguments(std::string_view words) {
  TRIVET_TRY(check_text(words));
  return add(init_, words);
}

Result<void> CommandLine::insert(std::string_view key, std::string_view value) {
  if (key.empty() || key == separator || key.find_first_of(" =\"") != std::string_view::npos) {
    return Error(Errc::invalid_argument, operation, fmt::format("'{}' cannot be the name of a parameter", key));
  }
  if (value.find('"') != std::string_view::npos) {
    return Error(Errc::invalid_argument, operation, fmt::format("the value of {} has a double quote", key));
  }
  const auto quote = value.find(' ') != std::string_view::npos ? "\"" : "";
  const auto words = fmt::format("{}={}{}{}", key, quote, value, quote);
  TRIVET_TRY(check_text(words));
  return add(kernel_, words);
}

Result<void> CommandLine::insert_virtio_mmio(const GuestRange& range, std::uint32_t irq,
                                             std::optional<std::uint32_t> id) {
  if (!range.valid()) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("virtio_mmio.device: {:#x} bytes at {:#x} is no range", range.size, range.start.value));
  }
  const auto suffix = id ? fmt::format(":{}", *id) : std::string{};
  // The kernel reads the size with memparse: K where it is exact.
  const auto size = range.size % 1024 == 0 ? fmt::format("{}K", range.size / 1024) : fmt::format("{:#x}", range.size);
  return insert("virtio_mmio.device", fmt::format("{}@{:#x}:{}{}", size, range.start.value, irq, suffix));
}

}  // namespace trivet::vmm
