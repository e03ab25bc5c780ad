// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "net_transmitter.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <fmt/format.h>

namespace trivet::virtio {
namespace {

Error no_header(const Chain& chain) noexcept {
  std::array<char, 96> text{};
  const auto end = fmt::format_to_n(text.data(), text.size(), "queue {}, chain {}: no whole header (virtio 1.3, 5.1.6)",
                                    chain.queue(), chain.id());
  return Error::malformed("transmit frame", {text.data(), std::min(end.size, text.size())});
}

/// What the network says of a frame, and not of itself: then only this one is lost.
bool is_the_frames(int os_errno) noexcept {
  switch (os_errno) {
    case EINVAL:
    case EMSGSIZE:
    case EIO:  // the interface is down
    case ENOBUFS:
    case ENOMEM:
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOTCONN:
    case EPIPE:  // the other end went away, as when a cable is pulled
      return true;
    default:
      return false;
  }
}

}  // namespace

NetTransmitter::NetTransmitter(Queue queue, NetShared shared, unsigned pair)
    : queue_(std::move(queue)),
      shared_(shared),
      pair_(pair),
      slices_(std::min(queue_.size() + net_crossings, net_most_vectors - 1)),
      vectors_(slices_.size() + 1) {}

Result<More> NetTransmitter::process(bool link_up) {
  if (waiting_) return More::no;
  queue_.disable_kicks();
  auto more = More::yes;
  Result<void> result;
  moved_ = 0;
  for (unsigned budget = net_most_frames; budget > 0 && moved_ < net_most_bytes; --budget) {
    const auto step = next(link_up);
    if (!step) {
      result = step.error();
      break;
    }
    if (*step == Step::must_wait || (*step == Step::no_frames && !queue_.enable_kicks())) {
      more = More::no;
      break;
    }
  }
  queue_.publish();
  if (queue_.should_notify()) shared_.notifier.used(queue_.index());
  if (!result) return result.error();
  return more;
}

Result<NetTransmitter::Step> NetTransmitter::next(bool link_up) {
  if (!shared_.limit.ready()) return Step::must_wait;
  TRIVET_ASSIGN(const auto chain, queue_.pop());
  if (!chain) return Step::no_frames;
  TRIVET_ASSIGN(auto frame, Reader::create(*chain));
  if (frame.left() < shared_.header_size()) return no_header(*chain);
  TRIVET_ASSIGN(auto header, frame.read_object<abi::NetHeader>());
  TRIVET_TRY(frame.skip(shared_.header_size() - sizeof header));  // a hash means nothing this way
  header.flags &= abi::net_hdr_f_needs_csum;                      // 5.1.6.2.2: other bits mean nothing
  header.num_buffers = 0;
  if (link_up && acceptable(header, frame.left())) {
    const auto bytes = frame.left();
    const auto sent = send(frame, header);
    memory::forget(slices_);
    if (!sent) return sent.error();
    if (!*sent) {
      TRIVET_TRY(queue_.go_back());
      waiting_ = true;
      shared_.backend.wait_to_send(pair_);
      return Step::must_wait;
    }
    moved_ += static_cast<std::size_t>(bytes);
    shared_.limit.spend(bytes);
  }
  TRIVET_TRY(queue_.stage_used(chain->id(), 0));
  return Step::moved;
}

/// What the driver may leave to us; the kernel of a tap checks against the frame's content again.
bool NetTransmitter::acceptable(const abi::NetHeader& header, std::uint64_t bytes) const noexcept {
  if (bytes == 0 || bytes > net_most_frame - sizeof(abi::NetHeader)) return false;
  const bool unfinished = (header.flags & abi::net_hdr_f_needs_csum) != 0;
  if (unfinished && !has(abi::net_f_csum)) return false;
  if (unfinished && header.csum_start.value() + header.csum_offset.value() + 2ULL > bytes) return false;
  const bool ecn = (header.gso_type & abi::net_hdr_gso_ecn) != 0;
  switch (header.gso_type & ~abi::net_hdr_gso_ecn) {
    case abi::net_hdr_gso_none:
      return !ecn;
    case abi::net_hdr_gso_tcpv4:
      return has(abi::net_f_host_tso4) && (!ecn || has(abi::net_f_host_ecn)) && header.gso_size.value() != 0;
    case abi::net_hdr_gso_tcpv6:
      return has(abi::net_f_host_tso6) && (!ecn || has(abi::net_f_host_ecn)) && header.gso_size.value() != 0;
    case abi::net_hdr_gso_udp_l4:
      return has(abi::net_f_host_uso) && !ecn && header.gso_size.value() != 0;
    default:
      return false;
  }
}

Result<bool> NetTransmitter::send(Reader& frame, abi::NetHeader header) {
  TRIVET_ASSIGN(const auto count, gather(frame, header));
  const auto sent = shared_.backend.send(pair_, std::span(vectors_).first(count));
  if (sent.os_errno == EAGAIN) return false;
  if (sent.os_errno != 0 && !is_the_frames(sent.os_errno)) {
    shared_.notifier.host_error(Error::from_errno(sent.os_errno, "send to the network"));
  }
  return true;
}

Result<std::size_t> NetTransmitter::gather(Reader& frame, abi::NetHeader& header) {
  vectors_[0] = {&header, sizeof header};
  auto found = frame.slices(frame.left(), slices_);
  if (!found && found.error().code() == Errc::limit) {
    copy_.resize(static_cast<std::size_t>(frame.left()));  // at most net_most_frame
    TRIVET_TRY(frame.read(copy_));
    vectors_[1] = {copy_.data(), copy_.size()};
    return std::size_t{2};
  }
  if (!found) return found.error();
  std::size_t count = 1;
  for (const auto& slice : std::span(slices_).first(*found)) {
    vectors_[count++] = {slice.host(), static_cast<std::size_t>(slice.size())};
  }
  return count;
}

}  // namespace trivet::virtio
