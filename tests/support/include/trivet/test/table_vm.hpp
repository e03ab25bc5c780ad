// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <map>
#include <optional>
#include <vector>

#include <trivet/core/vm.hpp>

namespace trivet::test {

/// A Vm that is a table of what is mapped and nothing else: no vCPU, no facet. It refuses what a hypervisor refuses.
class TableVm final : public Vm {
 public:
  /// Host memory by where the guest has it.
  struct Entry {
    GuestRange range;
    std::byte* host = nullptr;
    friend bool operator==(const Entry&, const Entry&) noexcept = default;
  };

  Result<MappedRegion> map(const RegionSpec& spec) override {
    const auto* host = std::get_if<HostMemory>(&spec.source);
    if (host == nullptr) return Error::unsupported("map", "the table holds host memory");
    if (!spec.range.valid() || !spec.range.start.is_aligned(4096) || spec.range.size % 4096 != 0) {
      return Error(Errc::invalid_argument, "map", "not of pages");
    }
    if (table_.size() == most) return Error(Errc::limit, "map", "as the test wants", Blame::host);
    for (const auto& [start, entry] : table_) {
      if (entry.range.overlaps(spec.range)) return Error(Errc::already_exists, "map", "taken");
    }
    table_[spec.range.start] = {spec.range, host->address};
    ++changes;
    return MappedRegion{.range = spec.range, .host = host->address};
  }
  Result<void> unmap(const GuestRange& range) override {
    const auto found = table_.find(range.start);
    if (found == table_.end() || found->second.range != range) return Error(Errc::not_found, "unmap", "not there");
    table_.erase(found);
    ++changes;
    return {};
  }

  [[nodiscard]] std::vector<Entry> mapped() const {
    std::vector<Entry> all;
    for (const auto& [start, entry] : table_) all.push_back(entry);
    return all;
  }
  std::size_t most = ~std::size_t{0};
  unsigned changes = 0;

  Result<Vcpu*> create_vcpu(unsigned) override { return Error::unsupported("create a vCPU", "a table"); }
  [[nodiscard]] std::span<Vcpu* const> vcpus() const noexcept override { return {}; }
  [[nodiscard]] std::span<Runner* const> runners() const noexcept override { return {}; }
  Result<void> resume() override { return {}; }
  Result<void> pause() override { return {}; }
  [[nodiscard]] StateSupport state_support(StateElement) const noexcept override { return {}; }
  [[nodiscard]] IrqRouter* irq_router() noexcept override { return nullptr; }
  [[nodiscard]] Irqchip* irqchip() noexcept override { return nullptr; }
  [[nodiscard]] Doorbells* doorbells() noexcept override { return nullptr; }
  [[nodiscard]] DirtyLog* dirty_log() noexcept override { return nullptr; }
  [[nodiscard]] Clock* clock() noexcept override { return nullptr; }
  [[nodiscard]] PostedWrites* posted_writes() noexcept override { return nullptr; }
  [[nodiscard]] MsrIntercepts* msr_intercepts() noexcept override { return nullptr; }

 private:
  std::map<GuestAddress, Entry> table_;
};

}  // namespace trivet::test
