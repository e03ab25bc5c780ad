// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The socket device: what the guest is sent.
#include <algorithm>

#include <trivet/virtio/vsock.hpp>

#include "vsock_table.hpp"

namespace trivet::virtio {

namespace {

/// Data in one packet at most, as Linux has it; a guest's buffer is what bounds it, mostly.
constexpr std::uint32_t most_data = 64 << 10;

using State = VsockConnection::State;

}  // namespace

void Vsock::schedule(VsockConnection& connection) noexcept {
  if (connection.wants() && !connection.is_linked() && connection.state != State::lingering &&
      connection.state != State::greeting) {
    table_->ready.push_back(connection);
  }
}

void Vsock::serve() noexcept {
  if (queues_[abi::vsock_receive_queue]) report(receive(), abi::vsock_receive_queue);
}

Result<More> Vsock::receive() {
  auto& queue = *queues_[abi::vsock_receive_queue];
  queue.disable_kicks();  // buffers wait for packets, not the other way round
  auto more = More::no;
  Result<bool> sent = true;
  for (unsigned budget = queue.size(); sent && *sent && (refusal_count_ != 0 || !table_->ready.empty()); --budget) {
    if (budget == 0) {
      more = More::yes;
      break;
    }
    sent = send_packet(queue);
  }
  if (queue.should_notify()) notifier_->used(abi::vsock_receive_queue);
  if (!sent) return sent.error();
  if (transmit_waits_ && refusal_count_ < most_refusals) {
    transmit_waits_ = false;
    notifier_->wake(abi::vsock_transmit_queue);
  }
  return more;
}

Result<void> Vsock::give(Queue& queue, const Chain& chain, Writer& head, const abi::VsockHeader& header) {
  TRIVET_TRY(head.write_object(header));
  return queue.push_used(chain.id(), static_cast<std::uint32_t>(sizeof header) + header.len.value());
}

/// One packet of whose turn it is; false when the guest has no buffer for it.
Result<bool> Vsock::send_packet(Queue& queue) {
  TRIVET_ASSIGN(const auto chain, queue.pop());
  if (!chain) return queue.enable_kicks();
  TRIVET_ASSIGN(auto room, Writer::create(*chain));
  TRIVET_ASSIGN(auto head, room.take(sizeof(abi::VsockHeader)));
  abi::VsockHeader header{};
  header.dst_cid = static_cast<std::uint32_t>(cid_.load(std::memory_order_relaxed));
  header.src_cid = abi::vsock_host_cid;
  if (refusal_count_ != 0) {
    const auto refusal = refusals_[first_refusal_];
    first_refusal_ = (first_refusal_ + 1) % most_refusals;
    --refusal_count_;
    header.src_cid = refusal.host_cid;
    header.src_port = refusal.host_port;
    header.dst_port = refusal.guest_port;
    header.type = refusal.type;
    header.op = abi::vsock_op_rst;
    TRIVET_TRY(give(queue, *chain, head, header));
    return true;
  }
  auto& connection = table_->ready.front();
  connection.unlink();
  TRIVET_ASSIGN(const auto packet, next_packet(connection, room));
  if (!packet) {
    TRIVET_TRY(queue.go_back());
    schedule(connection);
    return true;
  }
  header.src_port = connection.host_port;
  header.dst_port = connection.guest_port;
  header.type = connection.messages ? abi::vsock_type_seqpacket : abi::vsock_type_stream;
  header.op = packet->op;
  header.len = packet->bytes;
  header.flags = packet->flags;
  header.buf_alloc = connection.credit.buffer();
  header.fwd_cnt = connection.credit.forwarded();
  connection.credit.told();
  connection.paid(VsockConnection::credit_update);
  TRIVET_TRY(give(queue, *chain, head, header));
  if (packet->op == abi::vsock_op_rst) {
    forget(connection);
  } else {
    schedule(connection);
  }
  return true;
}

/// Data for the guest if there are any. `op` 0: none.
Result<Vsock::Packet> Vsock::received(VsockConnection& connection, Writer& room) {
  const auto left = static_cast<std::uint32_t>(std::min<std::uint64_t>(room.left(), most_data));
  const auto most = std::min(left, connection.credit.room());
  if (left == 0) {
    connection.owe(VsockConnection::credit_update);  // a buffer for nothing but headers gets one
    return Packet{};
  }
  if (most == 0) {
    if (!connection.asked) connection.owe(VsockConnection::credit_request);
    connection.asked = true;
    return Packet{};
  }
  TRIVET_ASSIGN(const auto got, connection.receive(room, most));
  if (got.bytes == 0) {
    connection.owe_shutdown();
    if (connection.too_long) connection.break_off();
    return Packet{};
  }
  connection.credit.sent(got.bytes);
  return Packet{abi::vsock_op_rw, got.bytes, got.ends_message ? abi::vsock_seq_end_of_message : 0};
}

Result<std::optional<Vsock::Packet>> Vsock::next_packet(VsockConnection& connection, Writer& room) {
  using Owed = VsockConnection::Owed;
  const auto pay = [&](Owed what, std::uint16_t op, std::uint32_t flags = 0) {
    connection.paid(what);
    return std::optional(Packet{op, 0, flags});
  };
  if (!connection.owes(Owed::reset)) {
    if (connection.owes(Owed::request)) return pay(Owed::request, abi::vsock_op_request);
    if (connection.owes(Owed::response)) return pay(Owed::response, abi::vsock_op_response);
    if (connection.state == State::connected && connection.has_input()) {
      TRIVET_ASSIGN(const auto data, received(connection, room));
      if (data.op != 0) return std::optional(data);
    }
  }
  if (connection.owes(Owed::reset)) return pay(Owed::reset, abi::vsock_op_rst);
  if (connection.owes(Owed::shutdown)) {
    connection.said_shutdown = connection.host_shutdown();
    return pay(Owed::shutdown, abi::vsock_op_shutdown, connection.said_shutdown);
  }
  if (connection.owes(Owed::credit_request)) return pay(Owed::credit_request, abi::vsock_op_credit_request);
  if (connection.owes(Owed::credit_update)) return pay(Owed::credit_update, abi::vsock_op_credit_update);
  return std::optional<Packet>();
}

Result<More> Vsock::tell_event() {
  auto& queue = *queues_[abi::vsock_event_queue];
  if (!tells_reset_) return More::no;
  for (;;) {
    TRIVET_ASSIGN(const auto chain, queue.pop());
    if (!chain) {
      if (queue.enable_kicks()) continue;
      return More::no;
    }
    TRIVET_ASSIGN(auto writer, Writer::create(*chain));
    abi::VsockEvent event{};
    event.id = abi::vsock_event_transport_reset;
    TRIVET_TRY(writer.write_object(event));
    tells_reset_ = false;
    TRIVET_TRY(queue.push_used(chain->id(), writer.written()));
    if (queue.should_notify()) notifier_->used(abi::vsock_event_queue);
    return More::no;
  }
}

}  // namespace trivet::virtio
