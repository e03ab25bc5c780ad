// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <atomic>
#include <fcntl.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>

#include "support.hpp"

namespace trivet::kvm::test {
namespace {

class MemoryTest : public KvmTest {
 protected:
  static RegionSpec host(const HostPages& pages, std::uint64_t at) {
    return {{{at}, pages.size()}, HostMemory{pages.data()}};
  }
};

TEST_F(MemoryTest, RefusesWhatCannotWorkAndSaysWhy) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  const HostPages pages(0x2000);
  expect_error(vm->map({{{0x100000}, 0}, HostMemory{pages.data()}}), Errc::invalid_argument, "empty");
  expect_error(vm->map({{{0x100001}, 0x1000}, HostMemory{pages.data()}}), Errc::invalid_argument, "page aligned");
  expect_error(vm->map({{{0x100000}, 0x1001}, HostMemory{pages.data()}}), Errc::invalid_argument, "page aligned");
  expect_error(vm->map({{{0x100000}, 0x1000}, HostMemory{pages.data() + 1}}), Errc::invalid_argument, "host memory");
  expect_error(vm->map({{{0x100000}, 0x1000}, HostMemory{nullptr}}), Errc::invalid_argument, "null");
  expect_error(vm->map({{{~0xfffULL}, 0x2000}, HostMemory{pages.data()}}), Errc::invalid_argument, "wraps");
  expect_error(vm->map({{{1ULL << 62}, 0x1000}, HostMemory{pages.data()}}), Errc::out_of_range, "bits");
  expect_error(vm->map({{{0x100000}, 0x1000}, HypervisorMemory{}, Access::read_write, true}), Errc::unsupported,
               "hypervisor_memory");
  expect_error(vm->map({{{0x100000}, 0x1000}, HypervisorMemory{}, Access::read_only}), Errc::unsupported,
               "hypervisor_memory");
  expect_error(vm->map({{{0xf000}, 0x2000}, HostMemory{pages.data()}}), Errc::already_exists, "overlaps 0x0 + 0x10000");
  expect_error(vm->map({{{0xfeffd000}, 0x1000}, HostMemory{pages.data()}}), Errc::already_exists, "KVM keeps");
  expect_error(vm->unmap({{0}, 0x1000}), Errc::not_found);
  expect_error(vm->unmap({{0x100000}, 0x1000}), Errc::not_found);
}

TEST_F(MemoryTest, AdjacentRegionsMapAndASlotIsUsedAgain) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  const HostPages pages(0x1000);
  for (int round = 0; round < 100; ++round) {
    TRIVET_ASSERT_OK(vm->map(host(pages, 0x10000)));
    expect_error(vm->map(host(pages, 0x10000)), Errc::already_exists);
    TRIVET_ASSERT_OK(vm->unmap({{0x10000}, 0x1000}));
  }
}

TEST_F(MemoryTest, AFileIsMappedSharedAndOutlivesTheCallersDescriptor) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  UniqueFd file(::memfd_create("guest", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.value(), 0x3000), 0);
  RegionSpec spec{{{0x20000}, 0x2000}, FileMemory{file.value(), 0x1000}};
  const auto mapped = vm->map(spec);
  TRIVET_ASSERT_OK(mapped);
  EXPECT_GE(mapped->shared_fd, 0);
  EXPECT_NE(mapped->shared_fd, file.value());
  EXPECT_EQ(mapped->shared_offset, 0x1000U);
  memory->put(code_at,
              {0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xc6, 0x06, 0x05, 0x00, 0x77, 0xf4});  // ds = 0x2000; mov [5], 0x77
  make_vcpu();
  run_to<exits::Halted>();
  EXPECT_EQ(mapped->host[5], std::byte{0x77});
  std::uint8_t byte = 0;
  ASSERT_EQ(::pread(file.value(), &byte, 1, 0x1005), 1);
  EXPECT_EQ(byte, 0x77);
  file.reset();
  ASSERT_EQ(::pread(mapped->shared_fd, &byte, 1, 0x1005), 1);
  TRIVET_EXPECT_OK(vm->unmap(spec.range));
}

TEST_F(MemoryTest, KvmsOwnMemoryIsSharedWithTheGuestAndWithOthers) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  const RegionSpec spec{{{0x20000}, 0x2000}, HypervisorMemory{}};
  if (hypervisor->supports(Cap::hypervisor_memory) == Support::no) {
    expect_error(vm->map(spec), Errc::unsupported, "hypervisor_memory");
    GTEST_SKIP() << "this kernel's guest_memfd cannot be mapped (Linux 6.18)";
  }
  const auto mapped = vm->map(spec);
  TRIVET_ASSERT_OK(mapped);
  EXPECT_EQ(mapped->host[0x1005], std::byte{0});
  mapped->host[0x1006] = std::byte{0x42};
  memory->put(code_at,
              {0xb8, 0x00, 0x21, 0x8e, 0xd8, 0xa0, 0x06, 0x00, 0xa2, 0x05, 0x00, 0xf4});  // ds = 0x2100; [5] = [6]
  make_vcpu();
  run_to<exits::Halted>();
  EXPECT_EQ(mapped->host[0x1005], std::byte{0x42});
  const UniqueFd other(::dup(mapped->shared_fd));
  TRIVET_EXPECT_OK(vm->unmap(spec.range));
  void* const again = ::mmap(nullptr, 0x2000, PROT_READ, MAP_SHARED, other.value(), 0);
  ASSERT_NE(again, MAP_FAILED);
  EXPECT_EQ(static_cast<const std::byte*>(again)[0x1005], std::byte{0x42});
  ::munmap(again, 0x2000);
  TRIVET_EXPECT_OK(vm->map(spec));
}

TEST_F(MemoryTest, AFileThatIsTooShortIsRefused) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  const UniqueFd file(::memfd_create("guest", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(file.value(), 0x1000), 0);
  expect_error(vm->map({{{0x20000}, 0x2000}, FileMemory{file.value(), 0}}), Errc::out_of_range, "4096 bytes");
  expect_error(vm->map({{{0x20000}, 0x1000}, FileMemory{file.value(), 0x1000}}), Errc::out_of_range);
  expect_error(vm->map({{{0x20000}, 0x1000}, FileMemory{file.value(), 0x10}}), Errc::invalid_argument, "offset");
  expect_error(vm->map({{{0x20000}, 0x1000}, FileMemory{-1, 0}}), Errc::io, "descriptor");
}

TEST_F(MemoryTest, UnmapsAndMapsWhileTheGuestRuns) {
  ASSERT_NO_FATAL_FAILURE(make_vm());
  const HostPages pages(0x1000);
  pages.put(0, {0x11});
  TRIVET_ASSERT_OK(vm->map(host(pages, 0x20000)));
  // Reads [0x20000] until it is 0x99, which only the handler answers once the memory is gone.
  memory->put(code_at, {0xb8, 0x00, 0x20, 0x8e, 0xd8, 0x80, 0x3e, 0x00, 0x00, 0x99, 0x75, 0xf9, 0xf4});
  make_vcpu();
  io.answer = [](const Seen&) { return 0x99; };
  std::thread other([&] {
    for (int round = 0; round < 20; ++round) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    TRIVET_EXPECT_OK(vm->unmap({{0x20000}, 0x1000}));
  });
  run_to<exits::Halted>();
  other.join();
  ASSERT_EQ(io.seen.size(), 1U);
  EXPECT_EQ(io.seen[0].at, 0x20000U);
}

class DirtyLogTest : public KvmTest, public ::testing::WithParamInterface<std::uint32_t> {
 protected:
  void SetUp() override {
    KvmTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (GetParam() != 0 && hypervisor->supports(Cap::dirty_ring) == Support::no) GTEST_SKIP() << "dirty_ring: no";
  }
  static std::vector<std::size_t> pages_of(const DirtyBitmap& bitmap) {
    std::vector<std::size_t> pages;
    for (std::size_t page = 0; page < bitmap.size() * 64; ++page) {
      if ((bitmap[page / 64] >> (page % 64) & 1) != 0) pages.push_back(page);
    }
    return pages;
  }
};

TEST_P(DirtyLogTest, TellsExactlyTheWrittenPagesOnce) {
  const VmConfig config{.irqchip = IrqchipKind::none, .dirty_ring_entries = GetParam()};
  ASSERT_NO_FATAL_FAILURE(make_vm(config, 16, true));
  // KVM may count a page at its very first touch, written or not: everything is touched before it is looked at.
  memory->put(code_at,
              {0xa0, 0x00, 0x30, 0xa0, 0x00, 0x40, 0xa0, 0xff, 0x7f, 0xf4,  // mov al, [0x3000], [0x4000], [0x7fff]
               0xc6, 0x06, 0x00, 0x30, 0x01,                                // mov byte [0x3000], 1
               0xa0, 0x00, 0x40,                                            // mov al, [0x4000]
               0xc6, 0x06, 0xff, 0x7f, 0x01,                                // mov byte [0x7fff], 1
               0xf4, 0xc6, 0x06, 0x00, 0x30, 0x02, 0xf4});                  // mov byte [0x3000], 2
  make_vcpu();
  run_to<exits::Halted>();
  const GuestRange all{{0}, memory->size()};
  TRIVET_ASSERT_OK(vm->dirty_log()->take(all));
  run_to<exits::Halted>();
  auto first = vm->dirty_log()->take(all);
  TRIVET_ASSERT_OK(first);
  EXPECT_EQ(pages_of(*first), (std::vector<std::size_t>{3, 7}));
  auto none = vm->dirty_log()->take(all);
  TRIVET_ASSERT_OK(none);
  EXPECT_TRUE(pages_of(*none).empty());
  run_to<exits::Halted>();
  auto again = vm->dirty_log()->take(all);
  TRIVET_ASSERT_OK(again);
  EXPECT_EQ(pages_of(*again), (std::vector<std::size_t>{3}));
}

TEST_P(DirtyLogTest, LosesNothingWhenTakenWhileTheGuestWritesManyPages) {
  const VmConfig config{.irqchip = IrqchipKind::none, .dirty_ring_entries = GetParam()};
  constexpr std::size_t pages = 2048;
  ASSERT_NO_FATAL_FAILURE(make_vm(config, pages, true));
  // es walks from 0x1000 in steps of a page; each page gets one write; then hlt. bx counts pages 16..2047.
  memory->put(code_at, {0xb8, 0x00, 0x10,                    // mov ax, 0x1000
                        0xb9, 0xf0, 0x00,                    // mov cx, 240
                        0x8e, 0xc0,                          // again: mov es, ax
                        0x26, 0xc6, 0x06, 0x00, 0x00, 0x55,  // mov byte es:[0], 0x55
                        0x05, 0x00, 0x01,                    // add ax, 0x100
                        0xe2, 0xf3,                          // loop again
                        0xf4});
  make_vcpu();
  const GuestRange all{{0}, memory->size()};
  std::vector<std::uint64_t> sum(pages / 64);
  std::atomic<bool> done{false};
  std::thread taker([&] {
    while (!done.load()) {
      const auto taken = vm->dirty_log()->take(all);
      TRIVET_ASSERT_OK(taken);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] |= (*taken)[i];
    }
  });
  run_to<exits::Halted>();
  done.store(true);
  taker.join();
  const auto last = vm->dirty_log()->take(all);
  TRIVET_ASSERT_OK(last);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] |= (*last)[i];
  sum[0] &= ~std::uint64_t{0xffff};  // the code's own page, and what lies round it
  std::vector<std::size_t> expected;
  for (std::size_t page = 16; page < 256; ++page) expected.push_back(page);
  EXPECT_EQ(pages_of(sum), expected);
}

TEST_P(DirtyLogTest, ASlotUsedAgainStartsClean) {
  const VmConfig config{.irqchip = IrqchipKind::none, .dirty_ring_entries = GetParam()};
  ASSERT_NO_FATAL_FAILURE(make_vm(config));
  const HostPages pages(0x4000);
  RegionSpec spec{{{0x20000}, 0x4000}, HostMemory{pages.data()}, Access::read_write, true};
  TRIVET_ASSERT_OK(vm->map(spec));
  memory->put(code_at, {0xb8, 0x00, 0x20, 0x8e, 0xd8, 0xc6, 0x06, 0x00, 0x10, 0x77, 0xf4});  // ds=0x2000; [0x1000]=0x77
  make_vcpu();
  run_to<exits::Halted>();
  TRIVET_ASSERT_OK(vm->unmap(spec.range));
  spec.range.start = {0x40000};
  TRIVET_ASSERT_OK(vm->map(spec));
  const auto taken = vm->dirty_log()->take(spec.range);
  TRIVET_ASSERT_OK(taken);
  EXPECT_TRUE(pages_of(*taken).empty());
}

TEST_P(DirtyLogTest, NamesARegionThatIsNotLogged) {
  const VmConfig config{.irqchip = IrqchipKind::none, .dirty_ring_entries = GetParam()};
  ASSERT_NO_FATAL_FAILURE(make_vm(config));
  expect_error(vm->dirty_log()->take({{0}, memory->size()}), Errc::bad_state, "log_dirty");
  expect_error(vm->dirty_log()->take({{0}, 0x1000}), Errc::not_found);
}

INSTANTIATE_TEST_SUITE_P(Bitmap, DirtyLogTest, ::testing::Values(0));
INSTANTIATE_TEST_SUITE_P(Ring, DirtyLogTest, ::testing::Values(1024));
// Smaller than what the guest writes: the ring-full exit happens inside run.
INSTANTIATE_TEST_SUITE_P(SmallRing, DirtyLogTest, ::testing::Values(256));

}  // namespace
}  // namespace trivet::kvm::test
