// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "net_receiver.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <utility>

#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {
namespace {

/// Room that is always taken for a frame, if there is: an Ethernet frame's.
constexpr std::size_t usual_room = 2048;

Error bad_buffer(const Chain& chain, std::string_view what) noexcept {
  std::array<char, 128> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), "queue {}, chain {}: {} (virtio 1.3, 5.1.6.3.1)",
                                    chain.queue(), chain.id(), what);
  return Error::malformed("receive buffer", {text.data(), std::min(end.size, text.size())});
}

}  // namespace

NetReceiver::NetReceiver(Queue queue, NetShared shared, unsigned pair)
    : queue_(std::move(queue)),
      shared_(shared),
      pair_(pair),
      merges_((shared.features & abi::net_f_mrg_rxbuf) != 0),
      slices_(queue_.size() + net_crossings),
      vectors_(std::min(slices_.size() + 3, net_most_vectors)),
      header_size_(shared.header_size()),
      head_size_(header_size_ + ((shared.features & (abi::net_f_rss | abi::net_f_hash_report)) != 0
                                     ? NetHash::looks_at
                                     : NetFilter::looks_at)),
      hand_over_(has(abi::net_f_rss) ? std::make_unique_for_overwrite<std::byte[]>(net_most_frame) : nullptr),
      spare_(std::make_unique_for_overwrite<std::byte[]>(net_most_frame)),
      wanted_room_(usual_room) {
  buffers_.reserve(queue_.size());
}

Result<More> NetReceiver::process() {
  queue_.disable_kicks();  // buffers wait for frames, not the other way round
  auto more = More::yes;
  Result<void> result;
  moved_ = 0;
  for (unsigned budget = net_most_frames; budget > 0 && moved_ < net_most_bytes; --budget) {
    const auto step = next();
    if (!step) {
      result = step.error();
      break;
    }
    if (*step == Step::no_frames || (*step == Step::no_buffers && !queue_.enable_kicks())) {
      more = More::no;
      break;
    }
  }
  if (frame_ == 0) let_go();
  queue_.publish();
  if (queue_.should_notify()) shared_.notifier.used(queue_.index());
  if (!result) return result.error();
  return more;
}

void NetReceiver::rest() noexcept {
  frame_ = 0;
  let_go();
}

Queue NetReceiver::take() noexcept {
  rest();
  return std::move(queue_);
}

/// One frame from the network to the driver.
Result<NetReceiver::Step> NetReceiver::next() {
  if (frame_ != 0) return deliver();
  if (broken_ || !shared_.limit.ready()) return Step::no_frames;
  TRIVET_TRY(gather(wanted_room_));
  if (buffers_.empty()) return Step::no_buffers;
  const auto got = read_frame();
  if (got.os_errno != 0) return failed(got.os_errno);
  moved_ += got.bytes;
  const auto bytes = got.bytes + header_size_ - sizeof(abi::NetHeader);
  // One that filled all there was may have been longer.
  if (bytes <= header_size_ || bytes >= net_most_frame || !wanted(bytes)) return Step::moved;
  shared_.limit.spend(bytes - header_size_);
  frame_ = bytes;
  if (frame_ > room_) {
    wanted_room_ = net_most_frame;
  } else if (frame_ < wanted_room_ / 2) {
    wanted_room_ = std::max(wanted_room_ - wanted_room_ / 32, usual_room);
  }
  if (head_size_ == header_size_ + NetHash::looks_at) {
    hash_ = shared_.steering.hash.of(std::span(head_).first(std::min(frame_, head_size_)).subspan(header_size_));
    const auto to = shared_.steering.steers ? shared_.steering.pair_of(hash_) : pair_;
    if (to != pair_) return hand_over(to);
  }
  return deliver();
}

Result<void> NetReceiver::gather(std::uint64_t bytes) {
  while (room_ < bytes && (merges_ || buffers_.empty())) {
    TRIVET_ASSIGN(const bool taken, take_chain());
    if (!taken) break;
  }
  return {};
}

Result<bool> NetReceiver::take_chain() {
  TRIVET_ASSIGN(const auto chain, queue_.pop());
  if (!chain) return false;
  TRIVET_ASSIGN(auto writer, Writer::create(*chain));
  const auto room = writer.left();
  if (room < sizeof(abi::NetHeader)) return bad_buffer(*chain, "no room for the header");
  const auto found = writer.slices(room, std::span(slices_).subspan(slice_count_));
  if (!found && found.error().code() == Errc::limit) {
    if (buffers_.empty()) return bad_buffer(*chain, "it lies in too many pieces of memory");
    TRIVET_TRY(queue_.go_back());
    full_ = true;
    return false;
  }
  if (!found) return found.error();
  buffers_.push_back({chain->id(), static_cast<std::uint16_t>(*found), room});
  slice_count_ += *found;
  room_ += room;
  return true;
}

NetIo NetReceiver::read_frame() noexcept {
  std::size_t count = 1;
  if (header_size_ == sizeof(abi::NetHeader)) {
    vectors_[0] = {head_.data(), head_size_};
  } else {
    vectors_[0] = {head_.data(), sizeof(abi::NetHeader)};
    vectors_[count++] = {head_.data() + header_size_, head_size_ - header_size_};
  }
  std::uint64_t covered = head_size_;
  std::uint64_t skip = head_size_;
  for (const auto& slice : std::span(slices_).first(slice_count_)) {
    if (count + 1 == vectors_.size() || covered == net_most_frame) break;
    if (skip >= slice.size()) {
      skip -= slice.size();
      continue;
    }
    const auto bytes = std::min(slice.size() - skip, net_most_frame - covered);
    vectors_[count++] = {slice.host() + skip, static_cast<std::size_t>(bytes)};
    covered += bytes;
    skip = 0;
  }
  in_place_ = covered;
  if (covered < net_most_frame) {
    vectors_[count++] = {spare_.get() + covered, static_cast<std::size_t>(net_most_frame - covered)};
  }
  return shared_.backend.receive(pair_, std::span(vectors_).first(count));
}

Result<NetReceiver::Step> NetReceiver::failed(int os_errno) {
  if (os_errno == EAGAIN) {
    shared_.backend.wait_to_receive(pair_);
    return Step::no_frames;
  }
  broken_ = true;
  return Error::from_errno(os_errno, "receive from the network");
}

bool NetReceiver::wanted(std::size_t bytes) const noexcept {
  const auto head = std::span(head_).first(std::min(bytes, head_size_));
  const auto gso_type = std::to_integer<abi::u8>(head_[offsetof(abi::NetHeader, gso_type)]);
  if (gso_type != abi::net_hdr_gso_none && !takes_segments(gso_type)) return false;
  const auto frame = head.subspan(header_size_);
  return shared_.filter.passes(frame.first(std::min(frame.size(), NetFilter::looks_at)));
}

bool NetReceiver::takes_segments(abi::u8 gso_type) const noexcept {
  if ((gso_type & abi::net_hdr_gso_ecn) != 0 && !has(abi::net_f_guest_ecn)) return false;
  switch (gso_type & ~abi::net_hdr_gso_ecn) {
    case abi::net_hdr_gso_tcpv4:
      return has(abi::net_f_guest_tso4);
    case abi::net_hdr_gso_tcpv6:
      return has(abi::net_f_guest_tso6);
    case abi::net_hdr_gso_udp_l4:
      return has(abi::net_f_guest_uso4 | abi::net_f_guest_uso6);
    default:
      return false;
  }
}

Result<NetReceiver::Step> NetReceiver::deliver() {
  TRIVET_TRY(gather(frame_));
  if (frame_ > room_) {
    // Nothing that the driver could still add would make it fit, or it waits for that.
    if (!merges_ || full_ || queue_.in_flight() == queue_.size()) return drop_frame();
    return Step::no_buffers;
  }
  const auto count = buffers_for(frame_);
  finish_header(head_, count, hash_);
  put(0, std::span(head_).first(std::min(frame_, head_size_)));
  const auto in_place = std::min<std::uint64_t>(in_place_, frame_);
  if (in_place > head_size_) mark(head_size_, in_place - head_size_);
  if (in_place < frame_) put(in_place, std::span(spare_.get(), frame_).subspan(static_cast<std::size_t>(in_place)));
  TRIVET_TRY(give_back_filled(count, frame_));
  frame_ = 0;
  return Step::moved;
}

std::size_t NetReceiver::buffers_for(std::uint64_t bytes) const noexcept {
  std::size_t count = 0;
  for (std::uint64_t room = 0; room < bytes; ++count) room += buffers_[count].room;
  return count;
}

void NetReceiver::finish_header(Bytes head, std::size_t buffers, const NetHash::Value& hash) const noexcept {
  abi::NetHashHeader header{};
  std::memcpy(&header.header, head.data(), sizeof header.header);
  const auto flags = abi::net_hdr_f_needs_csum | abi::net_hdr_f_data_valid;  // 5.1.6.4.1
  header.header.flags = has(abi::net_f_guest_csum) ? static_cast<abi::u8>(header.header.flags & flags) : abi::u8{0};
  header.header.num_buffers = static_cast<std::uint16_t>(buffers);
  header.hash_value = hash.hash;
  header.hash_report = hash.report;
  header.padding_reserved = std::uint16_t{0};
  std::memcpy(head.data(), &header, header_size_);
}

Result<NetReceiver::Step> NetReceiver::hand_over(unsigned pair) {
  const auto size = std::exchange(frame_, 0);
  auto* const other = pair < shared_.receivers.size() ? shared_.receivers[pair].get() : nullptr;
  if (other == nullptr) return Step::moved;  // to a queue that the driver has not set up
  const auto frame = std::span(hand_over_.get(), size);
  copy_frame(frame);
  TRIVET_TRY(other->take_over(frame, hash_));
  return Step::moved;
}

void NetReceiver::copy_frame(Bytes to) const noexcept {
  const auto head = std::min(to.size(), head_size_);
  std::memcpy(to.data(), head_.data(), head);
  const auto in_place = static_cast<std::size_t>(std::min<std::uint64_t>(in_place_, to.size()));
  std::size_t at = head;
  std::uint64_t skip = head;
  for (const auto& slice : std::span(slices_).first(slice_count_)) {
    if (at >= in_place) break;
    if (skip >= slice.size()) {
      skip -= slice.size();
      continue;
    }
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(slice.size() - skip, in_place - at));
    slice.read(skip, to.subspan(at, part));
    at += part;
    skip = 0;
  }
  if (at < to.size()) std::memcpy(to.data() + at, spare_.get() + at, to.size() - at);
}

Result<void> NetReceiver::take_over(Bytes frame, const NetHash::Value& hash) {
  if (frame_ != 0) return {};  // which waits for buffers already
  TRIVET_TRY(gather(frame.size()));
  if (frame.size() <= room_) {
    const auto count = buffers_for(frame.size());
    finish_header(frame, count, hash);
    put(0, frame);
    TRIVET_TRY(give_back_filled(count, frame.size()));
  }
  let_go();
  queue_.publish();
  if (queue_.should_notify()) shared_.notifier.used(queue_.index());
  return {};
}

Result<NetReceiver::Step> NetReceiver::drop_frame() {
  frame_ = 0;
  return Step::moved;
}

Result<void> NetReceiver::give_back_filled(std::size_t count, std::uint64_t bytes) {
  std::size_t slices = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto part = std::min(bytes, buffers_[i].room);
    TRIVET_TRY(queue_.stage_used(buffers_[i].chain, static_cast<std::uint32_t>(part)));
    bytes -= part;
    slices += buffers_[i].slices;
    room_ -= buffers_[i].room;
  }
  buffers_.erase(buffers_.begin(), buffers_.begin() + static_cast<std::ptrdiff_t>(count));
  const auto kept = std::span(slices_).first(slice_count_).subspan(slices);
  std::ranges::move(kept, slices_.begin());
  memory::forget(std::span(slices_).first(slice_count_).subspan(kept.size()));
  full_ = false;
  slice_count_ = kept.size();
  return {};
}

void NetReceiver::put(std::uint64_t at, ConstBytes bytes) const noexcept {
  for (const auto& slice : std::span(slices_).first(slice_count_)) {
    if (bytes.empty()) return;
    if (at >= slice.size()) {
      at -= slice.size();
      continue;
    }
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(slice.size() - at, bytes.size()));
    slice.write(at, bytes.first(part));
    bytes = bytes.subspan(part);
    at = 0;
  }
}

void NetReceiver::mark(std::uint64_t at, std::uint64_t bytes) const noexcept {
  for (const auto& slice : std::span(slices_).first(slice_count_)) {
    if (bytes == 0) return;
    if (at >= slice.size()) {
      at -= slice.size();
      continue;
    }
    const auto part = std::min(slice.size() - at, bytes);
    slice.mark_written(at, part);
    bytes -= part;
    at = 0;
  }
}

/// What was taken and not filled is the ring's again.
void NetReceiver::let_go() noexcept {
  (void)queue_.go_back(static_cast<std::uint16_t>(buffers_.size()));  // as many are in flight
  buffers_.clear();
  memory::forget(std::span(slices_).first(slice_count_));
  slice_count_ = 0;
  room_ = 0;
  full_ = false;
}

}  // namespace trivet::virtio
