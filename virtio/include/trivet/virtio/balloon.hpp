// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>

#include <trivet/core/address.hpp>
#include <trivet/virtio/abi/balloon.hpp>
#include <trivet/virtio/device.hpp>
#include <trivet/virtio/reader.hpp>

namespace trivet::virtio {

/// What a balloon offers and starts with.
struct BalloonOptions {
  std::uint64_t target_mib = 0;      ///< what it asks of the guest from the start, MiB; less than 2^24
  bool deflate_on_oom = false;       ///< the guest may take pages back when it runs out of memory
  bool free_page_reporting = false;  ///< the guest tells of free pages all the time, and the host gets them back
  /// Takes what the guest hints at as free (see `start_hinting`), whole pages in guest memory; called on the device's
  /// executor, must not block. Empty: hinting is not offered.
  std::function<void(const GuestRange&)> hints = {};
  std::uint16_t queue_size = 128;  ///< a power of two, 2 to 1024
};

/// What the guest last said of its memory, each if it said so. Source: virtio 1.3, 5.5.6.4.
struct BalloonStatistics {
  std::uint64_t updates = 0;                  ///< how often the guest has told; the other members are its last word
  std::optional<std::uint64_t> swap_in;       ///< bytes
  std::optional<std::uint64_t> swap_out;      ///< bytes
  std::optional<std::uint64_t> major_faults;  ///< page faults that needed I/O
  std::optional<std::uint64_t> minor_faults;  ///< and those that did not
  std::optional<std::uint64_t> free_memory;   ///< bytes
  std::optional<std::uint64_t> total_memory;  ///< bytes
  std::optional<std::uint64_t> available;     ///< bytes that could be had without swapping
  std::optional<std::uint64_t> caches;        ///< bytes
  std::optional<std::uint64_t> hugetlb_allocations;  ///< huge pages got
  std::optional<std::uint64_t> hugetlb_failures;     ///< and not got
  std::optional<std::uint64_t> oom_kills;
  std::optional<std::uint64_t> allocation_stalls;
  std::optional<std::uint64_t> async_scans;      ///< bytes
  std::optional<std::uint64_t> direct_scans;     ///< bytes
  std::optional<std::uint64_t> async_reclaims;   ///< bytes
  std::optional<std::uint64_t> direct_reclaims;  ///< bytes
};

/// What the balloon did with the guest's pages since it was made, in pages of 4 KiB.
struct BalloonCounts {
  std::uint64_t inflated = 0;  ///< the guest gave
  std::uint64_t deflated = 0;  ///< the guest took back
  std::uint64_t reported = 0;  ///< the guest reported as free
  std::uint64_t released = 0;  ///< of those given and reported, what the host got back
  std::uint64_t hinted = 0;    ///< the guest hinted at
  std::uint64_t ignored = 0;   ///< named, but no writable memory of the guest's
};

/// The memory balloon (virtio 1.3, 5.5): inflate, deflate, statistics, free page reporting and hinting, page poison.
///
/// What the guest gives goes back to the host at once (memory::discard), in runs of neighbouring pages; a page that is
/// no memory is counted and passed over, what the host cannot take back is logged. The driver need not tell before it
/// uses a page again, so MUST_TELL_HOST is not offered. Hinted pages are only told to `BalloonOptions::hints`: the
/// guest may use them again at any time. Where the guest has poisoned free pages with a value that is not 0, reports
/// are answered and nothing is dropped, for its pages must not turn zero.
///
/// Queues are numbered as Linux does: those whose feature is not negotiated leave no gap. A driver that leaves the gaps
/// of 5.5.2 is served too where its number is beyond the others.
class Balloon final : public Device {
 public:
  /// `invalid_argument` names the option out of bounds (caller).
  static Result<std::unique_ptr<Balloon>> create(BalloonOptions options);
  ~Balloon() override;

  /// What the balloon should take from the guest, MiB (less than 2^24, or `out_of_range`; caller). The guest is told
  /// and takes its time. Any thread.
  Result<void> set_target(std::uint64_t mib) noexcept;
  [[nodiscard]] std::uint64_t target_mib() const noexcept;
  /// What the guest says that the balloon has, in pages of 4 KiB. Any thread.
  [[nodiscard]] std::uint64_t actual_pages() const noexcept { return actual_.load(std::memory_order_relaxed); }

  /// Asks for statistics; the guest answers soon, or never. Any thread.
  void request_statistics() noexcept;
  [[nodiscard]] BalloonStatistics statistics() const noexcept;
  [[nodiscard]] BalloonCounts counts() const noexcept;

  /// Asks the guest to hint at all of its free pages. It keeps them until `finish_hinting`, unless it is short of
  /// memory. `unsupported` where there is no sink, or the driver has no such feature or is not there (caller). Any
  /// thread.
  Result<void> start_hinting() noexcept;
  /// Whether the guest has hinted at all it has. Any thread.
  [[nodiscard]] bool hinting_ended() const noexcept { return hinting_ended_.load(std::memory_order_acquire); }
  /// The guest may have its pages. Any thread.
  void finish_hinting() noexcept;

  [[nodiscard]] std::uint32_t id() const noexcept override;
  [[nodiscard]] std::string_view name() const noexcept override { return "balloon"; }
  [[nodiscard]] std::uint64_t features() const noexcept override;
  [[nodiscard]] std::span<const std::uint16_t> queue_sizes() const noexcept override { return queue_sizes_; }
  void read_config(std::uint32_t offset, Bytes out) const noexcept override;
  void write_config(std::uint32_t offset, ConstBytes in) noexcept override;
  [[nodiscard]] std::uint32_t config_generation() const noexcept override;

  Result<void> activate(Activation activation) override;
  Result<void> start_queue(Queue queue) override;
  std::optional<Queue> stop_queue(unsigned index) noexcept override;
  Result<More> process(unsigned index) override;
  void reset() noexcept override;

 private:
  static constexpr std::size_t queue_count = 5;
  static constexpr std::size_t batch_size = 256;  ///< page numbers at once: what Linux sends

  /// A list of pages, as far as it was read.
  struct List {
    std::uint16_t chain;
    Reader rest;
  };
  /// A queue and what it carries, one of the numbers of abi/balloon.hpp.
  struct Served {
    std::optional<Queue> queue;
    unsigned role = 0;
    std::optional<List> list;  ///< inflate and deflate: in flight
  };

  explicit Balloon(BalloonOptions options) noexcept;

  /// What a queue carries under the negotiated features; nothing where there is no such queue.
  [[nodiscard]] std::optional<unsigned> role_of(unsigned index) const noexcept;
  [[nodiscard]] bool negotiated(std::uint64_t feature) const noexcept { return (activation_.features & feature) != 0; }

  Result<More> take_pages(Served& served);
  /// Reads up to a batch of page numbers; how many.
  Result<std::size_t> take_batch(const memory::GuestMemory& memory, Reader& list, bool inflate);
  void release_batch(const memory::GuestMemory& memory, std::span<std::uint32_t> pages) noexcept;
  Result<More> take_statistics(Queue& queue);
  Result<void> read_statistics(const Chain& chain);
  Result<More> take_free_pages(Served& served);
  Result<void> take_report(Chain chain);
  Result<void> take_hint(Chain chain);
  /// Gives back what the guest named; false when that is no memory of its.
  bool release(const memory::GuestMemory& memory, const GuestRange& range) noexcept;
  /// Changes the configuration in one step, and tells the driver.
  template <class Change>
  void reconfigure(Change&& change) noexcept;

  BalloonOptions options_;
  std::array<std::uint16_t, queue_count> queue_sizes_;
  std::array<Served, queue_count> queues_;         // by the driver's number
  std::optional<std::uint16_t> statistics_chain_;  // held until statistics are wanted
  std::atomic<bool> statistics_wanted_{false};
  std::uint32_t hinting_ = abi::balloon_hint_stop;  // the run that the driver is in
  std::atomic<bool> hinting_ended_{false};
  std::atomic<std::uint32_t> actual_{0};
  std::atomic<std::uint32_t> poison_{0};

  enum Count : std::size_t { inflated, deflated, reported, released, hinted, ignored, count_kinds };
  std::array<std::atomic<std::uint64_t>, count_kinds> counts_{};

  /// Where the home's register accesses, the owner's threads and the executor meet.
  mutable std::mutex mutex_;
  std::uint32_t target_pages_;
  std::atomic<std::uint32_t> hint_command_{abi::balloon_hint_done};
  std::uint32_t last_run_ = abi::balloon_hint_done;
  std::uint32_t generation_ = 0;
  BalloonStatistics statistics_;
  Notifier* notifier_ = nullptr;
  Activation activation_;
};

}  // namespace trivet::virtio
