// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <type_traits>

#include <trivet/core/error.hpp>
#include <trivet/core/result.hpp>

namespace trivet {
namespace {

static_assert(std::is_trivially_copyable_v<Error>, "returning an error must allocate nothing");

TEST(Error, SaysWhatFailedOnWhatAndWhy) {
  EXPECT_EQ(to_string(Error(Errc::out_of_range, "read guest memory", "0x1000: no memory there")),
            "read guest memory: 0x1000: no memory there (out of range)");
  EXPECT_EQ(to_string(Error(Errc::bad_state, "run")), "run (not possible in this state)");
}

TEST(Error, FromErrnoTakesItsKindAndKeepsTheNumber) {
  const auto error = Error::from_errno(EACCES, "open", "/dev/kvm");
  EXPECT_EQ(error.code(), Errc::permission);
  EXPECT_EQ(error.os_errno(), EACCES);
  EXPECT_EQ(error.blame(), Blame::host);
  EXPECT_EQ(to_string(error), "open: /dev/kvm: Permission denied (errno 13)");

  EXPECT_EQ(Error::from_errno(ENOENT, "open").code(), Errc::not_found);
  EXPECT_EQ(Error::from_errno(EEXIST, "open").code(), Errc::already_exists);
  EXPECT_EQ(Error::from_errno(ENOMEM, "mmap").code(), Errc::no_memory);
  EXPECT_EQ(Error::from_errno(EMFILE, "open").code(), Errc::limit);
  EXPECT_EQ(Error::from_errno(EBUSY, "ioctl").code(), Errc::bad_state);
  EXPECT_EQ(Error::from_errno(ENOTTY, "ioctl").code(), Errc::unsupported);
  EXPECT_EQ(Error::from_errno(EINVAL, "ioctl").code(), Errc::invalid_argument);
  EXPECT_EQ(Error::from_errno(ETIMEDOUT, "poll").code(), Errc::timed_out);
  EXPECT_EQ(Error::from_errno(EIO, "read").code(), Errc::io);
}

TEST(Error, FromAHypervisorShowsItsStatus) {
  const auto error = Error::from_hypervisor(0x3f, "HvCallSetVpRegisters", "vCPU 1");
  EXPECT_EQ(error.code(), Errc::hypervisor);
  EXPECT_EQ(error.hypervisor_status(), 0x3fU);
  EXPECT_EQ(to_string(error), "HvCallSetVpRegisters: vCPU 1: refused by the hypervisor (status 0x3f)");
}

TEST(Error, MalformedBytesAreTheGuestsFaultAndUnsupportedTheCallers) {
  EXPECT_EQ(Error::malformed("pop", "index jumps").blame(), Blame::guest);
  EXPECT_EQ(Error::unsupported("map", "file_memory").code(), Errc::unsupported);
  EXPECT_EQ(Error::unsupported("map", "file_memory").blame(), Blame::caller);
}

TEST(Error, WithinPutsTheContextBeforeTheDetailAndKeepsTheRest) {
  const auto error = Error::from_errno(ENOENT, "open", "No such disk").within("--block path=/d");
  EXPECT_EQ(error.detail(), "--block path=/d: No such disk");
  EXPECT_EQ(error.os_errno(), ENOENT);
  EXPECT_EQ(Error(Errc::io, "read").within("disk").detail(), "disk");
}

TEST(Error, CutsALongDetailAndShowsTheCut) {
  const std::string path(1000, 'p');
  const Error error(Errc::not_found, "open", path);
  EXPECT_LT(error.detail().size(), 300U);
  EXPECT_TRUE(error.detail().ends_with("p..."));
  EXPECT_TRUE(error.within(path).detail().starts_with("ppp"));
  EXPECT_LT(error.within(path).detail().size(), 300U);
}

TEST(Error, EveryCodeHasItsOwnWords) {
  for (int i = 0; i <= static_cast<int>(Errc::hypervisor); ++i) {
    for (int j = 0; j < i; ++j) EXPECT_NE(to_string(static_cast<Errc>(i)), to_string(static_cast<Errc>(j)));
  }
}

Result<int> half(int number) {
  if (number % 2 != 0) return Error(Errc::invalid_argument, "half", "odd");
  return number / 2;
}

Result<int> quarter(int number) {
  TRIVET_ASSIGN(const int first, half(number));
  TRIVET_ASSIGN(const int second, half(first));
  return second;
}

Result<void> check_quarter(int number) {
  TRIVET_TRY(quarter(number));
  return {};
}

TEST(Result, PassesValuesOnAndErrorsUp) {
  EXPECT_EQ(quarter(8).value(), 2);
  ASSERT_FALSE(quarter(6));
  EXPECT_EQ(quarter(6).error().detail(), "odd");
  EXPECT_TRUE(check_quarter(4));
  EXPECT_FALSE(check_quarter(5));
}

TEST(Result, CopiesAndMovesWhatItHoldsAndNothingElse) {
  Result<std::unique_ptr<int>> number = std::make_unique<int>(4);
  Result<std::unique_ptr<int>> moved = std::move(number);
  EXPECT_EQ(**moved, 4);
  static_assert(!std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);

  const Result<std::string> text = std::string("a text that is too long to be kept in place");
  Result<std::string> copy = text;
  EXPECT_EQ(*copy, *text);
  const Result<std::string> failed = Error(Errc::limit, "count", "too many");
  copy = failed;
  EXPECT_EQ(copy.error().detail(), "too many");
  const Result<std::string> failed_copy = copy;
  EXPECT_EQ(to_string(failed_copy.error()), to_string(failed.error()));

  const Result<void> done;
  const Result<void> not_done = failed.error();
  EXPECT_TRUE(Result<void>(done));
  EXPECT_EQ(Result<void>(not_done).error().detail(), "too many");
}

TEST(Result, TakesWhatMapGives) {
  const Result<int> doubled = half(8).map([](int value) { return value * 2; });
  EXPECT_EQ(*doubled, 8);
}

}  // namespace
}  // namespace trivet
