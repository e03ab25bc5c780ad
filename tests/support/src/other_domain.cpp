// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Where the tests of other domains' memory get it from; the devices' ABI is declared again here, for what the library
// does not use.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <vector>

#include <trivet/core/unique_fd.hpp>
#include <trivet/test/fake_pages.hpp>
#include <trivet/test/other_domain.hpp>

namespace trivet::test {
namespace {

using memory::page_size;
using memory::Permission;

class FakeDomain final : public OtherDomain {
 public:
  explicit FakeDomain(memory::PageKind kind) : pages_(std::make_shared<FakePages>(100, pages, kind)) {
    first = 100;
    mapper = pages_;
    if (kind == memory::PageKind::frame) return;
    pages_->set(first + missing, FakePages::State::none);
    pages_->set(first + read_only, FakePages::State::read_only);
  }
  std::byte* own(std::uint32_t page) override { return pages_->own(first + page); }
  bool revoke(std::uint32_t page) override { return pages_->set(first + page, FakePages::State::none), true; }

 private:
  std::shared_ptr<FakePages> pages_;
};

struct AllocGref {  // ioctl_gntalloc_alloc_gref
  std::uint16_t domid;
  std::uint16_t flags;
  std::uint32_t count;
  std::uint64_t index;
  std::uint32_t ref;
  std::uint32_t pad;
};
static_assert(sizeof(AllocGref) == 24);
struct DeallocGref {
  std::uint64_t index;
  std::uint32_t count;
  std::uint32_t pad;
};

class AllocatedGrants final : public OtherDomain {
 public:
  /// False, and why, when the kernel does not give what the tests need.
  bool allocate(std::string& why) {
    device_ = UniqueFd(::open("/dev/xen/gntalloc", O_RDWR | O_CLOEXEC));
    if (!device_.valid()) return why = "no /dev/xen/gntalloc", false;
    // References come in no promised order: take many, and a run among them.
    for (int i = 0; i < 128; ++i) {
      const auto grant = one(true);
      if (!grant) return why = std::string("gntalloc: ") + std::strerror(errno), false;
      grants_.push_back(*grant);
    }
    std::ranges::sort(grants_, {}, &AllocGref::ref);
    std::size_t run = 0;
    while (run + pages <= grants_.size() && grants_[run + pages - 1].ref - grants_[run].ref != pages - 1) ++run;
    if (run + pages > grants_.size()) return why = "gntalloc gave no 16 references in a row", false;
    grants_.erase(grants_.begin(), grants_.begin() + static_cast<std::ptrdiff_t>(run));
    first = grants_[0].ref;
    free(grants_[missing]);
    // What was freed last is given first.
    free(grants_[read_only]);
    const auto again = one(false);
    if (!again || again->ref != grants_[read_only].ref) return why = "gntalloc gave another reference", false;
    grants_[read_only] = *again;
    for (std::uint32_t page = 0; page < pages; ++page) {
      if (page == missing) continue;
      void* at = ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, device_.value(),
                        static_cast<off_t>(grants_[page].index));
      if (at == MAP_FAILED) return why = std::string("mmap of gntalloc: ") + std::strerror(errno), false;
      own_[page] = static_cast<std::byte*>(at);
    }
    auto made = memory::grant_mapper(0);
    if (!made) return why = to_string(made.error()), false;
    mapper = *made;
    return true;
  }
  ~AllocatedGrants() override {
    for (std::byte* page : own_) {
      if (page != nullptr) ::munmap(page, page_size);
    }
  }
  std::byte* own(std::uint32_t page) override { return own_[page]; }

 private:
  std::optional<AllocGref> one(bool writable) {
    AllocGref request{0, static_cast<std::uint16_t>(writable ? 1 : 0), 1, 0, 0, 0};
    if (::ioctl(device_.value(), _IOC(_IOC_NONE, 'G', 5, sizeof(AllocGref)), &request) < 0) return std::nullopt;
    return request;
  }
  void free(const AllocGref& grant) {
    DeallocGref request{grant.index, 1, 0};
    ::ioctl(device_.value(), _IOC(_IOC_NONE, 'G', 6, sizeof(DeallocGref)), &request);
  }

  UniqueFd device_;
  std::vector<AllocGref> grants_;
  std::array<std::byte*, pages> own_{};
};

struct MmapResource {  // privcmd_mmap_resource
  std::uint16_t dom;
  std::uint32_t type;
  std::uint32_t id;
  std::uint32_t idx;
  std::uint64_t num;
  std::uint64_t addr;
};
static_assert(sizeof(MmapResource) == 32);
struct GrantEntry {  // grant_entry_v1
  std::uint16_t flags;
  std::uint16_t domid;
  std::uint32_t frame;
};
static_assert(sizeof(GrantEntry) == 8);

constexpr std::uint32_t frame = 0x4000;  // 64 MiB

/// TRIVET_TEST_DOMAIN; 0 and why.
std::uint16_t test_domain(std::string& why) {
  const char* id = std::getenv("TRIVET_TEST_DOMAIN");
  if (id == nullptr) why = "TRIVET_TEST_DOMAIN names no domain";
  return static_cast<std::uint16_t>(id == nullptr ? 0 : std::atoi(id));
}

class ForeignFrames final : public OtherDomain {
 public:
  bool map(std::uint16_t domain, std::string& why) {
    auto made = memory::foreign_mapper(domain);
    if (!made) return why = to_string(made.error()), false;
    mapper = *made;
    first = frame;
    auto own = mapper->map(frame, pages, Permission::write);
    if (!own) return why = to_string(own.error()), false;
    own_ = *own;
    return true;
  }
  ~ForeignFrames() override {
    if (own_.count != 0) mapper->unmap(own_);
  }
  std::byte* own(std::uint32_t page) override { return own_.host + page * page_size; }

 private:
  memory::MappedPages own_;
};

class SeededGrants final : public OtherDomain {
 public:
  bool seed(std::uint16_t domain, std::string& why) {
    device_ = UniqueFd(::open("/dev/xen/privcmd", O_RDWR | O_CLOEXEC));
    if (!device_.valid()) return why = "no /dev/xen/privcmd", false;
    table_ = ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, device_.value(), 0);
    if (table_ == MAP_FAILED) return why = std::strerror(errno), false;
    // SAFETY: only the number is taken.
    MmapResource request{domain, 1, 0, 0, 1, reinterpret_cast<std::uint64_t>(table_)};
    if (::ioctl(device_.value(), _IOC(_IOC_NONE, 'P', 7, sizeof(MmapResource)), &request) < 0) {
      return why = std::string("map the grant table: ") + std::strerror(errno), false;
    }
    first = 64;
    auto* entries = static_cast<volatile GrantEntry*>(table_);
    for (std::uint32_t page = 0; page < pages; ++page) {
      auto& entry = entries[first + page];
      entry.domid = 0;
      entry.frame = frame + page;
      entry.flags = static_cast<std::uint16_t>(page == missing ? 0 : page == read_only ? 1 | 4 : 1);
    }
    if (!frames_.map(domain, why)) return false;
    auto made = memory::grant_mapper(domain);
    if (!made) return why = to_string(made.error()), false;
    mapper = *made;
    return true;
  }
  ~SeededGrants() override {
    if (table_ != nullptr && table_ != MAP_FAILED) ::munmap(table_, page_size);
  }
  std::byte* own(std::uint32_t page) override { return frames_.own(page); }
  bool revoke(std::uint32_t page) override {
    static_cast<volatile GrantEntry*>(table_)[first + page].flags = 0;
    return true;
  }

 private:
  UniqueFd device_;
  void* table_ = nullptr;
  ForeignFrames frames_;
};

}  // namespace

std::shared_ptr<OtherDomain> fake_domain(std::string&) {
  return std::make_shared<FakeDomain>(memory::PageKind::grant);
}

std::shared_ptr<OtherDomain> fake_frames(std::string&) {
  return std::make_shared<FakeDomain>(memory::PageKind::frame);
}

std::shared_ptr<OtherDomain> allocated_grants(std::string& why) {
  auto domain = std::make_shared<AllocatedGrants>();
  return domain->allocate(why) ? domain : nullptr;
}

std::shared_ptr<OtherDomain> seeded_grants(std::string& why) {
  const auto id = test_domain(why);
  auto domain = std::make_shared<SeededGrants>();
  return id != 0 && domain->seed(id, why) ? domain : nullptr;
}

std::shared_ptr<OtherDomain> foreign_frames(std::string& why) {
  const auto id = test_domain(why);
  auto domain = std::make_shared<ForeignFrames>();
  return id != 0 && domain->map(id, why) ? domain : nullptr;
}

}  // namespace trivet::test
