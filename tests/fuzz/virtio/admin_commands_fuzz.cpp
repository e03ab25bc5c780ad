// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Administration commands of any content and length: each is answered, within its room, and what is refused changes
// nothing.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <trivet/test/driver.hpp>
#include <trivet/virtio/admin_commands.hpp>

namespace {

using namespace trivet;
namespace abi = virtio::abi;

void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "admin commands: broken promise: %s\n", what);
  std::abort();
}

}  // namespace

// Commands one after the other: length, room for the answer, bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  test::TestGuest guest(64 << 10);
  test::Driver driver(guest, 4);
  auto queue = driver.queue();
  virtio::AdminCommands commands({abi::admin_group_sriov});
  const auto in = guest.allocate(256);
  const auto out = guest.allocate(256);
  ConstBytes left = std::as_bytes(std::span(data, size));
  while (left.size() >= 2) {
    const auto length = std::min<std::size_t>(std::to_integer<std::size_t>(left[0]), left.size() - 2);
    const auto room = std::to_integer<std::uint32_t>(left[1]);
    const auto text = left.subspan(2, length);
    left = left.subspan(2 + length);
    promise(guest.memory().write(in, text).has_value(), "the command is written");
    promise(driver.add({{in, static_cast<std::uint32_t>(length), false}, {out, room, true}}).has_value(), "it fits");
    const auto chain = queue.pop();
    promise(chain && *chain, "the chain comes");
    auto reader = virtio::Reader::create(**chain);
    auto writer = virtio::Writer::create(**chain);
    promise(reader && writer, "it is well");
    promise(commands.execute(*reader, *writer).has_value(), "each command is answered");
    promise(writer->written() <= std::min(room, 16U) && (room < 8 || writer->written() >= 8), "within its room");
    if (room >= 8) {
      const auto said = guest.memory().read_object<abi::AdminCommandStatus>(out);
      promise(said->status.value() == abi::admin_status_ok || said->status.value() == abi::admin_status_einval,
              "with a status that there is");
      promise((said->status.value() == abi::admin_status_ok) == (said->status_qualifier.value() == 0),
              "and the qualifier that it needs");
    }
    promise(queue.push_used((*chain)->id(), writer->written()).has_value(), "it goes back");
    promise(driver.take_used().has_value(), "and arrives");
  }
  return 0;
}
