// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <system_error>

#include <trivet/core/error.hpp>

namespace trivet {
namespace {

Errc code_of(int os_errno) {
  switch (os_errno) {
    case EPERM:
    case EACCES:
      return Errc::permission;
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return Errc::not_found;
    case EEXIST:
      return Errc::already_exists;
    case ENOMEM:
      return Errc::no_memory;
    case EMFILE:
    case ENFILE:
    case ENOSPC:
    case E2BIG:
      return Errc::limit;
    case EBUSY:
      return Errc::bad_state;
    case ENOSYS:
    case ENOTTY:
    case EOPNOTSUPP:
      return Errc::unsupported;
    case EINVAL:
      return Errc::invalid_argument;
    case ETIMEDOUT:
      return Errc::timed_out;
    default:
      return Errc::io;
  }
}

}  // namespace

std::string_view to_string(Errc code) {
  switch (code) {
    case Errc::invalid_argument:
      return "invalid argument";
    case Errc::bad_state:
      return "not possible in this state";
    case Errc::unsupported:
      return "unsupported";
    case Errc::not_found:
      return "not found";
    case Errc::already_exists:
      return "already exists";
    case Errc::out_of_range:
      return "out of range";
    case Errc::permission:
      return "permission denied";
    case Errc::no_memory:
      return "out of memory";
    case Errc::limit:
      return "limit reached";
    case Errc::malformed:
      return "malformed";
    case Errc::timed_out:
      return "timed out";
    case Errc::io:
      return "input/output error";
    case Errc::hypervisor:
      return "refused by the hypervisor";
  }
  return "unknown error";
}

Error::Error(Errc code, const char* operation, std::string_view detail, Blame blame) noexcept
    : code_(code), blame_(blame), operation_(operation) {
  constexpr std::string_view cut = "...";
  const auto room = detail_.size() - 1;  // the last byte stays 0
  if (detail.size() <= room) {
    std::copy(detail.begin(), detail.end(), detail_.begin());
  } else {
    const auto kept = detail.substr(0, room - cut.size());
    std::copy(cut.begin(), cut.end(), std::copy(kept.begin(), kept.end(), detail_.begin()));
  }
}

Error Error::from_errno(int os_errno, const char* operation, std::string_view detail) noexcept {
  Error error(code_of(os_errno), operation, detail, Blame::host);
  error.os_errno_ = os_errno;
  return error;
}

Error Error::from_hypervisor(std::uint64_t status, const char* operation, std::string_view detail) noexcept {
  Error error(Errc::hypervisor, operation, detail, Blame::host);
  error.hypervisor_status_ = status;
  return error;
}

Error Error::malformed(const char* operation, std::string_view detail) noexcept {
  return {Errc::malformed, operation, detail, Blame::guest};
}

Error Error::unsupported(const char* operation, std::string_view detail) noexcept {
  return {Errc::unsupported, operation, detail, Blame::caller};
}

Error Error::within(std::string_view context) const noexcept {
  std::array<char, sizeof(detail_)> text{};
  const auto end =
      fmt::format_to_n(text.data(), text.size() - 1, "{}{}{}", context, detail().empty() ? "" : ": ", detail());
  Error result = *this;
  result.detail_.fill('\0');
  std::copy(text.data(), end.out, result.detail_.data());
  return result;
}

std::string to_string(const Error& error) {
  std::string text = error.operation();
  if (!error.detail().empty()) text += fmt::format(": {}", error.detail());
  if (error.os_errno() != 0) {
    text += fmt::format(": {} (errno {})", std::generic_category().message(error.os_errno()), error.os_errno());
  } else if (error.code() == Errc::hypervisor) {
    text += fmt::format(": {} (status {:#x})", to_string(error.code()), error.hypervisor_status());
  } else {
    text += fmt::format(" ({})", to_string(error.code()));
  }
  return text;
}

}  // namespace trivet
