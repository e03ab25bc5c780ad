// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

#include <trivet/test/driver.hpp>
#include <trivet/virtio/queue_state.hpp>

namespace trivet::virtio {
namespace {

using testing::AllOf;
using testing::HasSubstr;

QueueConfig some() {
  QueueConfig config;
  config.index = 3;
  config.size = 200;
  config.max_size = 256;
  config.descriptor_area = {0x1000};
  config.driver_area = {0xfffffffffffffffc};
  config.device_area = {0};
  config.features = abi::f_ring_packed | abi::f_version_1;
  config.next_available = 0x8007;
  config.next_used = 7;
  return config;
}

/// `some` with one part of its text replaced; the error.
std::string refusal(std::string_view part, std::string_view by, Errc code = Errc::invalid_argument) {
  auto text = to_json(some());
  const auto at = text.find(part);
  EXPECT_NE(at, std::string::npos) << part;
  text.replace(at, part.size(), by);
  const auto read = queue_config_from_json(text);
  if (read) return "accepted";
  EXPECT_EQ(read.error().code(), code) << to_string(read.error());
  EXPECT_EQ(read.error().blame(), Blame::caller);
  return to_string(read.error());
}

TEST(QueueState, IsReadable) {
  EXPECT_EQ(to_json(some()), R"({"version":1,"index":3,"size":200,"max_size":256,"descriptor_area":"0x1000",)"
                             R"("driver_area":"0xfffffffffffffffc","device_area":"0x0","features":"0x500000000",)"
                             R"("next_available":32775,"next_used":7})");
}

TEST(QueueState, ComesBackAsItWas) {
  EXPECT_EQ(*queue_config_from_json(to_json(some())), some());
  EXPECT_EQ(*queue_config_from_json(to_json({})), QueueConfig{});
  EXPECT_EQ(*queue_config_from_json("  " + to_json(some()) + "\n"), some());
}

TEST(QueueState, WhatDoesNotFitIsRefusedWithItsPath) {
  EXPECT_THAT(refusal("200", "65536", Errc::out_of_range), AllOf(HasSubstr("/size"), HasSubstr("0 to 65535")));
  EXPECT_THAT(refusal("200", "-1", Errc::out_of_range), HasSubstr("/size"));
  EXPECT_THAT(refusal("200", "18446744073709551615", Errc::out_of_range), HasSubstr("/size"));
  EXPECT_THAT(refusal("200", "1.5"), AllOf(HasSubstr("/size"), HasSubstr("whole number")));
  EXPECT_THAT(refusal("200", "\"200\""), HasSubstr("/size"));
  EXPECT_THAT(refusal("\"0x1000\"", "4096"), AllOf(HasSubstr("/descriptor_area"), HasSubstr("string")));
  EXPECT_THAT(refusal("0x1000", "1000"), AllOf(HasSubstr("/descriptor_area"), HasSubstr("0x")));
  EXPECT_THAT(refusal("0x1000", "0x10g0"), AllOf(HasSubstr("/descriptor_area"), HasSubstr("hexadecimal")));
  EXPECT_THAT(refusal("0x1000", "0x"), HasSubstr("/descriptor_area"));
  EXPECT_THAT(refusal("0x1000", "0x-1"), HasSubstr("/descriptor_area"));
  EXPECT_THAT(refusal("0x1000", "0x10000000000000000", Errc::out_of_range), HasSubstr("64 bits"));
}

TEST(QueueState, KeysAreThoseThatThereAre) {
  EXPECT_THAT(refusal(",\"next_used\":7", ""), HasSubstr("/next_used: is missing"));
  EXPECT_THAT(refusal("\"index\":3", "\"index\":3,\"color\":1"), HasSubstr("/color: is unknown"));
  EXPECT_THAT(refusal("\"version\":1", "\"version\":2", Errc::unsupported), HasSubstr("/version"));
  EXPECT_THAT(refusal("\"version\":1,", ""), HasSubstr("/version: is missing"));
}

TEST(QueueState, WhatIsNoDocumentIsRefused) {
  for (const std::string text : {"", "{", "[]", "1", "null", "{}x", "[[[[[[[[1]]]]]]]]"}) {
    EXPECT_FALSE(queue_config_from_json(text)) << text;
  }
  std::string long_one(5000, ' ');
  long_one.append("{}");
  EXPECT_EQ(queue_config_from_json(long_one).error().code(), Errc::malformed);
}

/// Of each ring: saved as text, made again from it, and the next chain comes.
TEST(QueueState, AQueueGoesOnFromIt) {
  for (const auto& ring : {test::split_ring, test::packed_ring, test::split_in_order, test::packed_in_order}) {
    test::TestGuest guest;
    test::Driver driver(guest, 4, ring.features);
    auto queue = driver.queue();
    for (int i = 0; i < 7; ++i) {
      ASSERT_TRUE(driver.add({{{0x1000}, 1, true}}));
      ASSERT_TRUE(queue.push_used((*queue.pop())->id(), 1));
      ASSERT_TRUE(driver.take_used());
    }
    auto again = *Queue::create(*queue_config_from_json(to_json(queue.config())), guest.map());
    const auto id = driver.add({{{0x2000}, 1, true}});
    auto chain = **again.pop();
    EXPECT_EQ((*chain.next())->address.value, 0x2000U) << ring.name;
    ASSERT_TRUE(again.push_used(chain.id(), 1));
    EXPECT_EQ(driver.take_used(), (test::Used{*id, 1})) << ring.name;
  }
}

}  // namespace
}  // namespace trivet::virtio
