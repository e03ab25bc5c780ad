// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Memory that another domain granted. Every test runs with the fake, and with real grants where there is Xen.
#include <array>
#include <atomic>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <vector>

#include <trivet/memory/guest_memory.hpp>
#include <trivet/memory/memory_map.hpp>
#include <trivet/test/other_domain.hpp>

namespace trivet::memory {
namespace {

using test::OtherDomain;
using testing::HasSubstr;

constexpr std::uint64_t base = std::uint64_t{1} << 63;  // where Linux puts granted pages
constexpr std::uint64_t page = 4096;

struct Source {
  const char* name;
  std::shared_ptr<OtherDomain> (*make)(std::string& why);
};

class Granted : public testing::TestWithParam<Source> {
 protected:
  void SetUp() override {
    if (!maps_on_demand) GTEST_SKIP() << "the mmap build maps no other domain's pages";
    std::string why;
    domain = GetParam().make(why);
    // In the Xen testbed, where the variable is set, nothing may be missing.
    if (!domain && std::getenv("TRIVET_TEST_DOMAIN") != nullptr) FAIL() << why;
    if (!domain) GTEST_SKIP() << why;
    for (std::uint32_t i = 0; i < OtherDomain::pages; ++i) {
      if (i == OtherDomain::missing) continue;
      for (std::uint64_t at = 0; at < page; ++at) domain->own(i)[at] = byte_at(i * page + at);
    }
  }

  static std::byte byte_at(std::uint64_t at) { return static_cast<std::byte>(at * 7 + at / page); }
  static std::uint64_t address(std::uint32_t number, std::uint64_t offset = 0) { return base + number * page + offset; }

  std::shared_ptr<const Region> region(bool on_demand, std::uint32_t from = 0, std::uint32_t count = OtherDomain::pages,
                                       Access access = Access::read_write) {
    const DomainPages pages{domain->mapper, domain->first + from, on_demand};
    auto made = Region::create({address(from)}, count * page, pages, {access, false});
    EXPECT_TRUE(made) << to_string(made.error());
    return *made;
  }
  std::shared_ptr<const GuestMemory> on_demand() { return *GuestMemory::create({region(true)}); }

  void expect_refused(const Error& error, std::uint32_t number) {
    EXPECT_EQ(error.code(), Errc::permission);
    EXPECT_EQ(error.blame(), Blame::guest);
    const std::string text = to_string(error);
    const std::string hex = fmt_hex(domain->first + number);
    EXPECT_TRUE(text.find(hex) != std::string::npos ||
                text.find("page " + std::to_string(domain->first + number)) != std::string::npos)
        << text << " does not name " << hex;
  }
  static std::string fmt_hex(std::uint64_t value) {
    std::array<char, 24> text{};
    std::snprintf(text.data(), text.size(), "0x%llx ", static_cast<unsigned long long>(value));
    return text.data();
  }

  std::shared_ptr<OtherDomain> domain;
};

INSTANTIATE_TEST_SUITE_P(Pages, Granted,
                         testing::Values(Source{"fake", test::fake_domain}, Source{"gntalloc", test::allocated_grants},
                                         Source{"guest", test::seeded_grants}),
                         [](const auto& source) { return source.param.name; });

TEST_P(Granted, MappedAtOnceIsSharedBothWays) {
  const auto it = region(false, 0, OtherDomain::missing);
  EXPECT_EQ(it->kind(), RegionKind::grant);
  EXPECT_FALSE(it->can_pin());
  EXPECT_EQ(it->shared_fd(), -1);
  const auto memory = *GuestMemory::create({it});
  std::vector<std::byte> out(3 * page);
  ASSERT_TRUE(memory->read({address(1, 10)}, out));
  for (std::uint64_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], byte_at(page + 10 + i)) << i;
  ASSERT_TRUE(memory->store<std::uint64_t>({address(2, 8)}, 0x1122334455667788));
  EXPECT_EQ(load_at<std::uint64_t>(domain->own(2) + 8), 0x1122334455667788U);
}

TEST_P(Granted, MappedAtOnceNamesTheBadPage) {
  const DomainPages pages{domain->mapper, domain->first, false};
  const auto all = Region::create({base}, OtherDomain::pages * page, pages);
  ASSERT_FALSE(all);
  expect_refused(all.error(), OtherDomain::missing);
  const DomainPages tail{domain->mapper, domain->first + 6, false};
  const auto writable = Region::create({base}, 10 * page, tail);
  ASSERT_FALSE(writable);
  expect_refused(writable.error(), OtherDomain::read_only);
  const auto readable = Region::create({base}, 10 * page, tail, {Access::read_only, false});
  EXPECT_TRUE(readable) << to_string(readable.error());
}

TEST_P(Granted, OnDemandReadsAndWritesAtAnyAlignment) {
  const auto memory = on_demand();
  EXPECT_EQ(memory->regions()[0]->kind(), RegionKind::grant_on_demand);
  EXPECT_EQ(memory->regions()[0]->host(), nullptr);
  EXPECT_FALSE(memory->regions()[0]->can_pin());
  EXPECT_EQ(memory->find({address(3)}), memory->regions()[0].get());
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{1}, page - 1, page, 2 * page - 9, 3 * page + 17}) {
    for (const std::size_t size : {std::size_t{1}, std::size_t{8}, std::size_t{9}, std::size_t{page}}) {
      std::vector<std::byte> out(size);
      ASSERT_TRUE(memory->read({base + at}, out)) << at << " " << size;
      for (std::size_t i = 0; i < size; ++i) ASSERT_EQ(out[i], byte_at(at + i)) << at << " " << size << " " << i;
    }
  }
  const std::array<std::byte, 3> in{std::byte{1}, std::byte{2}, std::byte{3}};
  ASSERT_TRUE(memory->write({address(2, page - 2)}, in));
  EXPECT_EQ(domain->own(2)[page - 2], std::byte{1});
  EXPECT_EQ(domain->own(2)[page - 1], std::byte{2});
  EXPECT_EQ(domain->own(3)[0], std::byte{3});
  EXPECT_EQ(domain->own(3)[1], byte_at(3 * page + 1));
  ASSERT_TRUE(memory->fill({{address(3, page - 1)}, 2}, std::byte{0xee}));
  EXPECT_EQ(domain->own(4)[0], std::byte{0xee});
}

TEST_P(Granted, OnDemandAtomicsAndObjects) {
  const auto memory = on_demand();
  ASSERT_TRUE(memory->store<std::uint16_t>({address(4, 2)}, 0x1234, std::memory_order_release));
  EXPECT_EQ(load_at<std::uint16_t>(domain->own(4) + 2), 0x1234);
  store_at<std::uint64_t>(domain->own(15) + page - 8, 77);
  EXPECT_EQ(*memory->load<std::uint64_t>({address(15, page - 8)}, std::memory_order_acquire), 77U);
  EXPECT_EQ(memory->load<std::uint32_t>({address(1, 2)}).error().code(), Errc::invalid_argument);
  EXPECT_EQ(memory->load<std::uint32_t>({address(16)}).error().code(), Errc::out_of_range);
  struct Object {
    std::uint32_t a;
    std::uint32_t b;
  };
  ASSERT_TRUE(memory->write_object({address(1, page - 3)}, Object{1, 2}));
  EXPECT_EQ(memory->read_object<Object>({address(1, page - 3)})->b, 2U);
}

TEST_P(Granted, ABadReferenceIsAnErrorThatTouchesNothing) {
  const auto memory = on_demand();
  for (int again = 0; again < 3; ++again) {
    const auto loaded = memory->load<std::uint32_t>({address(OtherDomain::missing)});
    ASSERT_FALSE(loaded);
    expect_refused(loaded.error(), OtherDomain::missing);
    const std::vector<std::byte> in(2 * page, std::byte{0x55});
    const auto wrote = memory->write({address(4, 100)}, in);
    ASSERT_FALSE(wrote);
    expect_refused(wrote.error(), OtherDomain::missing);
    EXPECT_EQ(domain->own(4)[100], byte_at(4 * page + 100));
    EXPECT_FALSE(memory->slice({{address(0)}, 16 * page}, Permission::read));
    EXPECT_FALSE(memory->fill({{address(3)}, 4 * page}, std::byte{1}));
    EXPECT_EQ(domain->own(3)[0], byte_at(3 * page));
    EXPECT_EQ(*memory->load<std::uint8_t>({address(6)}), std::to_integer<std::uint8_t>(byte_at(6 * page)));
  }
}

TEST_P(Granted, WhatIsGrantedForReadingIsNotWritten) {
  const auto memory = on_demand();
  const auto at = address(OtherDomain::read_only);
  const auto read = memory->load<std::uint8_t>({at});
  ASSERT_TRUE(read) << to_string(read.error());
  const auto held = memory->slice({{at}, 16}, Permission::read);  // also while somebody reads
  ASSERT_TRUE(held);
  const auto wrote = memory->store<std::uint8_t>({at}, 1);
  ASSERT_FALSE(wrote);
  expect_refused(wrote.error(), OtherDomain::read_only);
  std::array<std::byte, 16> out{};
  held->read(0, out);
  EXPECT_EQ(out[1], byte_at(OtherDomain::read_only * page + 1));
  ASSERT_TRUE(memory->store<std::uint8_t>({address(8)}, 9)) << "read first, then written";
  EXPECT_EQ(*memory->load<std::uint8_t>({address(8)}), 9);
}

TEST_P(Granted, ASliceKeepsItsPagesWhateverIsDropped) {
  const auto memory = on_demand();
  auto slice = memory->slice({{address(1, 100)}, 2 * page}, Permission::write);
  ASSERT_TRUE(slice);
  Slice part = slice->part(page, 8);
  *slice = Slice();
  memory->release_idle();
  memory->drop_windows();
  const std::array<std::byte, 4> in{std::byte{4}, std::byte{3}, std::byte{2}, std::byte{1}};
  part.write(4, in);
  EXPECT_EQ(domain->own(2)[104], std::byte{4});
  EXPECT_EQ(*memory->load<std::uint32_t>({address(2, 104)}), 0x01020304U) << "a window of its own";
  part = Slice();
  memory->release_idle();
  EXPECT_EQ(*memory->load<std::uint32_t>({address(2, 104)}), 0x01020304U);
}

TEST_P(Granted, ThreadsMapAndLetGoAtOnce) {
  const DomainPages pages{domain->mapper, domain->first, true, 4, 64};
  const auto memory = *GuestMemory::create({*Region::create({base}, OtherDomain::pages * page, pages)});
  std::atomic<unsigned> wrong{0};
  const auto work = [&](std::uint32_t seed) {
    for (std::uint32_t i = 0; i < 200; ++i) {
      const std::uint32_t number = (i * 5 + seed) % 4;
      const auto value = memory->load<std::uint8_t>({address(number, i)});
      if (!value || *value != std::to_integer<std::uint8_t>(byte_at(number * page + i))) ++wrong;
      if (memory->load<std::uint8_t>({address(OtherDomain::missing)})) ++wrong;
      if (i % 16 == seed) memory->drop_windows();
    }
  };
  std::thread first(work, 0);
  std::thread second(work, 1);
  work(2);
  first.join();
  second.join();
  EXPECT_EQ(wrong, 0U);
}

TEST_P(Granted, HostRegionsBesideAreNoDifferent) {
  const auto host = *Region::create({0}, *Mapping::anonymous(2 * page), {Access::read_write, true});
  const auto memory = *GuestMemory::create({region(true), host});
  ASSERT_TRUE(memory->write_object<std::uint32_t>({page - 2}, 5));
  EXPECT_EQ(*memory->read_object<std::uint32_t>({page - 2}), 5U);
  EXPECT_TRUE(host->dirty()->is_dirty(0) && host->dirty()->is_dirty(1));
  EXPECT_EQ(memory->find({page}), host.get());
  EXPECT_TRUE(memory->find({{page}, 16}, Permission::write));
  EXPECT_FALSE(memory->find({{address(1)}, 16}, Permission::read)) << "never what is mapped on demand";
  EXPECT_TRUE(memory->contains({{address(0)}, 16 * page}));
  EXPECT_FALSE(memory->contains({{address(0)}, 16 * page + 1}));
}

}  // namespace
}  // namespace trivet::memory
