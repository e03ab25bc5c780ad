// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "paging.hpp"

#include <array>
#include <cstddef>

#include "guest_bytes.hpp"
#include "modes.hpp"

namespace trivet::mshv::emulator {
namespace {

constexpr std::uint64_t entry_present = 1ULL << 0;
constexpr std::uint64_t entry_writable = 1ULL << 1;
constexpr std::uint64_t entry_user = 1ULL << 2;
constexpr std::uint64_t entry_accessed = 1ULL << 5;
constexpr std::uint64_t entry_dirty = 1ULL << 6;
constexpr std::uint64_t entry_large = 1ULL << 7;
constexpr std::uint64_t entry_no_execute = 1ULL << 63;
constexpr std::uint64_t address_field = 0x000f'ffff'ffff'f000;

constexpr std::uint32_t error_present = 1U << 0;
constexpr std::uint32_t error_write = 1U << 1;
constexpr std::uint32_t error_user = 1U << 2;
constexpr std::uint32_t error_reserved = 1U << 3;
constexpr std::uint32_t error_fetch = 1U << 4;
constexpr std::uint32_t error_key = 1U << 5;

/// One walk through the tables.
class Walker {
 public:
  Walker(const PageWalk& walk, std::uint64_t linear, Intent intent, Actor actor)
      : state_(walk.state),
        cpu_(walk.cpu),
        linear_(linear),
        intent_(intent),
        explicit_(actor == Actor::program),
        user_(explicit_ && privilege(walk.state) == 3),
        reserved_(address_field & ~((std::uint64_t{1} << walk.physical_address_bits) - 1)) {}

  bool run(std::uint64_t& physical, Fault& fault) {
    if (!find() || !allowed()) {
      fault = {Vector::page_fault, error_ | cause(), linear_};
      return false;
    }
    physical = physical_;
    return true;
  }

  /// False: another processor changed an entry that was to be marked; walk again.
  bool mark() {
    for (std::size_t i = 0; i < depth_; ++i) {
      const bool last = i + 1 == depth_;
      std::uint64_t wanted = steps_[i].entry | entry_accessed;
      if (last && intent_ == Intent::write) wanted |= entry_dirty;
      if (wanted == steps_[i].entry) continue;
      std::byte* const host = cpu_.ram({steps_[i].at}, true);
      if (host == nullptr) continue;  // tables in read-only memory keep what they say
      if (!exchange_bytes(host, steps_[i].entry, wanted, entry_bytes_)) return false;
      cpu_.wrote({steps_[i].at}, entry_bytes_);
    }
    return true;
  }

 private:
  struct Step {
    std::uint64_t at;
    std::uint64_t entry;
  };

  bool find() {
    if (is_long_mode(state_)) return walk_long((state_.cr4 & cr4_la57) != 0 ? 5 : 4);
    return (state_.cr4 & cr4_pae) != 0 ? walk_pae() : walk_legacy();
  }

  [[nodiscard]] std::uint32_t cause() const {
    std::uint32_t bits = user_ ? error_user : 0;
    if (intent_ == Intent::write) bits |= error_write;
    const bool told = no_execute_on() || (state_.cr4 & cr4_smep) != 0;
    if (intent_ == Intent::fetch && told) bits |= error_fetch;
    return bits;
  }

  [[nodiscard]] bool no_execute_on() const {
    const bool wide_entries = is_long_mode(state_) || (state_.cr4 & cr4_pae) != 0;
    return wide_entries && (state_.efer & efer_no_execute) != 0;
  }

  /// A table outside RAM holds nothing that is present.
  bool read(std::uint64_t at, std::size_t bytes, std::uint64_t& entry) {
    std::byte* const host = cpu_.ram({at}, false);
    if (host == nullptr) return false;
    entry = 0;  // little-endian: four bytes fill the lower half
    load_bytes(host, &entry, bytes);
    entry_bytes_ = bytes;
    return (entry & entry_present) != 0;
  }

  /// An entry that has permissions and an accessed bit.
  bool step(std::uint64_t at, std::size_t bytes, std::uint64_t& entry) {
    if (!read(at, bytes, entry)) return false;
    steps_[depth_++] = {at, entry};
    writable_ = writable_ && (entry & entry_writable) != 0;
    for_user_ = for_user_ && (entry & entry_user) != 0;
    no_execute_ = no_execute_ || (entry & entry_no_execute) != 0;
    return true;
  }

  bool malformed() {
    error_ |= error_present | error_reserved;
    return false;
  }

  bool wide(std::uint64_t table, unsigned levels, std::uint64_t ignored_above) {
    for (unsigned level = levels; level > 0; --level) {
      const unsigned shift = 12 + 9 * (level - 1);
      std::uint64_t entry = 0;
      if (!step(table + ((linear_ >> shift) & 0x1ff) * 8, 8, entry)) return false;
      std::uint64_t reserved = reserved_ | ignored_above;
      if (!no_execute_on()) reserved |= entry_no_execute;
      const bool large = level > 1 && (entry & entry_large) != 0;
      if (large && level > 3) reserved |= entry_large;
      if (large && level <= 3) reserved |= ((std::uint64_t{1} << shift) - 1) & ~std::uint64_t{0x1fff};
      if ((entry & reserved) != 0) return malformed();
      if (large || level == 1) return leaf(entry & address_field, shift, entry >> 59 & 0xf);
      table = entry & address_field;
    }
    return false;
  }

  bool walk_long(unsigned levels) { return wide(state_.cr3 & address_field, levels, 0); }

  /// Four pointers without permissions, then two levels.
  bool walk_pae() {
    std::uint64_t pointer = 0;
    if (!read((state_.cr3 & 0xffff'ffe0) + ((linear_ >> 30) & 3) * 8, 8, pointer)) return false;
    constexpr std::uint64_t never = 0xfff0'0000'0000'0000;
    if ((pointer & (reserved_ | never | 0x1e6)) != 0) return malformed();
    return wide(pointer & address_field, 2, never & ~entry_no_execute);
  }

  bool walk_legacy() {
    std::uint64_t directory = 0;
    if (!step((state_.cr3 & 0xffff'f000) + ((linear_ >> 22) & 0x3ff) * 4, 4, directory)) return false;
    if ((state_.cr4 & cr4_page_size) != 0 && (directory & entry_large) != 0) {
      // PSE-36: bits 13-20 are address bits 32-39, and bit 21 is nothing.
      const std::uint64_t base = (directory & 0xffc0'0000) | ((directory >> 13 & 0xff) << 32);
      if ((directory & (1U << 21)) != 0 || (base & reserved_) != 0) return malformed();
      return leaf(base, 22, 0);
    }
    std::uint64_t page = 0;
    if (!step((directory & 0xffff'f000) + ((linear_ >> 12) & 0x3ff) * 4, 4, page)) return false;
    return leaf(page & 0xffff'f000, 12, 0);
  }

  bool leaf(std::uint64_t base, unsigned shift, std::uint64_t key) {
    const std::uint64_t mask = (std::uint64_t{1} << shift) - 1;
    physical_ = (base & ~mask) | (linear_ & mask);
    key_ = static_cast<unsigned>(key);
    return true;
  }

  bool allowed() {
    error_ |= error_present;
    if (intent_ == Intent::fetch) return may_fetch();
    if (user_ && !for_user_) return false;
    const bool write_matters = user_ || (state_.cr0 & cr0_write_protect) != 0;
    if (intent_ == Intent::write && !writable_ && write_matters) return false;
    if (!user_ && for_user_ && (state_.cr4 & cr4_smap) != 0) {
      const bool lifted = explicit_ && (state_.rflags & flag_alignment) != 0;
      if (!lifted) return false;
    }
    if (!key_allows(write_matters)) {
      error_ |= error_key;
      return false;
    }
    return true;
  }

  [[nodiscard]] bool may_fetch() const {
    if (user_ && !for_user_) return false;
    if (!user_ && for_user_ && (state_.cr4 & cr4_smep) != 0) return false;
    return !(no_execute_ && no_execute_on());
  }

  [[nodiscard]] bool key_allows(bool write_matters) const {
    if (!for_user_ || (state_.cr4 & cr4_pke) == 0 || !is_long_mode(state_)) return true;
    const std::uint32_t rights = state_.pkru >> (2 * key_) & 3;
    if ((rights & 1) != 0) return false;
    return !(intent_ == Intent::write && (rights & 2) != 0 && write_matters);
  }

  const CpuState& state_;
  Cpu& cpu_;
  const std::uint64_t linear_;
  const Intent intent_;
  const bool explicit_;
  const bool user_;
  const std::uint64_t reserved_;
  std::array<Step, 5> steps_{};
  std::size_t depth_ = 0;
  std::size_t entry_bytes_ = 8;
  bool writable_ = true;
  bool for_user_ = true;
  bool no_execute_ = false;
  unsigned key_ = 0;
  std::uint32_t error_ = 0;
  std::uint64_t physical_ = 0;
};

}  // namespace

bool translate(const PageWalk& walk, std::uint64_t linear, Intent intent, Actor actor, Marking marking,
               std::uint64_t& physical, Fault& fault) {
  if ((walk.state.cr0 & cr0_paging) == 0) {
    physical = linear;
    return true;
  }
  constexpr int patience = 64;  // a guest that never lets go harms only itself
  for (int i = 0; i < patience; ++i) {
    Walker walker(walk, linear, intent, actor);
    if (!walker.run(physical, fault)) return false;
    if (marking == Marking::no || walker.mark()) break;
  }
  return true;
}

}  // namespace trivet::mshv::emulator
