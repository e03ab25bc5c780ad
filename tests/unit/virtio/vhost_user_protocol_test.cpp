// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <sys/socket.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "vhost_user_fixture.hpp"

namespace trivet::test {
namespace {

using wire::Request;
using Protocol = VhostUserTest;

/// A request as it should be, and its name in errors.
struct Shape {
  Request request;
  const char* name;
  std::uint32_t bytes;
  unsigned descriptors;
};

constexpr std::array shapes{
    Shape{Request::get_features, "GET_FEATURES", 0, 0},
    Shape{Request::set_features, "SET_FEATURES", 8, 0},
    Shape{Request::set_owner, "SET_OWNER", 0, 0},
    Shape{Request::reset_owner, "RESET_OWNER", 0, 0},
    Shape{Request::set_mem_table, "SET_MEM_TABLE", 40, 1},
    Shape{Request::set_vring_num, "SET_VRING_NUM", 8, 0},
    Shape{Request::set_vring_addr, "SET_VRING_ADDR", 40, 0},
    Shape{Request::set_vring_base, "SET_VRING_BASE", 8, 0},
    Shape{Request::get_vring_base, "GET_VRING_BASE", 8, 0},
    Shape{Request::set_vring_kick, "SET_VRING_KICK", 8, 1},
    Shape{Request::set_vring_call, "SET_VRING_CALL", 8, 1},
    Shape{Request::set_vring_err, "SET_VRING_ERR", 8, 1},
    Shape{Request::get_protocol_features, "GET_PROTOCOL_FEATURES", 0, 0},
    Shape{Request::set_protocol_features, "SET_PROTOCOL_FEATURES", 8, 0},
    Shape{Request::get_queue_num, "GET_QUEUE_NUM", 0, 0},
    Shape{Request::set_vring_enable, "SET_VRING_ENABLE", 8, 0},
    Shape{Request::set_backend_req_fd, "SET_BACKEND_REQ_FD", 0, 1},
    Shape{Request::get_config, "GET_CONFIG", 12, 0},
    Shape{Request::set_config, "SET_CONFIG", 12, 0},
    Shape{Request::reset_device, "RESET_DEVICE", 0, 0},
    Shape{Request::get_max_mem_slots, "GET_MAX_MEM_SLOTS", 0, 0},
    Shape{Request::add_mem_reg, "ADD_MEM_REG", 40, 1},
    Shape{Request::set_status, "SET_STATUS", 8, 0},
    Shape{Request::get_status, "GET_STATUS", 0, 0},
};

/// A connection, one bad message on it, and its end; nothing of it is left.
struct Refusals : ::testing::Test {
  struct Connection : VhostUserTest {
    void TestBody() override {}
  };

  template <class Say>
  void expect(const std::string& why, Say say, bool connected = true) {
    SCOPED_TRACE(why);
    const auto before = open_descriptors();
    {
      Connection connection;
      ASSERT_NO_FATAL_FAILURE(connected ? connection.connect() : connection.make());
      ASSERT_NO_FATAL_FAILURE(say(connection));
      ASSERT_NO_FATAL_FAILURE(connection.expect_refused(why));
      EXPECT_EQ(connection.log.size(), 1U);
    }
    EXPECT_EQ(open_descriptors(), before) << "a descriptor was left open";
  }
  static void send(Connection& connection, Request request, std::size_t bytes, unsigned descriptors,
                   std::uint32_t flags = 0) {
    const std::vector<std::byte> payload(bytes);
    const std::vector<int> files(descriptors, connection.kick.fd());
    ASSERT_TRUE(connection.front_end->send(static_cast<std::uint32_t>(request), flags, payload, files));
  }
};

TEST_F(Refusals, EachRequestHasOneShape) {
  for (const Shape& shape : shapes) {
    const auto with = [&](std::size_t bytes, unsigned descriptors) {
      expect(shape.name, [=, &shape](auto& it) { send(it, shape.request, bytes, descriptors); });
    };
    // What would follow is refused before the request does anything.
    with(shape.bytes + 1000, shape.descriptors);
    with(shape.bytes, shape.descriptors + 1);
    if (shape.bytes != 0) with(shape.bytes - 1, shape.descriptors);
    if (shape.bytes != 0) with(0, shape.descriptors);
    if (shape.descriptors != 0) with(shape.bytes, 0);
  }
}

TEST_F(Refusals, EachRequestHasItsTime) {
  for (const Shape& shape : shapes) {
    if (shape.request == Request::set_owner) {
      expect("SET_OWNER: a second time", [](auto& it) { send(it, Request::set_owner, 0, 0); });
      continue;
    }
    // Nothing is negotiated and nobody is the owner: what may come now is only what asks and negotiates.
    const bool at_any_time =
        shape.request == Request::get_features || shape.request == Request::get_protocol_features ||
        shape.request == Request::set_protocol_features || shape.request == Request::set_vring_enable;
    if (at_any_time) continue;
    expect(
        shape.name, [&](auto& it) { send(it, shape.request, shape.bytes, shape.descriptors); }, false);
  }
}

TEST_F(Refusals, HeadersThatAreNone) {
  const auto unknown = [](std::uint32_t request) {
    return [=](auto& it) { ASSERT_TRUE(it.front_end->send(request, 0, {})); };
  };
  expect("request 0", unknown(0));
  expect("request 31", unknown(31));
  expect("request 4294967295", unknown(0xffffffff));
  expect("GET_FEATURES: a reply", [](auto& it) { send(it, Request::get_features, 0, 0, wire::flag_reply); });
  expect("flags 0x11", [](auto& it) { send(it, Request::get_features, 0, 0, 16); });
  expect("flags 0x3", [](auto& it) { send(it, Request::get_features, 0, 0, 2); });
  expect(
      "REPLY_ACK was not negotiated", [](auto& it) { send(it, Request::set_owner, 0, 0, wire::flag_need_reply); },
      false);
  expect("more than 4096", [](auto& it) {
    const wire::Header header{2, 1, 4097};
    ASSERT_EQ(::send(it.front_end->fd(), &header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
  });
}

TEST_F(Refusals, AnEndInsideAMessage) {
  for (const std::size_t bytes : {1U, 11U, 12U, 15U}) {
    expect("inside a message, after " + std::to_string(bytes), [&](auto& it) {
      const wire::Header header{2, 1, 8};
      std::array<std::byte, 20> message{};
      std::memcpy(message.data(), &header, sizeof header);
      ASSERT_EQ(::send(it.front_end->fd(), message.data(), bytes, 0), static_cast<ssize_t>(bytes));
      ASSERT_EQ(::shutdown(it.front_end->fd(), SHUT_WR), 0);
    });
  }
}

TEST_F(Refusals, MoreDescriptorsThanAnyMessageHas) {
  expect("more than 32 descriptors", [](auto& it) {
    // Beyond what a FrontEnd sends: by hand.
    std::array<int, 40> files{};
    files.fill(it.kick.fd());
    wire::Header header{2, 1, 0};
    iovec part{&header, sizeof header};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof files)> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    auto* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof files);
    std::memcpy(CMSG_DATA(rights), files.data(), sizeof files);
    ASSERT_EQ(::sendmsg(it.front_end->fd(), &message, 0), static_cast<ssize_t>(sizeof header));
  });
}

TEST_F(Refusals, WhatTheDeviceDoesNotHave) {
  const auto tell = [](Request request, auto payload, int fd = -1) {
    return [=](auto& it) {
      const auto refused = it.front_end->tell(request, payload, std::span(&fd, fd < 0 ? 0U : 1U));
      ASSERT_FALSE(refused);
    };
  };
  using State = wire::VringState;
  expect("SET_FEATURES: 0x1 was not offered", tell(Request::set_features, std::uint64_t{1}));
  expect("SET_PROTOCOL_FEATURES: 0x2 was not offered", tell(Request::set_protocol_features, std::uint64_t{2}));
  expect("SET_VRING_NUM: no queue 2", tell(Request::set_vring_num, State{2, 8}));
  expect("SET_VRING_NUM: queue 1: 17 entries", tell(Request::set_vring_num, State{1, 17}));
  expect("SET_VRING_NUM: queue 1: 0 entries", tell(Request::set_vring_num, State{1, 0}));
  expect("SET_VRING_ADDR: no queue", tell(Request::set_vring_addr, wire::VringAddress{~0U, 0, 0, 0, 0, 0}));
  expect("SET_VRING_ADDR: queue 0: flags 0x1", tell(Request::set_vring_addr, wire::VringAddress{0, 1, 0, 0, 0, 0}));
  expect("SET_VRING_BASE: no queue", tell(Request::set_vring_base, State{2, 0}));
  expect("SET_VRING_ENABLE: no queue", tell(Request::set_vring_enable, State{2, 0}));
  expect("SET_VRING_ENABLE: queue 0: a state of 2", tell(Request::set_vring_enable, State{0, 2}));
  expect("SET_STATUS: a status of 0x100", tell(Request::set_status, std::uint64_t{0x100}));
  expect("SET_VRING_CALL: a value of 0x200", tell(Request::set_vring_call, std::uint64_t{0x200}));
  expect("SET_VRING_CALL: 0 descriptors", tell(Request::set_vring_call, std::uint64_t{0}));
  for (const auto request : {Request::set_vring_call, Request::set_vring_err, Request::set_vring_kick}) {
    expect("1 descriptors with a value of 0x100", [&](auto& it) {
      const int fd = it.kick.fd();
      ASSERT_FALSE(it.front_end->tell(request, wire::vring_no_descriptor, std::span(&fd, 1)));
    });
    expect("no queue 2", [&](auto& it) { ASSERT_FALSE(it.front_end->set_event(request, 2, it.kick.fd())); });
    expect("is no event", [&](auto& it) { ASSERT_FALSE(it.front_end->set_event(request, 0, it.memory.value())); });
  }
  expect("SET_VRING_KICK: a ring without a descriptor",
         [](auto& it) { ASSERT_FALSE(it.front_end->set_event(Request::set_vring_kick, 0, -1)); });
  expect("SET_BACKEND_REQ_FD: the descriptor is no socket", [](auto& it) {
    const int fd = it.kick.fd();
    ASSERT_FALSE(it.front_end->tell(Request::set_backend_req_fd, ConstBytes(), std::span(&fd, 1)));
  });
  expect("GET_CONFIG: a size of 257", [](auto& it) {
    const wire::ConfigSpace space{0, 257, 0};
    ASSERT_FALSE(it.front_end->ask(Request::get_config, std::as_bytes(std::span(&space, 1))));
  });
  expect("SET_CONFIG: a size of 4", tell(Request::set_config, wire::ConfigSpace{0, 4, 0}));
  expect("SET_CONFIG: flags 0x2", tell(Request::set_config, wire::ConfigSpace{0, 0, 2}));
}

TEST_F(Refusals, WhatComesOutOfOrder) {
  const auto running = [](auto then) {
    return [=](Connection& it) {
      ASSERT_NO_FATAL_FAILURE(it.prepare());
      ASSERT_NO_FATAL_FAILURE(it.run());
      ASSERT_FALSE(then(it));
    };
  };
  using State = wire::VringState;
  expect("SET_VRING_NUM: queue 0 is started", running([](auto& it) {
           return it.front_end->tell(Request::set_vring_num, State{0, 4});
         }));
  expect("SET_VRING_BASE: queue 0 is started", running([](auto& it) {
           return it.front_end->tell(Request::set_vring_base, State{0, 4});
         }));
  expect("SET_VRING_ADDR: queue 0 is started",
         running([](auto& it) { return it.front_end->tell(Request::set_vring_addr, it.address(0)); }));
  expect("SET_FEATURES: while rings run", running([](auto& it) {
           return it.front_end->tell(Request::set_features, it.features & ~EchoDevice::feature);
         }));
  expect("SET_PROTOCOL_FEATURES: while rings run",
         running([](auto& it) { return it.front_end->tell(Request::set_protocol_features, std::uint64_t{0}); }));
  expect("SET_VRING_KICK: before SET_VRING_NUM",
         [](auto& it) { ASSERT_FALSE(it.front_end->set_event(Request::set_vring_kick, 0, it.kick.fd())); });
  expect("rings without VIRTIO_F_VERSION_1", [](auto& it) {
    ASSERT_NO_FATAL_FAILURE(it.prepare());
    ASSERT_TRUE(it.front_end->tell(Request::set_features, wire::f_protocol_features));
    ASSERT_TRUE(it.front_end->set_event(Request::set_vring_kick, 0, it.kick.fd()));
    ASSERT_FALSE(it.front_end->tell(Request::set_vring_enable, 0, 1));
  });
}

TEST_F(Refusals, MemoryThatIsNone) {
  constexpr auto page = VhostUserTest::page;
  const auto table = [](std::vector<wire::MemoryRegion> regions) {
    return [=](Connection& it) { ASSERT_FALSE(it.set_table(regions)); };
  };
  const auto region = VhostUserTest::region(0, 4);
  const auto with = [&](auto change) {
    auto other = VhostUserTest::region(4, 4);
    change(other);
    return other;
  };
  expect("SET_MEM_TABLE: 0x0 bytes", table({with([](auto& it) { it.size = 0; })}));
  expect("or it wraps", table({with([](auto& it) { it.guest_address = ~0ULL; })}));
  expect("or it wraps", table({with([](auto& it) { it.user_address = ~0ULL - page; })}));
  expect("aligned", table({with([](auto& it) { it.mmap_offset = 12; })}));
  expect("multiple", table({with([](auto& it) { it.size = 100; })}));
  expect("aligned", table({with([](auto& it) { it.guest_address = 100; })}));
  expect("beyond the file's end", table({with([](auto& it) { it.mmap_offset = 13 * page; })}));
  expect("beyond the file's end", table({with([](auto& it) { it.size = 1ULL << 40; })}));
  expect("overlaps", table({region, with([](auto& it) { it.guest_address = page; })}));
  expect("overlaps", table({region, with([](auto& it) { it.user_address = VhostUserTest::user; })}));
  expect("overlaps", table({region, region}));
  expect("SET_MEM_TABLE: 1 regions in 72 bytes", [](auto& it) {
    const struct {
      wire::MemoryTable table;
      std::array<wire::MemoryRegion, 2> regions;
    } payload{{1, 0}, {}};
    const int fd = it.memory.value();
    ASSERT_FALSE(it.front_end->tell(Request::set_mem_table, payload, std::span(&fd, 1)));
  });
  expect("SET_MEM_TABLE: 2 descriptors for 1 regions", [](auto& it) {
    const struct {
      wire::MemoryTable table;
      wire::MemoryRegion region;
    } payload{{1, 0}, VhostUserTest::region(0, 1)};
    const std::array files{it.memory.value(), it.memory.value()};
    ASSERT_FALSE(it.front_end->tell(Request::set_mem_table, payload, files));
  });
  expect("the descriptor is no file", [](auto& it) {
    const wire::SingleMemoryRegion payload{0, VhostUserTest::region(0, 1)};
    const int fd = it.kick.fd();
    ASSERT_FALSE(it.front_end->tell(Request::add_mem_reg, payload, std::span(&fd, 1)));
  });
  expect("REM_MEM_REG: 0x4000 bytes at 0x0", [&](auto& it) {
    ASSERT_FALSE(it.front_end->tell(Request::rem_mem_reg, wire::SingleMemoryRegion{0, region}));
  });
}

TEST_F(Refusals, RingsThatAreInNoMemory) {
  const auto starts = [](auto change) {
    return [=](Connection& it) {
      ASSERT_NO_FATAL_FAILURE(it.prepare());
      change(it);
      ASSERT_TRUE(it.front_end->set_event(Request::set_vring_kick, 0, it.kick.fd()));
      ASSERT_FALSE(it.front_end->tell(Request::set_vring_enable, 0, 1));
    };
  };
  expect("queue 0: 128 bytes at the front end's 0x10 are in no region", starts([](auto& it) {
           auto address = it.address(0);
           address.descriptor = 16;
           ASSERT_TRUE(it.front_end->tell(Request::set_vring_addr, address));
         }));
  expect("are in no region", starts([](auto& it) { ASSERT_TRUE(it.set_table({it.region(8, 4)})); }));
  expect("are in no region", starts([](auto& it) { ASSERT_TRUE(it.set_table({})); }));
  expect("queue 0: base 0x10000",
         starts([](auto& it) { ASSERT_TRUE(it.front_end->tell(Request::set_vring_base, 0, 0x10000)); }));
  expect("REM_MEM_REG: queue 0: 128 bytes", [](auto& it) {
    ASSERT_NO_FATAL_FAILURE(it.prepare());
    ASSERT_NO_FATAL_FAILURE(it.run());
    ASSERT_FALSE(it.front_end->tell(Request::rem_mem_reg, wire::SingleMemoryRegion{0, it.region(0, 16)}));
  });
}

TEST_F(Protocol, AFrontEndThatGoesAwayIsNoError) {
  const boost::asio::posix::stream_descriptor first(loop);  // from now on the loop has all its own
  const auto before = open_descriptors();
  ASSERT_NO_FATAL_FAILURE(connect());
  ASSERT_NO_FATAL_FAILURE(prepare());
  ASSERT_NO_FATAL_FAILURE(run());
  EXPECT_EQ(device->activations, 1);
  front_end->hang_up();
  EXPECT_EQ(over.get_future().get(), "");
  EXPECT_EQ(device->resets, 1);
  EXPECT_TRUE(log.empty());
  EXPECT_TRUE(server->memory()->snapshot()->regions().empty()) << "nothing of it stays mapped";
  server.reset();
  memory.reset();
  front_end.reset();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(Protocol, MessagesMayComeInPieces) {
  ASSERT_NO_FATAL_FAILURE(connect());
  const struct {
    wire::Header header;
    wire::VringState state;
  } message{{static_cast<std::uint32_t>(Request::get_vring_base), 1, 8}, {1, 0}};
  const auto bytes = std::as_bytes(std::span(&message, 1));
  for (const auto& byte : bytes) {
    ASSERT_EQ(::send(front_end->fd(), &byte, 1, 0), 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const auto answer = front_end->receive();
  ASSERT_TRUE(answer) << to_string(answer.error());
  EXPECT_EQ(answer->at<wire::VringState>(0).index, 1U);
}

TEST_F(Protocol, ARingRunsWhenItHasAllItNeeds) {
  ASSERT_NO_FATAL_FAILURE(connect());
  ASSERT_NO_FATAL_FAILURE(prepare());
  accept(front_end->set_event(Request::set_vring_kick, 0, kick.fd()));
  EXPECT_EQ(device->activations, 0) << "it is disabled";
  accept(front_end->tell(Request::set_vring_enable, 0, 1));
  EXPECT_EQ(device->activations, 1);
  EXPECT_TRUE(device->queues[0]);
  accept(front_end->tell(Request::set_vring_enable, 0, 0));
  EXPECT_FALSE(device->queues[0]);
  accept(front_end->tell(Request::set_vring_enable, 0, 1));
  accept(front_end->set_event(Request::set_vring_kick, 0, kick.fd()));
  EXPECT_TRUE(device->queues[0]) << "with another descriptor";
  EXPECT_EQ(*front_end->stop_queue(0), 0U);
  EXPECT_FALSE(device->queues[0]);
  EXPECT_EQ(*front_end->stop_queue(1), 0U) << "one that never ran";
  EXPECT_EQ(device->resets, 0) << "it may go on";
}

TEST_F(Protocol, OtherFeaturesAreAnotherDriver) {
  ASSERT_NO_FATAL_FAILURE(connect());
  ASSERT_NO_FATAL_FAILURE(prepare());
  ASSERT_NO_FATAL_FAILURE(run());
  EXPECT_EQ(*front_end->stop_queue(0), 0U);
  accept(front_end->tell(Request::set_features, features));
  EXPECT_EQ(device->resets, 0);
  accept(front_end->tell(Request::set_features, features & ~EchoDevice::feature));
  EXPECT_EQ(device->resets, 1);
  ASSERT_NO_FATAL_FAILURE(run());
  EXPECT_EQ(device->activations, 2);
  EXPECT_EQ(device->activation.features, virtio::abi::f_version_1);
}

TEST_F(Protocol, ResetsEndWhatRuns) {
  ASSERT_NO_FATAL_FAILURE(connect());
  ASSERT_NO_FATAL_FAILURE(prepare());
  ASSERT_NO_FATAL_FAILURE(run());
  accept(front_end->tell(Request::reset_device));
  EXPECT_EQ(device->resets, 1);
  EXPECT_EQ(front_end->ask_number(Request::get_status).value(), 0U);
  ASSERT_NO_FATAL_FAILURE(run());
  EXPECT_EQ(device->activations, 2) << "what is known of the ring stays";
  accept(front_end->tell(Request::reset_owner));
  EXPECT_FALSE(device->queues[0]);
  EXPECT_EQ(device->resets, 1) << "rings only";
}

TEST_F(Protocol, RegionsAreFoundByWhereTheFrontEndSeesThem) {
  ASSERT_NO_FATAL_FAILURE(connect());
  accept(front_end->tell(Request::set_features, features));
  // The guest sees the second half of the descriptor first, and the front end sees both elsewhere.
  accept(set_table({{0, 8 * page, user + 100 * page, 8 * page}, {8 * page, 8 * page, user, 0}}));
  const auto seen = server->memory()->snapshot();
  const std::uint64_t mark = 0x1122334455667788;
  ASSERT_EQ(::pwrite(memory.value(), &mark, sizeof mark, 8 * page), static_cast<ssize_t>(sizeof mark));
  EXPECT_EQ(*seen->load<std::uint64_t>({0}), mark);
  ASSERT_NO_FATAL_FAILURE(place(0));
  ASSERT_NO_FATAL_FAILURE(run());
  ASSERT_TRUE(device->queues[0]);
  EXPECT_EQ(device->queues[0]->config().descriptor_area.value, 9 * page);

  // The same ring, elsewhere in the guest's eyes.
  accept(set_table({{32 * page, 8 * page, user, 0}}));
  ASSERT_TRUE(device->queues[0]);
  EXPECT_EQ(device->queues[0]->config().descriptor_area.value, 33 * page);
  EXPECT_EQ(device->activations, 1);
}

TEST_F(Protocol, WhatTheHostCannotDoIsAnswered) {
  ASSERT_NO_FATAL_FAILURE(connect());
  ASSERT_NO_FATAL_FAILURE(prepare());
  device->fail_activation = true;
  accept(front_end->set_event(Request::set_vring_kick, 0, kick.fd()));
  EXPECT_FALSE(front_end->tell(Request::set_vring_enable, 0, 1));
  device->fail_activation = false;
  device->fail_start = true;
  EXPECT_FALSE(front_end->tell(Request::set_vring_enable, 0, 1));
  device->fail_start = false;
  accept(front_end->tell(Request::set_vring_enable, 0, 1));
  EXPECT_TRUE(device->queues[0]) << "the connection lives, and all may be tried again";
  EXPECT_EQ(log.size(), 2U);
}

TEST_F(Protocol, SlotsAreBounded) {
  ASSERT_NO_FATAL_FAILURE(connect());
  const auto most = *front_end->ask_number(Request::get_max_mem_slots);
  EXPECT_EQ(most, vhost_user::Memory::most_slots);
  const int fd = memory.value();
  const auto add = [&](std::uint64_t n) {
    const wire::SingleMemoryRegion region{0, {n * page, page, user + n * page, 0}};
    return front_end->tell(Request::add_mem_reg, region, std::span(&fd, 1));
  };
  for (std::uint64_t n = 0; n < most; ++n) ASSERT_NO_FATAL_FAILURE(accept(add(n)));
  EXPECT_FALSE(add(most));
  const wire::SingleMemoryRegion first{0, {0, page, user, 0}};
  accept(front_end->tell(Request::rem_mem_reg, first, std::span(&fd, 1)));  // as some front ends do
  accept(add(most));
  EXPECT_EQ(server->memory()->snapshot()->regions().size(), most);
}

TEST_F(Protocol, ConfigurationInAnyWidth) {
  ASSERT_NO_FATAL_FAILURE(connect());
  std::array<std::byte, wire::most_config> all{};
  all.fill(std::byte{0xee});
  accept(front_end->read_config(0, all));
  EXPECT_EQ(all[0], std::byte{0x44});
  EXPECT_EQ(all[3], std::byte{0x11});
  EXPECT_EQ(all[4], std::byte{0});
  EXPECT_EQ(all[255], std::byte{0});
  accept(front_end->read_config(0xffffffff, Bytes(all).first(3)));
  EXPECT_EQ(all[0], std::byte{0});
  accept(front_end->read_config(2, Bytes()));
  const std::uint32_t value = 7;
  accept(front_end->write_config(0, std::as_bytes(std::span(&value, 1))));
  EXPECT_EQ(device->setting, 7U);
}

TEST_F(Protocol, AFrontEndThatDoesNotReadIsLeft) {
  ASSERT_NO_FATAL_FAILURE(connect());
  auto future = over.get_future();
  while (future.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
    (void)front_end->send(static_cast<std::uint32_t>(Request::get_features), 0, {});
  }
  EXPECT_NE(future.get().find("does not read"), std::string::npos);
}

TEST(VhostUserServer, NamesWhatIsMissing) {
  boost::asio::io_context loop;
  auto [ours, theirs] = vhost_user::FrontEnd::sockets();
  using vhost_user::Server;
  EXPECT_EQ(Server::create(nullptr, std::move(theirs), {.executor = loop.get_executor()}).error().code(),
            Errc::invalid_argument);
  EXPECT_EQ(
      Server::create(std::make_unique<EchoDevice>(), UniqueFd(), {.executor = loop.get_executor()}).error().code(),
      Errc::invalid_argument);
  EXPECT_EQ(Server::create(std::make_unique<EchoDevice>(), std::move(ours),
                           {.executor = loop.get_executor(), .protocol_features = 2})
                .error()
                .code(),
            Errc::invalid_argument);
}

}  // namespace
}  // namespace trivet::test
