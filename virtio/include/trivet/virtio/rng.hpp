// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include <trivet/core/unique_fd.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/rate_limiter.hpp>

namespace trivet::virtio {

/// The entropy device (virtio 1.2, 5.4). Fills each buffer with up to 4096 random bytes, from the kernel or from a
/// file.
class Rng final : public Device {
 public:
  /// From getrandom(2). Operations of `limits` are buffers. `out_of_range` names the rate that is too large (caller).
  static Result<std::unique_ptr<Rng>> create(RateLimits limits = {});
  /// From a file or character device, read from its start again at its end. Errors of opening it (host);
  /// `invalid_argument` when it is empty or a directory (caller).
  static Result<std::unique_ptr<Rng>> create(const std::string& path, RateLimits limits = {});
  ~Rng() override;

  [[nodiscard]] std::uint32_t id() const noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "rng"; }
  [[nodiscard]] std::uint64_t features() const noexcept override { return 0; }
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return queue_sizes_; }
  void read_config(std::uint32_t offset, Bytes out) const noexcept override;
  void write_config(std::uint32_t, ConstBytes) noexcept override {}

  Result<void> activate(Activation activation) override;
  Result<void> start_queue(Queue queue) override;
  std::optional<Queue> stop_queue(unsigned index) noexcept override;
  Result<More> process(unsigned index) override;
  void reset() noexcept override;

 private:
  struct Watch;

  Rng(UniqueFd source, RateLimits limits) noexcept : source_(std::move(source)), limit_(limits) {}
  Result<bool> serve();
  /// Some random bytes; 0 when the source has none now. `io` (host).
  Result<std::size_t> draw(Bytes out);
  void wait_for_source();

  std::array<std::uint16_t, 1> queue_sizes_{16};
  UniqueFd source_;  // none: the kernel
  RateLimiter limit_;
  std::optional<Queue> queue_;
  Activation activation_;
  std::shared_ptr<Watch> watch_;
};

}  // namespace trivet::virtio
