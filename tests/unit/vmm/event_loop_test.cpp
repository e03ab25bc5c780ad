// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <future>
#include <gtest/gtest.h>
#include <memory>
#include <sched.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/temp_file.hpp>
#include <trivet/vmm/event_loop.hpp>

#include "escape_filter.hpp"
#include "input_stream.hpp"
#include "output_stream.hpp"

namespace trivet::vmm {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    reader.reset(ends[0]);
    writer.reset(ends[1]);
  }
  UniqueFd reader;
  UniqueFd writer;
};

ConstBytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// Waits until it holds, at most 5 s.
template <class Condition>
bool eventually(Condition&& condition) {
  for (int i = 0; i < 5000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return condition();
}

TEST(EventLoop, RunsWhatIsPostedOnItsThread) {
  auto loop = *EventLoop::create();
  std::promise<std::thread::id> ran;
  loop->post([&] { ran.set_value(std::this_thread::get_id()); });  // before the start: it waits
  ASSERT_TRUE(loop->start());
  EXPECT_NE(ran.get_future().get(), std::this_thread::get_id());
  EXPECT_EQ(loop->start().error().code(), Errc::bad_state);
}

TEST(EventLoop, IsABatchThreadUnlessTheProgramWasGivenAnotherPolicy) {
  const int ours = ::sched_getscheduler(0);
  auto loop = *EventLoop::create();
  ASSERT_TRUE(loop->start());
  int policy = -1;
  loop->run_and_wait([&] { policy = ::sched_getscheduler(0); });
  EXPECT_EQ(policy, ours == SCHED_OTHER ? SCHED_BATCH : ours);
  EXPECT_EQ(::sched_getscheduler(0), ours) << "of this thread, which started it";
}

TEST(EventLoop, RunAndWaitFromOutsideFromInsideAndWhenStopped) {
  auto loop = *EventLoop::create();
  int runs = 0;
  loop->run_and_wait([&] { ++runs; });
  ASSERT_TRUE(loop->start());
  loop->run_and_wait([&] { loop->run_and_wait([&] { ++runs; }); });
  loop->stop();
  loop->run_and_wait([&] { ++runs; });
  EXPECT_EQ(runs, 3);
}

TEST(ReadyWatch, CallsUntilDisarmed) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  std::atomic<int> calls{0};
  std::unique_ptr<ReadyWatch> watch;
  watch =
      *ReadyWatch::create(*loop, pipe.reader.value(), ReadyWatch::Direction::read, ReadyWatch::Ownership::ours, [&] {
        std::array<char, 1> one{};
        EXPECT_EQ(::read(pipe.reader.value(), one.data(), 1), 1);
        if (++calls == 3) watch->disarm();
      });
  watch->arm();
  ASSERT_TRUE(loop->start());
  ASSERT_EQ(::write(pipe.writer.value(), "abcde", 5), 5);
  EXPECT_TRUE(eventually([&] { return calls == 3; }));
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(calls, 3);
  loop->run_and_wait([&] { watch->arm(); });
  EXPECT_TRUE(eventually([&] { return calls == 5; }));
  loop->stop();
}

TEST(ReadyWatch, LeavesTheFlagsOfASharedDescriptorAlone) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  const auto before = ::fcntl(pipe.reader.value(), F_GETFL);
  std::atomic<bool> called{false};
  auto watch =
      *ReadyWatch::create(*loop, pipe.reader.value(), ReadyWatch::Direction::read, ReadyWatch::Ownership::shared, [&] {
        std::array<char, 8> some{};
        (void)!::read(pipe.reader.value(), some.data(), some.size());
        called = true;
      });
  watch->arm();
  ASSERT_TRUE(loop->start());
  ASSERT_EQ(::write(pipe.writer.value(), "x", 1), 1);
  EXPECT_TRUE(eventually([&] { return called.load(); }));
  loop->stop();
  watch.reset();
  EXPECT_EQ(::fcntl(pipe.reader.value(), F_GETFL), before);
}

TEST(ReadyWatch, ARegularFileIsAlwaysReady) {
  auto loop = *EventLoop::create();
  const test::TempFile file(bytes_of("content"));
  int calls = 0;
  std::promise<void> enough;
  std::unique_ptr<ReadyWatch> watch;
  watch = *ReadyWatch::create(*loop, file.fd(), ReadyWatch::Direction::read, ReadyWatch::Ownership::shared, [&] {
    if (++calls == 10) {
      watch->disarm();
      enough.set_value();
    }
  });
  watch->arm();
  ASSERT_TRUE(loop->start());
  EXPECT_EQ(enough.get_future().wait_for(5s), std::future_status::ready);
  loop->stop();
}

TEST(ReadyWatch, MayDestroyItselfInItsCall) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  std::promise<void> gone;
  std::unique_ptr<ReadyWatch> watch;
  watch =
      *ReadyWatch::create(*loop, pipe.writer.value(), ReadyWatch::Direction::write, ReadyWatch::Ownership::shared, [&] {
        watch.reset();
        gone.set_value();
      });
  watch->arm();
  ASSERT_TRUE(loop->start());
  EXPECT_EQ(gone.get_future().wait_for(5s), std::future_status::ready);
  loop->stop();
}

TEST(OutputStream, WritesInOrder) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  auto stream = *OutputStream::create(*loop, std::move(pipe.writer), {});
  EXPECT_EQ(stream->write(bytes_of("before ")), 7u);
  ASSERT_TRUE(loop->start());
  EXPECT_EQ(stream->write(bytes_of("after")), 5u);
  std::string got;
  while (got.size() < 12) {
    std::array<char, 64> part{};
    const auto size = ::read(pipe.reader.value(), part.data(), part.size());
    ASSERT_GT(size, 0);
    got.append(part.data(), static_cast<std::size_t>(size));
  }
  EXPECT_EQ(got, "before after");
  loop->stop();
}

TEST(OutputStream, AReaderThatDoesNotReadFillsTheBufferAndNoMore) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  std::atomic<int> rooms{0};
  auto stream = *OutputStream::create(*loop, std::move(pipe.writer), [&] { ++rooms; });
  ASSERT_TRUE(loop->start());
  const std::string line(1000, 'x');
  std::size_t taken = 0;
  for (int i = 0; i < 1000; ++i) taken += stream->write(bytes_of(line));
  EXPECT_LT(taken, 1'000'000u);
  EXPECT_GE(taken, OutputStream::capacity);
  EXPECT_FALSE(stream->room_for(OutputStream::capacity));
  EXPECT_EQ(rooms, 0);
  // The reader comes back: all that was taken arrives, and the port hears of the room.
  std::size_t got = 0;
  std::array<char, 4096> part{};
  while (got < taken) {
    const auto size = ::read(pipe.reader.value(), part.data(), part.size());
    ASSERT_GT(size, 0);
    got += static_cast<std::size_t>(size);
  }
  EXPECT_TRUE(eventually([&] { return rooms == 1; }));
  EXPECT_TRUE(eventually([&] { return stream->room_for(OutputStream::capacity); }));
  loop->stop();
}

TEST(OutputStream, AReaderThatWentAwayIsNoBackPressure) {
  std::signal(SIGPIPE, SIG_IGN);
  auto loop = *EventLoop::create();
  Pipe pipe;
  auto stream = *OutputStream::create(*loop, std::move(pipe.writer), {});
  pipe.reader.reset();
  ASSERT_TRUE(loop->start());
  const std::string line(1000, 'x');
  EXPECT_TRUE(eventually([&] {
    for (int i = 0; i < 200; ++i) (void)stream->write(bytes_of(line));
    return stream->write(bytes_of(line)) == line.size() && stream->room_for(OutputStream::capacity);
  }));
  loop->stop();
  stream->flush(1s);
}

TEST(OutputStream, FlushWritesTheRestAndWaitsNoLongerThanTold) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  auto stream = *OutputStream::create(*loop, std::move(pipe.writer), {});
  (void)stream->write(bytes_of("rest"));
  loop->stop();
  stream->flush(1s);
  std::array<char, 8> part{};
  EXPECT_EQ(::read(pipe.reader.value(), part.data(), part.size()), 4);
  const std::string much(OutputStream::capacity, 'x');
  (void)stream->write(bytes_of(much));
  (void)stream->write(bytes_of(much));
  ASSERT_GT(::fcntl(pipe.reader.value(), F_SETPIPE_SZ, 4096), 0);
  const auto start = std::chrono::steady_clock::now();
  stream->flush(50ms);
  EXPECT_LT(std::chrono::steady_clock::now() - start, 2s);
}

TEST(InputStream, StallsUntilThereIsRoomAndLosesNothing) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  std::mutex mutex;
  std::string got;
  std::size_t room = 3;
  auto stream = *InputStream::create(*loop, std::move(pipe.reader), [&](ConstBytes bytes) {
    const std::scoped_lock lock(mutex);
    const auto taken = std::min(room, bytes.size());
    for (std::size_t i = 0; i < taken; ++i) got += static_cast<char>(bytes[i]);
    room -= taken;
    return taken;
  });
  ASSERT_TRUE(loop->start());
  std::string sent;
  for (int i = 0; i < 1000; ++i) sent += static_cast<char>('a' + i % 26);
  ASSERT_EQ(::write(pipe.writer.value(), sent.data(), sent.size()), 1000);
  const auto received = [&] {
    const std::scoped_lock lock(mutex);
    return got.size();
  };
  EXPECT_TRUE(eventually([&] { return received() == 3; }));
  while (received() < sent.size()) {
    const auto before = received();
    {
      const std::scoped_lock lock(mutex);
      room += 7;
    }
    ASSERT_TRUE(eventually([&] {
      stream->resume();
      return received() > before;
    }));
  }
  loop->stop();
  EXPECT_EQ(got, sent);
}

TEST(InputStream, ItsEndIsNoEnd) {
  auto loop = *EventLoop::create();
  Pipe pipe;
  std::atomic<std::size_t> got{0};
  auto stream = *InputStream::create(*loop, std::move(pipe.reader), [&](ConstBytes bytes) {
    got += bytes.size();
    return bytes.size();
  });
  ASSERT_TRUE(loop->start());
  ASSERT_EQ(::write(pipe.writer.value(), "end", 3), 3);
  pipe.writer.reset();
  EXPECT_TRUE(eventually([&] { return got == 3; }));
  bool alive = false;
  loop->run_and_wait([&] { alive = true; });
  EXPECT_TRUE(alive);
  loop->stop();
}

std::string filtered(EscapeFilter& filter, std::string_view typed, bool& stop) {
  std::array<std::byte, 64> out{};
  const auto result = filter.filter(bytes_of(typed), out);
  stop = result.stop;
  std::string text;
  for (std::size_t i = 0; i < result.size; ++i) text += static_cast<char>(out[i]);
  return text;
}

TEST(EscapeFilter, Escapes) {
  EscapeFilter filter;
  bool stop = false;
  EXPECT_EQ(filtered(filter, "plain x\x03", stop), "plain x\x03");
  EXPECT_FALSE(stop);
  EXPECT_EQ(filtered(filter,
                     "a\x01\x01"
                     "b",
                     stop),
            "a\x01"
            "b");
  EXPECT_EQ(filtered(filter,
                     "\x01"
                     "a",
                     stop),
            "\x01");
  EXPECT_EQ(filtered(filter,
                     "\x01"
                     "q",
                     stop),
            "\x01q");
  EXPECT_FALSE(stop);
  EXPECT_EQ(filtered(filter, "\x01", stop), "") << "the escape waits for the next byte";
  EXPECT_EQ(filtered(filter, "xrest", stop), "");
  EXPECT_TRUE(stop);
}

}  // namespace
}  // namespace trivet::vmm
