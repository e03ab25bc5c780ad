// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include <trivet/test/device_bench.hpp>
#include <trivet/virtio/config_space.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/reader.hpp>
#include <trivet/virtio/writer.hpp>

namespace trivet::test {

/// A device that copies what it reads of a chain into what it may write of it, and does what the test tells it.
class EchoDevice final : public virtio::Device {
 public:
  static constexpr std::uint64_t feature = 1U << 3;

  [[nodiscard]] std::uint32_t id() const noexcept override { return 42; }
  [[nodiscard]] std::string_view name() const noexcept override { return "echo"; }
  [[nodiscard]] std::uint64_t features() const noexcept override { return feature; }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return sizes; }

  void read_config(std::uint32_t offset, Bytes out) const noexcept override {
    virtio::copy_config(setting.load(), offset, out);
  }
  void write_config(std::uint32_t offset, ConstBytes in) noexcept override {
    if (offset != 0 || in.size() != 4) return;
    std::uint32_t value = 0;
    std::memcpy(&value, in.data(), 4);
    setting = value;
  }
  [[nodiscard]] std::uint32_t config_generation() const noexcept override { return generation; }

  Result<void> activate(virtio::Activation given) override {
    ++activations;
    if (fail_activation) return Error(Errc::no_memory, "activate", "as the test wants", Blame::host);
    activation = std::move(given);
    return {};
  }
  Result<void> start_queue(virtio::Queue queue) override {
    if (fail_start) return Error(Errc::no_memory, "start queue", "as the test wants", Blame::host);
    queues[queue.index()] = std::move(queue);
    return {};
  }
  std::optional<virtio::Queue> stop_queue(unsigned index) noexcept override {
    return std::exchange(queues[index], std::nullopt);
  }
  Result<virtio::More> process(unsigned index) override {
    ++processed;
    if (fail_process) return *fail_process;
    auto& queue = *queues[index];
    TRIVET_ASSIGN(auto chain, queue.pop());
    if (!chain) return queue.enable_kicks() ? virtio::More::yes : virtio::More::no;
    TRIVET_ASSIGN(auto reader, virtio::Reader::create(*chain));
    TRIVET_ASSIGN(auto writer, virtio::Writer::create(*chain));
    while (reader.left() != 0 && writer.left() != 0) {
      TRIVET_ASSIGN(const auto byte, reader.read_object<std::uint8_t>());
      TRIVET_TRY(writer.write_object(byte));
    }
    TRIVET_TRY(queue.push_used(chain->id(), writer.written()));
    if (queue.should_notify()) activation.notifier->used(index);
    return virtio::More::yes;  // one chain a call
  }
  void reset() noexcept override {
    ++resets;
    for (auto& queue : queues) queue.reset();
    activation = {};
  }

  std::array<std::uint16_t, 2> sizes{64, 16};
  std::atomic<std::uint32_t> setting{0x11223344};
  std::atomic<std::uint32_t> generation{0};
  std::atomic<int> activations{0};
  std::atomic<int> processed{0};
  std::atomic<int> resets{0};
  std::atomic<bool> fail_activation{false};
  std::atomic<bool> fail_start{false};
  std::optional<Error> fail_process;
  virtio::Activation activation;
  std::array<std::optional<virtio::Queue>, 2> queues;
};

/// Makes "ping" available to an echo device and gives where the answer goes.
inline GuestAddress offer_ping(DeviceBench& bench, unsigned queue) {
  const auto out = bench.guest.allocate(4);
  bench.queue(queue).add({{bench.guest.place("ping"), 4, false}, {out, 4, true}});
  return out;
}
/// Sends "ping" and gives what came back.
inline std::string ping(DeviceBench& bench, unsigned queue) {
  const auto out = offer_ping(bench, queue);
  bench.kick(queue);  // the echo device never says that it wants none
  const auto used = bench.wait_used(queue);
  return used ? bench.guest.text(out, used->written) : "nothing";
}

}  // namespace trivet::test
