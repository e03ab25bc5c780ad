// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/abi/vsock.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::virtio {

class VsockConnection;

/// Who the guest is, and where the host's side of its sockets lies.
struct VsockOptions {
  std::uint64_t cid = 3;                  ///< the guest's: 3 to 2^32 - 2
  std::string path = {};                  ///< the Unix socket, at most 96 bytes; it must not exist yet
  std::uint32_t connections = 512;        ///< at most at once, 1 to 65536
  std::uint32_t buffer_size = 128 << 10;  ///< bytes held a connection and direction: a power of two, 4 KiB to 16 MiB
  std::uint16_t queue_size = 128;         ///< a power of two, 2 to 1024
};

/// The socket device (virtio 1.3, 5.10) over Unix sockets: STREAM and SEQPACKET, credit both ways, transport reset.
///
/// The form is Firecracker's. A host program connects to `path`, writes "CONNECT <port>\n" and, once the guest has
/// accepted, reads "OK <host port>\n"; what follows is the connection. A guest that connects to CID 2, port P, reaches
/// whoever listens on the Unix socket `path`_P. For SEQPACKET both are sockets of type SOCK_SEQPACKET:
/// `path`.seqpacket, where each line is a message, and `path`_P; a listener of the other type refuses the guest. The
/// end of a message passes, the end of a record (EOR) is not a thing of Unix sockets; a message without bytes is
/// dropped, for it would read as the end of the connection.
///
/// Bounded: connections (what is over stays in the listener's backlog, or is refused to the guest), `buffer_size` for
/// what a host program does not read, the same for a message on its way to the guest (a longer one resets the
/// connection), work a call. Stream bytes move between the socket and the guest's buffers without a copy while the
/// reader keeps up. Each connection gets one packet in turn.
///
/// A packet that lies resets the connection it names (5.10.6.4); only a broken chain, or one without room for a header,
/// is a driver fault. Nobody waits for a guest but the program that connected to it: it hangs up when it has enough.
class Vsock final : public Device {
 public:
  /// Listens. `invalid_argument` names the option out of bounds, `already_exists` the file in the way (caller); errors
  /// of the sockets (host).
  static Result<std::unique_ptr<Vsock>> create(VsockOptions options);
  /// Takes its sockets away from the file system.
  ~Vsock() override;

  /// The guest is another than it was (restored, migrated): its connections end, it is told (TRANSPORT_RESET) and reads
  /// its CID anew. `out_of_range` for a CID that no guest has (caller). Any thread.
  Result<void> reset_transport(std::optional<std::uint64_t> new_cid = std::nullopt) noexcept;

  /// Connections now, those that are being made included. Any thread.
  [[nodiscard]] std::size_t connections() const noexcept { return count_.load(std::memory_order_relaxed); }

  [[nodiscard]] std::uint32_t id() const noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "vsock"; }
  [[nodiscard]] std::uint64_t features() const noexcept override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return queue_sizes_; }
  void read_config(std::uint32_t offset, Bytes out) const noexcept override;
  void write_config(std::uint32_t, ConstBytes) noexcept override {}
  [[nodiscard]] std::uint32_t config_generation() const noexcept override;

  Result<void> activate(Activation activation) override;
  Result<void> start_queue(Queue queue) override;
  std::optional<Queue> stop_queue(unsigned index) noexcept override;
  Result<More> process(unsigned index) override;
  void reset() noexcept override;

 private:
  friend class VsockConnection;
  struct Listener;
  struct Table;
  /// A packet for the guest, but for the ends and the credit.
  struct Packet {
    std::uint16_t op = 0;
    std::uint32_t bytes = 0;
    std::uint32_t flags = 0;
  };
  /// An answer to a packet that belongs to no connection.
  struct Refusal {
    std::uint64_t host_cid;
    std::uint32_t host_port;
    std::uint32_t guest_port;
    std::uint16_t type;
  };
  static constexpr std::size_t most_refusals = 64;

  explicit Vsock(VsockOptions options);

  // From the guest.
  Result<More> transmit();
  Result<void> take(const abi::VsockHeader& header, Reader& data);
  Result<void> take(VsockConnection& connection, const abi::VsockHeader& header, Reader& data);
  void shut_down(VsockConnection& connection, std::uint32_t flags);
  void refuse(const abi::VsockHeader& header) noexcept;
  [[nodiscard]] bool speaks(std::uint16_t type) const noexcept;

  // To the guest.
  Result<More> receive();
  Result<bool> send_packet(Queue& queue);
  Result<std::optional<Packet>> next_packet(VsockConnection& connection, Writer& room);
  Result<Packet> received(VsockConnection& connection, Writer& room);
  Result<void> give(Queue& queue, const Chain& chain, Writer& head, const abi::VsockHeader& header);
  Result<More> tell_event();
  void schedule(VsockConnection& connection) noexcept;
  void serve() noexcept;

  // The host's side: called by connections and listeners.
  void readable(VsockConnection& connection);
  void writable(VsockConnection& connection);
  void hung_up(VsockConnection& connection);
  void accept(Listener& listener);
  [[nodiscard]] std::shared_ptr<VsockConnection> make_connection(UniqueFd socket, bool messages) noexcept;
  void greet(VsockConnection& connection);
  void connect(const abi::VsockHeader& request);
  void answer(VsockConnection& connection);

  [[nodiscard]] bool full() const noexcept { return count_ >= options_.connections; }
  /// The connection of the table is no more for the guest; what the host has not read yet still goes to it.
  void forget(VsockConnection& connection);
  void end(VsockConnection& connection);
  void end_all() noexcept;
  void report(const Result<More>& result, unsigned queue) noexcept;

  VsockOptions options_;
  std::array<std::uint16_t, 3> queue_sizes_;
  std::atomic<std::uint64_t> cid_;   // generation << 32 | CID: they change in one step
  std::array<UniqueFd, 2> sockets_;  // stream, seqpacket
  std::array<std::shared_ptr<Listener>, 2> listeners_;
  std::unique_ptr<Table> table_;
  std::atomic<std::size_t> count_{0};
  std::array<std::optional<Queue>, 3> queues_;
  std::array<Refusal, most_refusals> refusals_;
  std::size_t first_refusal_ = 0;
  std::size_t refusal_count_ = 0;
  bool transmit_waits_ = false;  // for room among the refusals
  std::uint32_t next_port_;
  std::atomic<bool> ends_all_{false};  // asked for by reset_transport
  std::atomic<bool> tells_reset_{false};
  Activation activation_;
  std::mutex notifier_mutex_;  // reset_transport against reset
  Notifier* notifier_ = nullptr;
};

}  // namespace trivet::virtio
