// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The socket device: what the guest sends.
#include <trivet/virtio/vsock.hpp>

#include "vsock_table.hpp"

namespace trivet::virtio {

using State = VsockConnection::State;

Result<More> Vsock::transmit() {
  auto& queue = *queues_[abi::vsock_transmit_queue];
  queue.disable_kicks();
  Result<More> more = More::yes;
  for (unsigned budget = queue.size(); budget > 0; --budget) {
    if (refusal_count_ == most_refusals) {
      // The guest takes no answers: nothing more is heard until it does (5.10.6.1.1).
      transmit_waits_ = true;
      more = More::no;
      break;
    }
    TRIVET_ASSIGN(const auto chain, queue.pop());
    if (!chain) {
      if (queue.enable_kicks()) continue;
      more = More::no;
      break;
    }
    TRIVET_ASSIGN(auto reader, Reader::create(*chain));
    TRIVET_ASSIGN(const auto header, reader.read_object<abi::VsockHeader>());
    TRIVET_TRY(take(header, reader));
    TRIVET_TRY(queue.push_used(chain->id(), 0));
  }
  if (queue.should_notify()) notifier_->used(abi::vsock_transmit_queue);
  serve();
  return more;
}

void Vsock::refuse(const abi::VsockHeader& header) noexcept {
  if (header.op.value() == abi::vsock_op_rst) return;  // never an answer to that
  refusals_[(first_refusal_ + refusal_count_++) % most_refusals] = {header.dst_cid.value(), header.dst_port.value(),
                                                                    header.src_port.value(), header.type.value()};
}

Result<void> Vsock::take(const abi::VsockHeader& header, Reader& data) {
  // From somebody else: an answer would go to nobody.
  if (header.src_cid.value() != static_cast<std::uint32_t>(cid_.load(std::memory_order_relaxed))) return {};
  auto* const connection = header.dst_cid.value() == abi::vsock_host_cid
                               ? table_->find(header.src_port.value(), header.dst_port.value())
                               : nullptr;
  if (connection == nullptr) {
    const bool wanted = header.op.value() == abi::vsock_op_request && header.dst_cid.value() == abi::vsock_host_cid &&
                        speaks(header.type.value()) && header.len.value() == 0 && data.left() == 0;
    wanted ? connect(header) : refuse(header);
    return {};
  }
  const auto op = header.op.value();
  if (op == abi::vsock_op_rst) {
    end(*connection);
    return {};
  }
  if (connection->state == State::ended) return {};  // the answer is on its way
  const auto type = connection->messages ? abi::vsock_type_seqpacket : abi::vsock_type_stream;
  const bool answers = op == abi::vsock_op_response;
  if (header.type.value() != type || header.len.value() != data.left() ||
      (data.left() != 0 && op != abi::vsock_op_rw) || answers != (connection->state == State::requesting)) {
    connection->break_off();
  } else {
    connection->credit.heard(header.buf_alloc.value(), header.fwd_cnt.value());
    if (connection->credit.room() != 0) connection->asked = false;
    TRIVET_TRY(take(*connection, header, data));
  }
  schedule(*connection);
  return {};
}

/// A packet that keeps the rules so far, of a connection that is there.
Result<void> Vsock::take(VsockConnection& connection, const abi::VsockHeader& header, Reader& data) {
  switch (header.op.value()) {
    case abi::vsock_op_response:
      answer(connection);
      return {};
    case abi::vsock_op_rw: {
      const auto bytes = header.len.value();
      if (connection.guest_ended || !connection.credit.take(bytes)) {
        connection.break_off();
        return {};
      }
      const bool ends_message = (header.flags.value() & abi::vsock_seq_end_of_message) != 0;
      TRIVET_TRY(connection.send(data, bytes, ends_message));
      connection.owe_shutdown();
      if (connection.credit.must_tell()) connection.owe(VsockConnection::credit_update);
      return {};
    }
    case abi::vsock_op_shutdown:
      shut_down(connection, header.flags.value());
      return {};
    case abi::vsock_op_credit_update:
      return {};
    case abi::vsock_op_credit_request:
      connection.owe(VsockConnection::credit_update);
      return {};
    default:
      connection.break_off();
      return {};
  }
}

void Vsock::shut_down(VsockConnection& connection, std::uint32_t flags) {
  if ((flags & abi::vsock_shutdown_receive) != 0) connection.end_receiving();
  if ((flags & abi::vsock_shutdown_send) != 0) connection.end_sending();
  // The guest is done, and waits for the answer that says so (5.10.6.5).
  if (connection.guest_deaf && connection.guest_ended) connection.break_off();
}

}  // namespace trivet::virtio
