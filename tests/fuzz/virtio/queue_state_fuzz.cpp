// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A queue's state from any text: it is refused, or says the same when it is written and read again, and a queue made
// from it keeps to its memory.
#include <string_view>

#include <trivet/memory/mapping.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/memory/region.hpp>
#include <trivet/test/require.hpp>
#include <trivet/virtio/queue_state.hpp>

using namespace trivet;
using test::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(data, data + size);
  const auto config = virtio::queue_config_from_json(text);
  if (!config) {
    require(!config.error().detail().empty());
    return 0;
  }
  const auto again = virtio::queue_config_from_json(virtio::to_json(*config));
  require(again && *again == *config);
  static const auto map = [] {
    auto made = std::make_shared<memory::MemoryMap>();
    require(made->insert(*memory::Region::create({0}, *memory::Mapping::anonymous(1 << 20))).has_value());
    return made;
  }();
  auto queue = virtio::Queue::create(*config, map);
  if (!queue) return 0;
  require(queue->config() == *config);
  if (queue->in_flight() != 0) return 0;
  const auto chain = queue->pop();
  if (chain && *chain) require(queue->push_used((*chain)->id(), 0).has_value());
  (void)queue->should_notify();
  return 0;
}
