// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <poll.h>

#include <trivet/core/event.hpp>

namespace trivet {
namespace {

bool readable(int fd) {
  pollfd wanted{fd, POLLIN, 0};
  return ::poll(&wanted, 1, 0) == 1;
}

TEST(Event, CountsSignalsUntilTaken) {
  const auto event = Event::create();
  ASSERT_TRUE(event);
  EXPECT_FALSE(readable(event->fd()));
  EXPECT_EQ(event->take(), 0U);
  event->signal();
  event->signal();
  EXPECT_TRUE(readable(event->fd()));
  EXPECT_EQ(event->take(), 2U);
  EXPECT_EQ(event->take(), 0U);
  EXPECT_FALSE(readable(event->fd()));
}

TEST(UniqueFd, ClosesWhatItOwnsOnceAndHandsOverByMove) {
  auto event = Event::create();
  ASSERT_TRUE(event);
  const int fd = event->fd();
  {
    UniqueFd first(::dup(fd));
    UniqueFd second(std::move(first));
    EXPECT_TRUE(second.valid());
    const int copy = second.value();
    first = std::move(second);
    EXPECT_EQ(first.value(), copy);
    EXPECT_EQ(first.release(), copy);
    EXPECT_FALSE(first.valid());
    second.reset(copy);
  }
  event->signal();
  EXPECT_EQ(event->take(), 1U);
}

}  // namespace
}  // namespace trivet
