// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A vhost-user front end that says anything in any order, with any descriptors, and is also brought up in order so that
// it gets behind that; its memory changes meanwhile. The back end refuses or serves, ends once at most, and leaves no
// descriptor open.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <span>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <boost/asio/io_context.hpp>

#include <trivet/test/vhost_user_front_end.hpp>
#include <trivet/test/vhost_user_server.hpp>
#include <trivet/virtio/abi/features.hpp>
#include <trivet/virtio/console.hpp>
#include <trivet/virtio/rng.hpp>

namespace {

using namespace trivet;
namespace wire = test::vhost_user::abi;
using wire::Request;

constexpr std::uint64_t memory_size = 0x10000;
constexpr std::uint64_t user = 0x7f0000000000;

void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "vhost-user: broken promise: %s\n", what);
  std::abort();
}

/// The lowest number that a descriptor can have: the same before and after, and none was left open below it.
int lowest_free(int any) {
  const UniqueFd probe(::fcntl(any, F_DUPFD_CLOEXEC, 0));
  return probe.value();
}

class Play {
 public:
  Play(ConstBytes script, int memory) : script_(script), memory_(memory), kick_(::eventfd(0, EFD_CLOEXEC)) {
    auto [ours, theirs] = test::vhost_user::FrontEnd::sockets();
    socket_ = std::move(ours);
    auto made = test::vhost_user::Server::create(
        make_device(), std::move(theirs), {.executor = loop_.get_executor(), .ended = [this](const Result<void>&) {
                                             promise(!ended_, "the connection ends once");
                                             ended_ = true;
                                           }});
    promise(made.has_value(), "the server is made");
    server_ = std::move(*made);
  }
  ~Play() {
    turn();
    if (ended_) promise(server_->memory()->snapshot()->regions().empty(), "nothing stays mapped");
    server_.reset();
  }

  void run() {
    while (!script_.empty() && !ended_) step();
    socket_.reset();
    turn();
  }

 private:
  std::unique_ptr<virtio::Device> make_device() {
    if ((next<std::uint8_t>() & 1U) == 0) return std::move(*virtio::Rng::create());
    return std::move(*virtio::Console::create({.columns = 80, .rows = 25}));
  }

  void step() {
    switch (next<std::uint8_t>() % 6) {
      case 0:
        return any_request();
      case 1:
        return any_bytes();
      case 2:
        return bring_up();
      case 3: {
        const auto at = next<std::uint16_t>();
        const auto value = next<std::uint64_t>();
        (void)::pwrite(memory_, &value, sizeof value, at % (memory_size - sizeof value));
        return;
      }
      case 4: {
        const std::uint64_t one = 1;
        (void)::write(kick_.value(), &one, sizeof one);
        return turn();
      }
      default:
        return turn();
    }
  }

  void any_request() {
    const auto request = next<std::uint8_t>();
    const auto flags = next<std::uint8_t>();
    const auto descriptors = next<std::uint8_t>();
    const auto size = next<std::uint8_t>();
    send(request, flags, take(size), descriptors);
    turn();
  }
  void any_bytes() {
    const auto bytes = take(next<std::uint8_t>());
    (void)::send(socket_.value(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    turn();
  }

  /// All that a ring needs, but for what the script leaves out; it says where the ring is and how large.
  void bring_up() {
    const auto without = next<std::uint16_t>();
    int n = 0;
    const auto say_bytes = [&](Request request, ConstBytes payload, unsigned descriptors = 0) {
      if (((without >> n++) & 1U) == 0) {
        send(static_cast<std::uint32_t>(request), wire::version, payload, descriptors);
      }
    };
    const auto say = [&](Request request, const auto& payload, unsigned descriptors = 0) {
      say_bytes(request, std::as_bytes(std::span(&payload, 1)), descriptors);
    };
    const std::uint32_t queue = next<std::uint8_t>() % 3;
    const std::uint64_t place = user + std::uint64_t{next<std::uint8_t>()} * 0x100;
    say(Request::set_protocol_features, test::vhost_user::all_protocol_features & ~wire::protocol_f_status);
    say_bytes(Request::set_owner, {});
    say(Request::set_features,
        virtio::abi::f_version_1 | virtio::abi::f_indirect_desc | virtio::abi::f_event_idx | wire::f_protocol_features);
    const struct {
      wire::MemoryTable table;
      wire::MemoryRegion region;
    } memory{{1, 0}, {0, memory_size, user, 0}};
    say(Request::set_mem_table, memory, 1);
    say(Request::set_vring_num, wire::VringState{queue, 8});
    say(Request::set_vring_base, wire::VringState{queue, next<std::uint8_t>()});
    say(Request::set_vring_addr, wire::VringAddress{queue, 0, place, place + 0x200, place + 0x100, 0});
    say(Request::set_vring_kick, std::uint64_t{queue}, 2);
    say(Request::set_vring_call, std::uint64_t{queue}, 2);
    say(Request::set_vring_enable, wire::VringState{queue, 1});
    turn();
  }

  /// Two bits of `descriptors` say how many, the next of which kind: memory, event, socket.
  void send(std::uint32_t request, std::uint32_t flags, ConstBytes payload, unsigned descriptors) {
    static constexpr std::array counts{0U, 1U, 1U, 2U};
    std::array<int, 2> files{memory_, memory_};
    if ((descriptors & 3U) == 2) files[0] = kick_.value();
    if ((descriptors & 4U) != 0) files[0] = socket_.value();
    if ((descriptors & 8U) != 0) files[1] = kick_.value();
    // The channel's own version bit is set always: other versions come as bytes.
    const test::vhost_user::Channel channel(UniqueFd(::fcntl(socket_.value(), F_DUPFD_CLOEXEC, 0)));
    (void)channel.send(request, flags, payload, std::span(files).first(counts[descriptors & 3U]));
  }

  /// A front end that kicks without end leaves the loop always something to do: so much and no more.
  void turn() {
    loop_.restart();
    for (int i = 0; i < 300 && loop_.poll_one() != 0; ++i) {
    }
    std::array<char, 4096> answers;
    while (socket_.valid() && ::recv(socket_.value(), answers.data(), answers.size(), MSG_DONTWAIT) > 0) {
    }
  }

  template <class T>
  T next() {
    T value{};
    const auto bytes = take(sizeof value);
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  ConstBytes take(std::size_t count) {
    const auto bytes = script_.first(std::min(count, script_.size()));
    script_ = script_.subspan(bytes.size());
    return bytes;
  }

  ConstBytes script_;
  int memory_;
  UniqueFd kick_;
  UniqueFd socket_;
  boost::asio::io_context loop_{1};
  bool ended_ = false;
  std::unique_ptr<test::vhost_user::Server> server_;
};

}  // namespace

// The first byte: which device. Then steps, see Play.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int memory = [] {
    const int fd = ::memfd_create("guest", MFD_CLOEXEC);
    promise(fd >= 0 && ::ftruncate(fd, memory_size) == 0, "there is memory");
    return fd;
  }();
  const std::array<std::byte, 256> zeros{};
  for (off_t at = 0; at < static_cast<off_t>(memory_size); at += 256) (void)::pwrite(memory, zeros.data(), 256, at);
  const int before = lowest_free(memory);
  Play(std::as_bytes(std::span(data, size)), memory).run();
  promise(lowest_free(memory) == before, "no descriptor is left open");
  return 0;
}
