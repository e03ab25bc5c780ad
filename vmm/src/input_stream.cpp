// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "input_stream.hpp"

#include <cerrno>
#include <unistd.h>

#include "log.hpp"

namespace trivet::vmm {

Result<std::unique_ptr<InputStream>> InputStream::create(EventLoop& loop, UniqueFd fd, Take take) {
  TRIVET_ASSIGN(auto wake, Event::create());
  std::unique_ptr<InputStream> stream(new InputStream(std::move(fd), std::move(wake), std::move(take)));
  auto* raw = stream.get();
  TRIVET_ASSIGN(stream->readable_, ReadyWatch::create(loop, stream->fd_.value(), ReadyWatch::Direction::read,
                                                      ReadyWatch::Ownership::shared, [raw] { raw->on_readable(); }));
  TRIVET_ASSIGN(stream->woken_, ReadyWatch::create(loop, stream->wake_.fd(), ReadyWatch::Direction::read,
                                                   ReadyWatch::Ownership::ours, [raw] {
                                                     (void)raw->wake_.take();
                                                     if (raw->offer()) raw->readable_->arm();
                                                   }));
  stream->woken_->arm();
  stream->readable_->arm();
  return stream;
}

void InputStream::resume() noexcept {
  if (stalled_.load(std::memory_order_acquire)) wake_.signal();
}

bool InputStream::offer() {
  while (count_ != 0) {
    const auto taken = take_({waiting_.data() + head_, count_});
    head_ += taken;
    count_ -= taken;
    if (count_ == 0) break;
    if (stalled_.exchange(true)) return false;
    // Room may have come before the flag was seen: look once more, now that `resume` wakes.
  }
  stalled_ = false;
  return true;
}

void InputStream::on_readable() {
  if (count_ != 0) return;
  const auto got = ::read(fd_.value(), waiting_.data(), waiting_.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got < 0) log::warning(to_string(Error::from_errno(errno, "read the guest's input", "it ends here")));
  if (got <= 0) {
    readable_->disarm();  // the end of the input is not the end of the guest
    return;
  }
  head_ = 0;
  count_ = static_cast<std::size_t>(got);
  if (!offer()) readable_->disarm();
}

}  // namespace trivet::vmm
