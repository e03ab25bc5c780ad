// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <arpa/inet.h>
#include <cstdlib>
#include <future>
#include <new>

#include <boost/asio/post.hpp>

#include "net_fixture.hpp"
#include "net_hash.hpp"

namespace {

// What this thread allocates that could be a frame's: the event loop's own small change is not the device's.
constexpr std::size_t large = 4096;
thread_local std::uint64_t large_allocations = 0;

}  // namespace

// Not inlined: GCC would pair a visible free with a new that it does not see.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (size >= large) ++large_allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  std::abort();
}
// ASan's own does not go through the one above.
[[gnu::noinline]] void* operator new[](std::size_t size) {
  return operator new(size);
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace trivet::test {

using virtio::NetHash;

/// The key of Microsoft's verification suite ("Verifying the RSS Hash Calculation").
const std::string suite_key(
    "\x6d\x5a\x56\xda\x25\x5b\x0e\xc2\x41\x67\x25\x3d\x43\xa3\x8f\xb0\xd0\xca\x2b\xcb\xae\x7b\x30\xb4\x77\xcb\x2d\xa3"
    "\x80\x30"
    "\xf2\x0c\x6a\x42\xb7\x3b\xbe\xac\x01\xfa",
    40);

inline std::string big16(unsigned value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}
inline std::string address(const char* text) {
  const bool six = std::strchr(text, ':') != nullptr;
  std::string bytes(six ? 16 : 4, '\0');
  EXPECT_EQ(::inet_pton(six ? AF_INET6 : AF_INET, text, bytes.data()), 1);
  return bytes;
}

/// A flow of Microsoft's suite, and its hashes over addresses alone and with ports.
struct Flow {
  const char* destination;
  unsigned to;
  const char* source;
  unsigned from;
  std::uint32_t addresses;
  std::uint32_t ports;

  [[nodiscard]] bool six() const { return std::strchr(source, ':') != nullptr; }
  /// A frame of it. `fragment`: the flags and offset of IPv4.
  [[nodiscard]] std::string frame(std::uint8_t protocol = 6, unsigned fragment = 0, const std::string& options = {},
                                  const std::string& tag = {}) const {
    const auto l4 = big16(from) + big16(to) + std::string(16, '\0');
    const auto ethernet = text_of(own_mac) + std::string(6, '\2') + tag;
    if (six()) {
      return ethernet + "\x86\xdd" + std::string("\x60\0\0\0", 4) + big16(20) + static_cast<char>(protocol) + "\x40" +
             address(source) + address(destination) + l4;
    }
    const auto words = static_cast<char>(0x45 + options.size() / 4);
    return ethernet + std::string("\x08\0", 2) + words + std::string(1, '\0') + big16(40) + std::string(2, '\0') +
           big16(fragment) + "\x40" + static_cast<char>(protocol) + std::string(2, '\0') + address(source) +
           address(destination) + options + l4;
  }
};

const std::vector<Flow> suite{
    {"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    {"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    {"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    {"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    {"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    {"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985, 0x02d1feef},
};

NetHash hash_of(std::uint32_t types) {
  NetHash hash;
  hash.set(types, std::as_bytes(std::span(suite_key)));
  return hash;
}
NetHash::Value of(const NetHash& hash, const std::string& frame) {
  return hash.of(std::as_bytes(std::span(frame)).first(std::min(frame.size(), NetHash::looks_at)));
}

TEST(NetHash, IsThatOfMicrosoftsVerificationSuite) {
  for (const auto& flow : suite) {
    const auto addresses = of(hash_of(abi::net_hash_ipv4 | abi::net_hash_ipv6), flow.frame());
    EXPECT_EQ(addresses.hash, flow.addresses) << flow.source;
    EXPECT_EQ(addresses.report, flow.six() ? abi::net_hash_report_ipv6 : abi::net_hash_report_ipv4);
    const auto tcp = of(hash_of(abi::net_hash_types), flow.frame(6));
    EXPECT_EQ(tcp.hash, flow.ports) << flow.source;
    EXPECT_EQ(tcp.report, flow.six() ? abi::net_hash_report_tcpv6 : abi::net_hash_report_tcpv4);
    const auto udp = of(hash_of(abi::net_hash_types), flow.frame(17));
    EXPECT_EQ(udp.hash, flow.ports);
    EXPECT_EQ(udp.report, flow.six() ? abi::net_hash_report_udpv6 : abi::net_hash_report_udpv4);
  }
}

TEST(NetHash, TakesWhatTheFrameAndTheDriverHave) {
  const auto& four = suite[0];
  const auto& six = suite[5];
  const auto all = hash_of(abi::net_hash_types);
  EXPECT_EQ(of(all, four.frame(1)).hash, four.addresses) << "ICMP has no ports";
  EXPECT_EQ(of(all, six.frame(58)).report, abi::net_hash_report_ipv6);
  for (const unsigned fragment : {0x2000U, 0x2001U, 1U}) {
    EXPECT_EQ(of(all, four.frame(6, fragment)).report, abi::net_hash_report_ipv4) << "a fragment";
  }
  EXPECT_EQ(of(all, four.frame(6, 0x4000)).hash, four.ports) << "don't fragment";
  EXPECT_EQ(of(all, four.frame(6, 0, std::string(40, '\1'))).hash, four.ports) << "behind options";
  EXPECT_EQ(of(all, four.frame(6, 0, {}, std::string("\x81\0\0\7", 4))).hash, four.ports) << "behind a VLAN's tag";
  EXPECT_EQ(of(hash_of(abi::net_hash_udpv4), four.frame(6)).report, abi::net_hash_report_none);
  EXPECT_EQ(of(hash_of(abi::net_hash_ipv6), four.frame(6)).report, abi::net_hash_report_none);
  EXPECT_EQ(of(hash_of(0), four.frame()).report, abi::net_hash_report_none);
  EXPECT_EQ(of(all, frame_to(own_mac)).report, abi::net_hash_report_none);
}

TEST(NetHash, LooksAtNoMoreThanThereIs) {
  const auto all = hash_of(abi::net_hash_types);
  for (const auto& flow : {suite[0], suite[5]}) {
    const auto whole = flow.frame(6, 0, flow.six() ? "" : std::string(40, '\1'), std::string("\x81\0\0\7", 4));
    for (std::size_t size = 0; size <= whole.size(); ++size) {
      const std::vector<char> exact(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));  // for ASan
      (void)all.of(std::as_bytes(std::span(exact)).first(std::min(size, NetHash::looks_at)));
    }
  }
}

/// Two pairs; the control queue is 4.
struct NetRssTest : NetTest {
  void start_two(std::uint64_t without = 0) {
    ASSERT_NO_FATAL_FAILURE(make({.rss = true}, 2));
    bench->start(5, 16, without);
    for (int i = 0; i < 6; ++i) {
      offer({1526}, 0);
      offer({1526}, 2);
    }
  }
  static std::string little(std::uint64_t value, unsigned size) {
    std::string bytes;
    for (unsigned i = 0; i < size; ++i) bytes += static_cast<char>(i < 8 ? value >> (8 * i) : 0);
    return bytes;
  }
  static std::string config(const std::vector<unsigned>& table, std::uint32_t types = abi::net_hash_types,
                            unsigned unclassified = 0, unsigned transmitters = 2, const std::string& key = suite_key) {
    std::string text = little(types, 4) + little(table.size() - 1, 2) + little(unclassified, 2);
    for (const auto pair : table) text += little(pair, 2);
    return text + little(transmitters, 2) + static_cast<char>(key.size()) + key;
  }
  int configure(const std::string& text) { return command(abi::net_ctrl_mq, abi::net_ctrl_mq_rss_config, text, 4); }
  /// By which pair it comes: 0 or 1; 2: by none.
  unsigned pair_of(const std::string& frame, unsigned by = 0) {
    send(frame, {}, by);
    const auto header = header_size;
    for (int round = 0; round < 400; ++round) {
      for (unsigned pair = 0; pair < 2; ++pair) {
        last = received(2 * pair, std::chrono::milliseconds(0));
        if (last == "nothing") continue;
        EXPECT_EQ(last.substr(header), frame);
        offer({1526}, 2 * pair);
        return pair;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return 2;
  }
  std::size_t header_size = 20;
  std::string last;
};

namespace {

TEST_P(NetRssTest, IsOfferedWhenAskedFor) {
  ASSERT_NO_FATAL_FAILURE(make({.rss = true}, 2));
  EXPECT_EQ(bench->offered() & (abi::net_f_rss | abi::net_f_hash_report), abi::net_f_rss | abi::net_f_hash_report);
  EXPECT_EQ(bench->config<std::uint8_t>(17), 40);
  EXPECT_EQ(bench->config<std::uint16_t>(18), 128);
  EXPECT_EQ(bench->config<std::uint32_t>(20), 0x3fU);
  ASSERT_NO_FATAL_FAILURE(make({.rss = true}));
  EXPECT_EQ(bench->offered() & (abi::net_f_rss | abi::net_f_hash_report), abi::net_f_hash_report) << "one pair";
  ASSERT_NO_FATAL_FAILURE(make({}, 2));
  EXPECT_EQ(bench->offered() & (abi::net_f_rss | abi::net_f_hash_report), 0U);
  EXPECT_EQ(bench->config<std::uint32_t>(20), 0U);
}

TEST_P(NetRssTest, FramesGoToThePairOfTheirHash) {
  ASSERT_NO_FATAL_FAILURE(start_two());
  std::vector<unsigned> table(128);
  for (std::size_t i = 0; i < table.size(); ++i) table[i] = i % 3 == 0 ? 1 : 0;
  ASSERT_EQ(configure(config(table, abi::net_hash_types, 1)), abi::net_ok);
  EXPECT_EQ(commands->pairs, 2U);
  for (const auto& flow : suite) {
    for (unsigned by = 0; by < 2; ++by) {
      EXPECT_EQ(pair_of(flow.frame(), by), table[flow.ports % 128]) << flow.source << " by " << by;
      abi::NetHashHeader header{};
      std::memcpy(&header, last.data(), sizeof header);
      EXPECT_EQ(header.hash_value.value(), flow.ports);
      EXPECT_EQ(header.hash_report.value(), flow.six() ? abi::net_hash_report_tcpv6 : abi::net_hash_report_tcpv4);
      EXPECT_EQ(header.header.num_buffers.value(), 1);
    }
  }
  EXPECT_EQ(pair_of(frame_to(own_mac)), 1U) << "one without a hash goes to the pair for those";
  abi::NetHashHeader header{};
  std::memcpy(&header, last.data(), sizeof header);
  EXPECT_EQ(header.hash_report.value(), 0);

  ASSERT_EQ(configure(config({0})), abi::net_ok);
  EXPECT_EQ(pair_of(suite[0].frame(), 1), 0U) << "another table";
  EXPECT_EQ(command(abi::net_ctrl_mq, abi::net_ctrl_mq_vq_pairs_set, little(2, 2), 4), abi::net_ok);
  EXPECT_EQ(pair_of(suite[0].frame(), 1), 1U) << "the network steers again";
}

TEST_P(NetRssTest, TheFirstFrameForAnotherPairAllocatesNothing) {
  const auto on_the_loop = [this] {
    std::promise<std::uint64_t> count;
    boost::asio::post(bench->loop, [&] { count.set_value(large_allocations); });
    return count.get_future().get();
  };
  const auto before_queues = [&] {
    EXPECT_NO_FATAL_FAILURE(make({.rss = true}, 2));
    return on_the_loop();
  }();
  bench->start(5, 16);
  for (const unsigned queue : {0U, 2U}) offer({1526}, queue);
  const auto before = on_the_loop();
  EXPECT_GT(before, before_queues) << "what queues need is counted";
  ASSERT_EQ(configure(config({1})), abi::net_ok);
  ASSERT_EQ(pair_of(suite[0].frame()), 1U);
  EXPECT_EQ(on_the_loop(), before);
}

TEST_P(NetRssTest, LongFramesAreMergedWhereTheyGo) {
  ASSERT_NO_FATAL_FAILURE(start_two());
  ASSERT_EQ(configure(config({1})), abi::net_ok);
  auto frame = suite[0].frame();
  for (int i = 0; i < 4000; ++i) frame += static_cast<char>('a' + i % 23);
  send(frame);
  auto got = received(2);
  abi::NetHashHeader header{};
  std::memcpy(&header, got.data(), sizeof header);
  ASSERT_EQ(header.header.num_buffers.value(), 3);
  got += received(2);
  got += received(2);
  EXPECT_EQ(got.substr(20), frame);

  send(frame + std::string(9000, 'x'));  // more than its buffers hold
  send(suite[0].frame());
  EXPECT_EQ(received(2).substr(20), suite[0].frame()) << "the long one is lost, and its buffers are not";
}

TEST_P(NetRssTest, WithoutReportsTheHeaderIsTheShortOne) {
  ASSERT_NO_FATAL_FAILURE(start_two(abi::net_f_hash_report));
  header_size = 12;
  ASSERT_EQ(configure(config({0, 1})), abi::net_ok);
  for (const auto& flow : suite) EXPECT_EQ(pair_of(flow.frame()), flow.ports % 2);
  EXPECT_EQ(command(abi::net_ctrl_mq, abi::net_ctrl_mq_hash_config, little(0, 12) + '\0', 4), abi::net_err);
}

TEST_P(NetRssTest, ReportsWithoutSteering) {
  ASSERT_NO_FATAL_FAILURE(start_two(abi::net_f_rss));
  EXPECT_EQ(configure(config({1})), abi::net_err);
  EXPECT_EQ(pair_of(suite[0].frame()), 0U);
  EXPECT_EQ(last.substr(12, 8), std::string(8, '\0')) << "no types, no hash";
  const auto set = [&](const std::string& text) {
    return command(abi::net_ctrl_mq, abi::net_ctrl_mq_hash_config, text, 4);
  };
  EXPECT_EQ(set(little(abi::net_hash_ipv4, 4) + little(0, 8) + '\x28' + suite_key), abi::net_ok);
  EXPECT_EQ(pair_of(suite[0].frame()), 0U);
  EXPECT_EQ(last.substr(12, 8), little(suite[0].addresses, 4) + std::string("\1\0\0\0", 4));
  EXPECT_EQ(set(little(0x40, 4) + little(0, 8) + '\x28' + suite_key), abi::net_err) << "a type not offered";
  EXPECT_EQ(set(little(1, 4) + little(0, 8) + '\x29' + suite_key + 'x'), abi::net_err) << "a key too long";
  EXPECT_EQ(set(little(1, 4) + little(0, 8) + '\x28' + suite_key + 'x'), abi::net_err) << "more than the key";
  EXPECT_EQ(set(little(1, 4) + little(0, 8)), abi::net_err);
  EXPECT_EQ(set(little(1, 4)), abi::net_err);

  // The long header is the driver's way, too.
  transmit(std::string(20, '\0') + frame_to(virtio::mac_broadcast, "out"));
  EXPECT_EQ(arrived(), std::string(12, '\0') + frame_to(virtio::mac_broadcast, "out"));
}

TEST_P(NetRssTest, ConfigurationsThatAreNoneAreRefused) {
  ASSERT_NO_FATAL_FAILURE(start_two());
  ASSERT_EQ(configure(config({0})), abi::net_ok);
  EXPECT_EQ(configure(config({0, 0, 0})), abi::net_err) << "no power of two";
  EXPECT_EQ(configure(config(std::vector<unsigned>(256, 0))), abi::net_err) << "a table too long";
  EXPECT_EQ(configure(config({0, 2})), abi::net_err) << "a pair that is not there";
  EXPECT_EQ(configure(config({0, 0xffff})), abi::net_err);
  EXPECT_EQ(configure(config({1}, abi::net_hash_types, 2)), abi::net_err);
  EXPECT_EQ(configure(config({1}, abi::net_hash_types, 0, 0)), abi::net_err) << "nothing to send by";
  EXPECT_EQ(configure(config({1}, abi::net_hash_types, 0, 3)), abi::net_err);
  EXPECT_EQ(configure(config({1}, 0x1ff)), abi::net_err) << "types not offered";
  EXPECT_EQ(configure(config({1}, 1, 0, 2, std::string(41, 'k'))), abi::net_err);
  const auto whole = config({1, 1});
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_EQ(configure(whole.substr(0, size)), abi::net_err);
  EXPECT_EQ(configure(whole + 'x'), abi::net_err);
  EXPECT_EQ(configure(little(1, 4) + little(0xffff, 2) + little(0, 6)), abi::net_err);
  EXPECT_EQ(pair_of(suite[0].frame(), 1), 0U) << "what was refused changed nothing";
  EXPECT_EQ(configure(whole), abi::net_ok);
  EXPECT_EQ(pair_of(suite[0].frame(), 0), 1U);

  bench->start(5, 16);
  for (const unsigned queue : {0U, 2U}) offer({1526}, queue);
  EXPECT_EQ(pair_of(suite[0].frame(), 0), 0U) << "a reset forgets it";
  EXPECT_EQ(bench->status(), 15U);
}

INSTANTIATE_TEST_SUITE_P(Homes, NetRssTest, ::testing::Values(Home::mmio, Home::pci),
                         [](const auto& home) { return std::string(name(home.param)); });

}  // namespace
}  // namespace trivet::test
