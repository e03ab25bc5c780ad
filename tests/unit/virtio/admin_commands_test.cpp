// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstring>
#include <gtest/gtest.h>
#include <string>

#include <trivet/test/driver.hpp>
#include <trivet/virtio/admin_commands.hpp>

namespace trivet::test {
namespace {

namespace abi = virtio::abi;

/// Commands as a driver puts them into a queue, and their answers.
struct AdminCommands : ::testing::Test {
  struct Answer {
    std::uint16_t status = 0xffff;
    std::uint16_t qualifier = 0xffff;
    std::string result;  ///< what follows them
    std::uint32_t written = 0;
  };
  static constexpr std::uint16_t sriov = abi::admin_group_sriov;
  static constexpr std::uint64_t both = 3;

  static std::string command(std::uint16_t opcode, std::uint16_t group, const std::string& data = {}) {
    abi::AdminCommandHeader header{};
    header.opcode = opcode;
    header.group_type = group;
    std::string text(sizeof header, '\0');
    std::memcpy(text.data(), &header, sizeof header);
    return text + data;
  }
  static std::string word(std::uint64_t value) {
    std::string text(sizeof value, '\0');
    std::memcpy(text.data(), &value, sizeof value);
    return text;
  }
  /// With so many bytes for the answer, each in a buffer of its own.
  Answer execute(const std::string& text, std::uint32_t room = 24) {
    std::vector<Driver::Buffer> buffers;
    if (!text.empty()) buffers.push_back({guest.place(text), static_cast<std::uint32_t>(text.size()), false});
    const auto at = guest.place(std::string(64, '\xee'));
    for (std::uint32_t i = 0; i < room; ++i) buffers.push_back({{at.value + i}, 1, true});
    EXPECT_TRUE(driver.add_indirect(buffers));
    const auto chain = queue.pop();
    auto reader = virtio::Reader::create(**chain);
    auto writer = virtio::Writer::create(**chain);
    EXPECT_TRUE(reader && writer);
    if (!reader || !writer) return {};
    const auto done = commands.execute(*reader, *writer);
    EXPECT_TRUE(done) << to_string(done.error());
    EXPECT_TRUE(queue.push_used((*chain)->id(), writer->written()));
    EXPECT_TRUE(driver.take_used());
    const auto all = guest.text(at, 64);
    EXPECT_EQ(all.substr(writer->written()), std::string(64 - writer->written(), '\xee'));
    Answer answer{.result = {}, .written = writer->written()};
    const auto said = all.substr(0, answer.written);
    if (said.size() >= 4) {
      std::memcpy(&answer.status, said.data(), 2);
      std::memcpy(&answer.qualifier, said.data() + 2, 2);
    }
    if (said.size() > sizeof(abi::AdminCommandStatus)) answer.result = said.substr(sizeof(abi::AdminCommandStatus));
    return answer;
  }
  void expect_refused(const Answer& answer, std::uint16_t qualifier) {
    EXPECT_EQ(answer.status, abi::admin_status_einval);
    EXPECT_EQ(answer.qualifier, qualifier);
    EXPECT_EQ(answer.result, "");
  }

  TestGuest guest;
  Driver driver{guest, 64};  // a chain has at most as many buffers
  virtio::Queue queue = driver.queue();
  virtio::AdminCommands commands{{sriov}};
};

TEST_F(AdminCommands, ListsWhatThereIs) {
  const auto answer = execute(command(abi::admin_cmd_list_query, sriov));
  EXPECT_EQ(answer.status, abi::admin_status_ok);
  EXPECT_EQ(answer.qualifier, abi::admin_status_q_ok);
  EXPECT_EQ(answer.result, word(both));
  EXPECT_EQ(answer.written, 16U) << "what is longer stays as it is";
}

TEST_F(AdminCommands, TakesWhatTheDriverUses) {
  EXPECT_EQ(execute(command(abi::admin_cmd_list_use, sriov, word(both))).status, abi::admin_status_ok);
  EXPECT_EQ(execute(command(abi::admin_cmd_list_query, sriov)).status, abi::admin_status_ok);
  // A driver may shut itself out.
  const auto last = execute(command(abi::admin_cmd_list_use, sriov, word(2)));
  EXPECT_EQ(last.status, abi::admin_status_ok);
  EXPECT_EQ(last.written, 8U);
  expect_refused(execute(command(abi::admin_cmd_list_query, sriov)), abi::admin_status_q_invalid_opcode);
  commands.reset();
  EXPECT_EQ(execute(command(abi::admin_cmd_list_query, sriov)).result, word(both));
}

TEST_F(AdminCommands, RefusesWhatItDoesNotHaveAndStaysAsItIs) {
  expect_refused(execute(command(abi::admin_cmd_list_use, sriov, word(7))), abi::admin_status_q_invalid_field);
  expect_refused(execute(command(abi::admin_cmd_list_use, sriov, word(1) + word(1))),
                 abi::admin_status_q_invalid_field);
  expect_refused(execute(command(abi::admin_cmd_list_use, sriov, word(1) + std::string(8000, '\0') + "x")),
                 abi::admin_status_q_invalid_field);
  EXPECT_EQ(execute(command(abi::admin_cmd_list_query, sriov)).result, word(both)) << "nothing was taken";
  for (const auto opcode : std::initializer_list<std::uint16_t>{2, 63, 64, 65535}) {
    expect_refused(execute(command(opcode, sriov)), abi::admin_status_q_invalid_opcode);
  }
  for (const auto group : std::initializer_list<std::uint16_t>{0, 2, 65535}) {
    expect_refused(execute(command(99, group)), abi::admin_status_q_invalid_group);
  }
}

TEST_F(AdminCommands, WithoutGroupsThereIsNoCommand) {
  commands = virtio::AdminCommands({});
  expect_refused(execute(command(abi::admin_cmd_list_query, sriov)), abi::admin_status_q_invalid_group);
}

TEST_F(AdminCommands, ShortPartsAreZerosAndLongOnesAreCut) {
  expect_refused(execute(""), abi::admin_status_q_invalid_group);
  EXPECT_EQ(execute(command(abi::admin_cmd_list_query, sriov).substr(0, 4)).result, word(both));
  EXPECT_EQ(execute(command(abi::admin_cmd_list_query, sriov, std::string(100, 'x'))).result, word(both));
  for (std::uint32_t room = 1; room < 20; ++room) {
    EXPECT_EQ(execute(command(abi::admin_cmd_list_query, sriov), room).written, std::min(room, 16U));
  }
  EXPECT_EQ(execute(command(abi::admin_cmd_list_query, sriov), 0).written, 0U);
  // Half a word of opcodes, and more zeros than there are opcodes.
  EXPECT_EQ(execute(command(abi::admin_cmd_list_use, sriov, "\3")).status, abi::admin_status_ok);
  EXPECT_EQ(execute(command(abi::admin_cmd_list_use, sriov, word(3) + std::string(9000, '\0'))).status,
            abi::admin_status_ok);
  EXPECT_EQ(execute(command(abi::admin_cmd_list_use, sriov)).status, abi::admin_status_ok) << "none at all";
  expect_refused(execute(command(abi::admin_cmd_list_use, sriov)), abi::admin_status_q_invalid_opcode);
}

}  // namespace
}  // namespace trivet::test
