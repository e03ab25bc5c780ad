// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "output_stream.hpp"

#include <algorithm>
#include <cerrno>
#include <poll.h>
#include <unistd.h>

#include "log.hpp"

namespace trivet::vmm {

Result<std::unique_ptr<OutputStream>> OutputStream::create(EventLoop& loop, UniqueFd fd,
                                                           std::function<void()> has_room) {
  TRIVET_ASSIGN(auto wake, Event::create());
  std::unique_ptr<OutputStream> stream(new OutputStream(std::move(fd), std::move(wake), std::move(has_room)));
  // A pipe that polls writable takes PIPE_BUF without blocking; a terminal promises less.
  if (::isatty(stream->fd_.value()) == 1) stream->most_at_once_ = 256;
  auto* raw = stream.get();
  TRIVET_ASSIGN(stream->writable_, ReadyWatch::create(loop, stream->fd_.value(), ReadyWatch::Direction::write,
                                                      ReadyWatch::Ownership::shared, [raw] { raw->on_writable(); }));
  TRIVET_ASSIGN(stream->woken_, ReadyWatch::create(loop, stream->wake_.fd(), ReadyWatch::Direction::read,
                                                   ReadyWatch::Ownership::ours, [raw] {
                                                     (void)raw->wake_.take();
                                                     raw->writable_->arm();
                                                   }));
  stream->woken_->arm();
  return stream;
}

std::size_t OutputStream::write(ConstBytes bytes) noexcept {
  const std::scoped_lock lock(mutex_);
  if (broken_) return bytes.size();
  const auto taken = std::min(bytes.size(), capacity - count_);
  for (std::size_t i = 0; i < taken; ++i) ring_[(head_ + count_ + i) % capacity] = bytes[i];
  if (count_ == 0 && taken != 0) wake_.signal();  // the loop sleeps only when the buffer is empty
  count_ += taken;
  return taken;
}

bool OutputStream::room_for(std::size_t bytes) noexcept {
  const std::scoped_lock lock(mutex_);
  if (broken_ || capacity - count_ >= bytes) return true;
  wanted_room_ = true;
  return false;
}

bool OutputStream::write_some() noexcept {
  std::byte part[4096];
  std::size_t size = 0;
  {
    const std::scoped_lock lock(mutex_);
    size = std::min(count_, most_at_once_);
    for (std::size_t i = 0; i < size; ++i) part[i] = ring_[(head_ + i) % capacity];
  }
  if (size == 0) return false;
  const auto written = ::write(fd_.value(), part, size);
  if (written < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (written < 0)
    log::warning(to_string(Error::from_errno(errno, "write the guest's output", "it is dropped from here on")));
  const std::scoped_lock lock(mutex_);
  const auto gone = written < 0 ? count_ : static_cast<std::size_t>(written);
  broken_ = broken_ || written < 0;
  head_ = (head_ + gone) % capacity;
  count_ -= gone;
  return count_ != 0;
}

void OutputStream::on_writable() {
  if (!write_some()) writable_->disarm();
  bool tell = false;
  {
    const std::scoped_lock lock(mutex_);
    tell = wanted_room_ && count_ <= capacity / 2;
    if (tell) wanted_room_ = false;
    // A write between the empty buffer and the disarm has signalled `wake_`, which arms again.
  }
  if (tell && has_room_) has_room_();
}

void OutputStream::flush(std::chrono::milliseconds limit) noexcept {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    pollfd waiting{fd_.value(), POLLOUT, 0};
    const auto ready = ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0 || !write_some()) return;
  }
}

}  // namespace trivet::vmm
