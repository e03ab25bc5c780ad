// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A guest that gives, narrows and takes back its pages between the accesses to them. What is allowed is done, on the
// right bytes; the rest is an error; what is mapped stays bounded; nothing stays mapped at the end.
#include <algorithm>
#include <fuzzer/FuzzedDataProvider.h>
#include <memory>
#include <vector>

#include <trivet/memory/memory_map.hpp>
#include <trivet/test/fake_pages.hpp>
#include <trivet/test/require.hpp>

namespace {

using namespace trivet;
using namespace trivet::memory;
using test::FakePages;
using test::require;

constexpr std::uint64_t page = 4096;
constexpr std::uint32_t page_count = 24;
constexpr std::uint64_t base = std::uint64_t{1} << 63;

class Guest {
 public:
  Guest(std::uint32_t cached, std::uint32_t most) : most_(most) {
    const auto region = Region::create({base}, page_count * page, DomainPages{pages_, 7, true, cached, most});
    require(region.has_value() == maps_on_demand);
    if (region) require(map_.insert(*region).has_value());
  }

  void set(std::uint32_t number, FakePages::State state) {
    pages_->set(7 + number, state);
    states_[number] = state;
    map_.drop_windows();
  }

  void access(FuzzedDataProvider& data) {
    const auto offset = data.ConsumeIntegralInRange<std::uint64_t>(0, page_count * page + 16);
    const auto size = data.ConsumeIntegralInRange<std::size_t>(1, 6 * page);
    const auto memory = map_.snapshot();
    switch (data.ConsumeIntegralInRange(0, 6)) {
      case 0: {
        std::vector<std::byte> out(size);
        const bool done = memory->read({base + offset}, out).has_value();
        require(!done || std::equal(out.begin(), out.end(), pages_->own(7) + offset));
        judge(done, offset, size, Permission::read);
        break;
      }
      case 1: {
        const std::vector<std::byte> in(size, static_cast<std::byte>(size));
        const std::byte before = offset < page_count * page ? pages_->own(7)[offset] : std::byte{0};
        const bool done = memory->write({base + offset}, in).has_value();
        judge(done, offset, size, Permission::write);
        if (offset < page_count * page) require(pages_->own(7)[offset] == (done ? in[0] : before));
        break;
      }
      case 2:
        if (offset % 4 == 0)
          judge(memory->load<std::uint32_t>({base + offset}).has_value(), offset, 4, Permission::read);
        break;
      case 3:
        if (offset % 8 == 0) {
          judge(memory->store<std::uint64_t>({base + offset}, size).has_value(), offset, 8, Permission::write);
        }
        break;
      case 4: {
        const auto permission = data.ConsumeBool() ? Permission::write : Permission::read;
        auto slice = memory->slice({{base + offset}, size}, permission);
        judge(slice.has_value(), offset, size, permission);
        if (slice && held_.size() < 8) held_.push_back({*slice, offset});
        break;
      }
      case 5:
        if (!held_.empty()) held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(offset % held_.size()));
        break;
      default:
        memory->release_idle();
    }
    for (const auto& held : held_) require(held.slice.host()[0] == pages_->own(7)[held.offset]);
    require(pages_->mapped() <= most_);
  }

  void end() {
    held_.clear();
    map_.snapshot()->release_idle();
    require(pages_->mapped() == 0);
  }

 private:
  struct Held {
    Slice slice;
    std::uint64_t offset;
  };

  void judge(bool done, std::uint64_t offset, std::uint64_t size, Permission permission) const {
    bool allowed = offset + size <= page_count * page;
    for (std::uint64_t at = offset / page; allowed && at <= (offset + size - 1) / page; ++at) {
      allowed = states_[at] == FakePages::State::read_write ||
                (states_[at] == FakePages::State::read_only && permission == Permission::read);
    }
    // Only the limit may refuse what the guest allows.
    require(!done || allowed);
    require(done || !allowed || most_ < 100);
  }

  std::uint32_t most_;
  std::shared_ptr<FakePages> pages_ = std::make_shared<FakePages>(7, page_count);
  std::vector<FakePages::State> states_ = std::vector<FakePages::State>(page_count, FakePages::State::read_write);
  MemoryMap map_;
  std::vector<Held> held_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  FuzzedDataProvider data(bytes, size);
  const auto cached = data.ConsumeIntegralInRange<std::uint32_t>(0, 16);
  Guest guest(cached, data.ConsumeBool() ? 16 : 1024);
  if (!maps_on_demand) return 0;
  while (data.remaining_bytes() != 0) {
    if (data.ConsumeIntegralInRange(0, 3) == 0) {
      const auto number = data.ConsumeIntegralInRange<std::uint32_t>(0, page_count - 1);
      guest.set(number, static_cast<FakePages::State>(data.ConsumeIntegralInRange(0, 2)));
    } else {
      guest.access(data);
    }
  }
  guest.end();
  return 0;
}
