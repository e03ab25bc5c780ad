// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "disk_lifetime.hpp"

#include <array>
#include <charconv>
#include <fcntl.h>
#include <fmt/format.h>
#include <string_view>
#include <unistd.h>

namespace trivet::virtio {
namespace {

/// The next number of an attribute, written 0x01, off its front.
std::optional<std::uint16_t> take_number(std::string_view& text) noexcept {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  if (!text.starts_with("0x")) return std::nullopt;
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data() + 2, text.data() + text.size(), number, 16);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

}  // namespace

DiskLifetimeFiles::DiskLifetimeFiles(const std::string& device)
    : life_time_(::open((device + "/life_time").c_str(), O_RDONLY | O_CLOEXEC)),
      pre_eol_info_(::open((device + "/pre_eol_info").c_str(), O_RDONLY | O_CLOEXEC)) {}

DiskLifetimeFiles DiskLifetimeFiles::of(unsigned major, unsigned minor) {
  const auto folder = fmt::format("/sys/dev/block/{}:{}", major, minor);
  DiskLifetimeFiles disk(folder + "/device");
  return disk.valid() ? std::move(disk) : DiskLifetimeFiles(folder + "/../device");
}

std::optional<DiskLifetime> DiskLifetimeFiles::read() const noexcept {
  std::array<char, 64> text{};
  const auto attribute = [&](const UniqueFd& file) {
    const auto got = ::pread(file.value(), text.data(), text.size(), 0);
    return std::string_view(text.data(), got < 0 ? 0 : static_cast<std::size_t>(got));
  };
  auto life_time = attribute(life_time_);
  const auto worn_a = take_number(life_time);
  const auto worn_b = take_number(life_time);
  auto pre_eol_info = attribute(pre_eol_info_);
  const auto spare = take_number(pre_eol_info);
  if (!worn_a || !worn_b || !spare) return std::nullopt;
  return DiskLifetime{.pre_eol_info = *spare, .worn_a = *worn_a, .worn_b = *worn_b};
}

}  // namespace trivet::virtio
