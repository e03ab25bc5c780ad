// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>

#include <trivet/core/address.hpp>
#include <trivet/core/io_claims.hpp>
#include <trivet/core/pci_address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/core/vm.hpp>
#include <trivet/virtio/pci/function.hpp>
#include <trivet/vmm/allocator.hpp>
#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

class MappedMemory;

/// The machine's PCI host: segment 0, bus 0, with a host bridge at 00:00.0. The guest reaches configuration space
/// through the ports 0xcf8 to 0xcff and through ECAM, or the hypervisor decodes the mechanism and calls `read` and
/// `write`. It plays firmware: each function that is attached gets its BARs placed in the memory window and decoded.
///
/// The guest may move BARs while it runs. Where each one is now is one atomic word, so that an access to the window
/// takes no lock: it looks through the BARs, at most a few dozen. A BAR outside the windows answers nowhere, as behind
/// a real bridge; of two that overlap the one attached first answers. Memory that a function has in a BAR is mapped
/// into the guest while that BAR is in a window and alone there; where it is not, accesses take the way of all others.
/// Thread rule: `attach` from one thread before the first access; accesses from any. Functions outlive the last access.
/// Source: PCI 3.0, 3.2.2.3.2 (ports); PCI Express 5.0, 7.2.2 (ECAM).
class PciHost final : private pci::BarListener {
 public:
  static constexpr unsigned most_devices = 32;  ///< of bus 0, with the host bridge

  /// `window` holds the BARs, `ecam` a megabyte for bus 0, and `high`, where there is one, those of 64 bits that have
  /// no room in `window`. `invalid_argument` when one of them cannot be (caller).
  static Result<std::unique_ptr<PciHost>> create(const GuestRange& ecam, const GuestRange& window,
                                                 const std::optional<GuestRange>& high = std::nullopt);

  /// The same, but BARs are where the guest's firmware places them, within the windows; and the host bridge tells
  /// firmware for QEMU's machines, by its subsystem, that this is one: that there is a FwCfg.
  static Result<std::unique_ptr<PciHost>> create_for_firmware(const GuestRange& ecam, const GuestRange& window,
                                                              const std::optional<GuestRange>& high = std::nullopt);

  /// Functions beside those of other servers of the same bus: `claims` brings their configuration accesses and those to
  /// each BAR, wherever the guest puts it. BARs are placed in `bars` and there is a host bridge; or, without, the bus
  /// is somebody else's and the guest's firmware places them. `window` is the whole address space, for a bus that
  /// claims nothing by itself; there is no ECAM. `claims` outlives this. Errors as IoClaims::claim_pci and
  /// AddressAllocator.
  static Result<std::unique_ptr<PciHost>> create_beside(IoClaims& claims, const std::optional<GuestRange>& bars);

  PciHost(const PciHost&) = delete;
  PciHost& operator=(const PciHost&) = delete;
  ~PciHost();

  /// Functions attached from now on, and the host bridge, are claimed there; see IoClaims.
  Result<void> claim_through(IoClaims& claims);

  /// From now on the memory that functions have in their BARs is mapped into `vm`, which takes host memory and outlives
  /// this. Before the first `attach`.
  void map_through(Vm& vm) noexcept { vm_ = &vm; }

  /// `out_of_range` when the address is not on bus 0, `already_exists` when it is taken, `limit` when its BARs do not
  /// fit the window; errors name it (caller). Those of Vm::map where its memory cannot be mapped.
  Result<void> attach(const PciAddress& address, pci::Function& function, std::string_view name);

  /// It is there no more, nor its memory in the guest. When no vCPU can call; before it goes, if it has memory.
  void detach(pci::Function& function) noexcept;

  /// `data` is 1, 2 or 4 bytes and crosses no 4-byte boundary. What is not there reads as ones.
  void read(const PciAddress& address, std::uint16_t offset, Bytes data) const noexcept;
  void write(const PciAddress& address, std::uint16_t offset, ConstBytes data) const noexcept;

  /// \name For the buses
  /// @{
  static constexpr std::uint16_t ports_first = 0xcf8;
  static constexpr std::uint16_t ports_size = 8;
  [[nodiscard]] BusDevice& ports() noexcept { return ports_; }
  [[nodiscard]] BusDevice& ecam() noexcept { return ecam_; }
  [[nodiscard]] BusDevice& window() noexcept { return window_; }
  [[nodiscard]] const GuestRange& ecam_range() const noexcept { return ecam_range_; }
  [[nodiscard]] const GuestRange& window_range() const noexcept { return window_range_; }
  [[nodiscard]] BusDevice& high_window() noexcept { return high_window_; }
  /// Empty where there is none.
  [[nodiscard]] const GuestRange& high_range() const noexcept { return high_range_; }
  /// @}

 private:
  /// Configuration mechanism 1: an address, then its four bytes.
  class Ports final : public BusDevice {
   public:
    explicit Ports(PciHost& host) noexcept : host_(host) {}
    void read(std::uint64_t offset, Bytes data) noexcept override;
    void write(std::uint64_t offset, ConstBytes data) noexcept override;

   private:
    PciHost& host_;
    std::atomic<std::uint32_t> address_{0};
  };
  class Ecam final : public BusDevice {
   public:
    explicit Ecam(PciHost& host) noexcept : host_(host) {}
    void read(std::uint64_t offset, Bytes data) noexcept override;
    void write(std::uint64_t offset, ConstBytes data) noexcept override;

   private:
    PciHost& host_;
  };
  class Window final : public BusDevice {
   public:
    Window(const PciHost& host, const GuestRange& range) noexcept : host_(host), range_(range) {}
    void read(std::uint64_t offset, Bytes data) noexcept override;
    void write(std::uint64_t offset, ConstBytes data) noexcept override;

   private:
    const PciHost& host_;
    const GuestRange& range_;
  };
  /// One BAR and where it is now.
  struct Place {
    static constexpr std::uint64_t nowhere = ~std::uint64_t{0};

    pci::Function* function = nullptr;
    unsigned bar = 0;
    std::uint64_t size = 0;
    std::atomic<std::uint64_t> at{nowhere};
    // With memory_mutex_:
    std::unique_ptr<MappedMemory> memory;  // null: it has none, or nobody maps it
    std::optional<Error> refused;          // why it is not mapped
  };
  /// Where BARs are placed, if nobody else does.
  struct Free {
    AddressAllocator window;
    std::optional<AddressAllocator> high;
  };

  PciHost(const GuestRange& ecam, const GuestRange& window, const GuestRange& high, std::optional<Free> free,
          std::unique_ptr<pci::Function> bridge);
  static Result<std::unique_ptr<PciHost>> create_with_ecam(const GuestRange& ecam, const GuestRange& window,
                                                           const std::optional<GuestRange>& high, bool places,
                                                           std::unique_ptr<pci::Function> bridge);
  void bar_moved(pci::Function& function, unsigned bar, std::optional<GuestAddress> at) noexcept override;
  void add_place(pci::Function& function, unsigned bar);
  void claim_place(std::uint64_t before, std::uint64_t after, std::uint64_t size) noexcept;
  void settle_memory() noexcept;
  void move_memory(Place& place, std::optional<GuestAddress> at) noexcept;
  [[nodiscard]] std::optional<GuestAddress> where_to_map(const Place& place) const noexcept;
  Result<GuestRange> allocate(const pci::Bar& bar);
  Result<void> place_bars(pci::Function& function, std::string_view name);
  Result<void> check_memory(const pci::Function& function, std::string_view name);
  [[nodiscard]] pci::Function* find(const PciAddress& address) const noexcept;
  /// The place that holds `size` bytes at `at`, and how far in.
  [[nodiscard]] const Place* find_place(std::uint64_t at, std::uint64_t size, std::uint64_t& offset) const noexcept;

  GuestRange ecam_range_;
  GuestRange window_range_;
  GuestRange high_range_;
  std::optional<Free> free_;  // nothing where firmware places BARs
  std::unique_ptr<pci::Function> bridge_;
  std::array<pci::Function*, most_devices * 8> functions_{};  // by device and function
  std::deque<Place> places_;
  IoClaims* claims_ = nullptr;
  bool claims_bars_ = false;
  Vm* vm_ = nullptr;
  std::mutex memory_mutex_;  // what is mapped, and moves of BARs where anything is
  Ports ports_{*this};
  Ecam ecam_{*this};
  Window window_{*this, window_range_};
  Window high_window_{*this, high_range_};
};

}  // namespace trivet::vmm
