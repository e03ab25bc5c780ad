// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>

#include <trivet/core/address.hpp>
#include <trivet/core/io_claims.hpp>
#include <trivet/core/pci_address.hpp>
#include <trivet/core/result.hpp>
#include <trivet/virtio/pci/function.hpp>
#include <trivet/vmm/allocator.hpp>
#include <trivet/vmm/bus.hpp>

namespace trivet::vmm {

/// The machine's PCI host: segment 0, bus 0, with a host bridge at 00:00.0. The guest reaches configuration space
/// through the ports 0xcf8 to 0xcff and through ECAM, or the hypervisor decodes the mechanism and calls `read` and
/// `write`. It plays firmware: each function that is attached gets its BARs placed in the memory window and decoded.
///
/// The guest may move BARs while it runs. Where each one is now is one atomic word, so that an access to the window
/// takes no lock: it looks through the BARs, at most a few dozen. A BAR outside the window answers nowhere, as behind a
/// real bridge; of two that overlap the one attached first answers.
/// Thread rule: `attach` from one thread before the first access; accesses from any. Functions outlive the last access.
/// Source: PCI 3.0, 3.2.2.3.2 (ports); PCI Express 5.0, 7.2.2 (ECAM).
class PciHost final : private pci::BarListener {
 public:
  static constexpr unsigned most_devices = 32;  ///< of bus 0, with the host bridge

  /// `window` holds the BARs, `ecam` a megabyte for bus 0. `invalid_argument` when one of them cannot be (caller).
  static Result<std::unique_ptr<PciHost>> create(const GuestRange& ecam, const GuestRange& window);

  /// The same, but BARs are where the guest's firmware places them, within `window`; and the host bridge tells firmware
  /// for QEMU's machines, by its subsystem, that this is one: that there is a FwCfg.
  static Result<std::unique_ptr<PciHost>> create_for_firmware(const GuestRange& ecam, const GuestRange& window);

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

  /// `out_of_range` when the address is not on bus 0, `already_exists` when it is taken, `limit` when its BARs do not
  /// fit the window; errors name it (caller).
  Result<void> attach(const PciAddress& address, pci::Function& function, std::string_view name);

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
    explicit Window(PciHost& host) noexcept : host_(host) {}
    void read(std::uint64_t offset, Bytes data) noexcept override;
    void write(std::uint64_t offset, ConstBytes data) noexcept override;

   private:
    PciHost& host_;
  };
  /// One BAR and where it is now.
  struct Place {
    static constexpr std::uint64_t nowhere = ~std::uint64_t{0};

    pci::Function* function = nullptr;
    unsigned bar = 0;
    std::uint64_t size = 0;
    std::atomic<std::uint64_t> at{nowhere};
  };

  PciHost(const GuestRange& ecam, const GuestRange& window, std::optional<AddressAllocator> free,
          std::unique_ptr<pci::Function> bridge);
  void bar_moved(pci::Function& function, unsigned bar, std::optional<GuestAddress> at) noexcept override;
  void add_place(pci::Function& function, unsigned bar);
  void claim_place(std::uint64_t before, std::uint64_t after, std::uint64_t size) noexcept;
  Result<void> place_bars(pci::Function& function, std::string_view name);
  [[nodiscard]] pci::Function* find(const PciAddress& address) const noexcept;
  /// The place that holds `size` bytes at `at`, and how far in.
  [[nodiscard]] const Place* find_place(std::uint64_t at, std::uint64_t size, std::uint64_t& offset) const noexcept;

  GuestRange ecam_range_;
  GuestRange window_range_;
  std::optional<AddressAllocator> free_;  // nothing where firmware places BARs
  std::unique_ptr<pci::Function> bridge_;
  std::array<pci::Function*, most_devices * 8> functions_{};  // by device and function
  std::deque<Place> places_;
  IoClaims* claims_ = nullptr;
  bool claims_bars_ = false;
  Ports ports_{*this};
  Ecam ecam_{*this};
  Window window_{*this};
};

}  // namespace trivet::vmm
