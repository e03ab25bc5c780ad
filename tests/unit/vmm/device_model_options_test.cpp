// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <vector>

#include <trivet/vmm/device_model_options.hpp>

namespace trivet::vmm {
namespace {

using testing::HasSubstr;

std::string refusal(const std::vector<std::string>& words, Errc code) {
  const auto options = parse_device_model_options(words);
  if (options) return "accepted";
  EXPECT_EQ(options.error().code(), code);
  return to_string(options.error());
}

TEST(DeviceModelOptions, TheDomainAndItsDevices) {
  const std::vector<std::string> words{
      "--domid", "7",         "--first-device=20", "--block", "path=/disk,read_only=on",
      "--rng",   "--console", "output=/log",       "--net",   "tap=t0,mtu=9000"};
  const auto options = parse_device_model_options(words);
  ASSERT_TRUE(options) << to_string(options.error());
  EXPECT_EQ(options->config.id, 7U);
  EXPECT_EQ(options->config.first_device, 20);
  EXPECT_EQ(options->config.hypervisor, "xen");
  ASSERT_EQ(options->config.block.size(), 1U);
  EXPECT_EQ(options->config.block[0].path, "/disk");
  EXPECT_TRUE(options->config.block[0].read_only);
  EXPECT_EQ(options->config.rng.size(), 1U);
  ASSERT_EQ(options->config.console.size(), 1U);
  EXPECT_EQ(options->config.console[0].output, "/log");
  ASSERT_EQ(options->config.net.size(), 1U);
  EXPECT_EQ(options->config.net[0].tap, "t0");
  EXPECT_EQ(options->config.net[0].mtu, 9000U);
  EXPECT_FALSE(options->config.net[0].mac.empty()) << "else a domain that takes another's place would have another";
  EXPECT_FALSE(options->help);
}

TEST(DeviceModelOptions, WhatADomainDoesNotGetIsSaidWithTheReason) {
  EXPECT_THAT(refusal({"--domid", "7", "--vsock", "path=/v"}, Errc::unsupported),
              HasSubstr("dm has no --vsock: the process that serves a domain has given up its privileges, and one that "
                        "may connect to a Unix socket may connect to xenstored's"));
  EXPECT_THAT(refusal({"--domid", "7", "--balloon=target_mib=1"}, Errc::unsupported),
              HasSubstr("dm has no --balloon: the domain's pages are Xen's: xl mem-set takes some back"));
  EXPECT_THAT(refusal({"--domid", "7", "--kernel", "path=/k"}, Errc::invalid_argument),
              HasSubstr("dm has no option --kernel"));
  for (const auto* name : {"vsock", "balloon"}) {
    EXPECT_THAT(device_model_options_help(), testing::Not(HasSubstr(name))) << "nor is it offered";
  }
}

TEST(DeviceModelOptions, NumbersOutOfBoundsAreRefused) {
  for (const auto* id : {"0", "32752", "65537", "-1", "linux", "7 "}) {
    EXPECT_THAT(refusal({"--domid", id, "--rng"}, Errc::out_of_range), HasSubstr(id));
  }
  for (const auto* device : {"0", "32", "256"}) {
    EXPECT_THAT(refusal({"--domid", "7", "--first-device", device}, Errc::out_of_range), HasSubstr("from 1 to 31"));
  }
  EXPECT_THAT(refusal({"--rng"}, Errc::invalid_argument), HasSubstr("--domid is missing"));
  EXPECT_THAT(refusal({"--rng", "--domid"}, Errc::invalid_argument), HasSubstr("--domid takes a number"));
  EXPECT_THAT(refusal({"--domid", "7", "--domid=8"}, Errc::invalid_argument), HasSubstr("given twice"));
}

}  // namespace
}  // namespace trivet::vmm
