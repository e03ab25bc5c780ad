// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "domctl.hpp"
#include "domctl_impl.hpp"

namespace trivet::xen {
namespace {

constexpr std::size_t extents_at_once = 1024;  // one hypercall; what it takes is copied
constexpr auto depopulate_operation = "take memory from a domain";
constexpr auto populate_operation = "give a domain memory";
constexpr auto dirty_operation = "read a domain's dirty log";

/// Memory that Xen may write; libxenctrl's macro for it does not compile as C++.
class HypercallBuffer {
 public:
  HypercallBuffer(xc_interface* xc, std::size_t bytes)
      : xc_(xc), pages_(static_cast<int>((bytes + page_size - 1) / page_size)) {
    data_ = xc__hypercall_buffer_alloc_pages(xc_, &buffer_, pages_);
  }
  ~HypercallBuffer() {
    if (data_ != nullptr) xc__hypercall_buffer_free_pages(xc_, &buffer_, pages_);
  }
  HypercallBuffer(const HypercallBuffer&) = delete;
  HypercallBuffer& operator=(const HypercallBuffer&) = delete;

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] xc_hypercall_buffer_t* get() noexcept { return &buffer_; }

 private:
  xc_interface* xc_;
  int pages_;
  xc_hypercall_buffer_t buffer_{};
  void* data_ = nullptr;
};

}  // namespace

Result<std::uint64_t> Domctl::free_memory() const {
  xc_physinfo_t info{};
  if (xc_physinfo(impl_->xc, &info) != 0) return Error::from_errno(errno, "ask for Xen's free memory");
  return (info.free_pages - std::min(info.free_pages, info.outstanding_pages)) << page_shift;
}

Result<void> Domctl::set_paging_pool(DomainId domain, std::uint64_t bytes) const {
  return done(xc_set_paging_mempool_size(impl_->xc, domain, bytes), "size a domain's paging pool", domain,
              std::to_string(bytes >> 10) + " KiB");
}

Result<void> Domctl::set_max_memory(DomainId domain, std::uint64_t bytes) const {
  return done(xc_domain_setmaxmem(impl_->xc, domain, bytes >> 10), "set a domain's memory limit", domain,
              std::to_string(bytes >> 10) + " KiB");
}

Domctl::Populated Domctl::populate(DomainId domain, std::span<const std::uint64_t> frames, unsigned order) const {
  Populated result;
  while (result.extents < frames.size()) {
    const auto count = std::min(frames.size() - result.extents, extents_at_once);
    std::vector<xen_pfn_t> list(frames.begin() + static_cast<std::ptrdiff_t>(result.extents),
                                frames.begin() + static_cast<std::ptrdiff_t>(result.extents + count));
    errno = 0;
    const int made = xc_domain_populate_physmap(impl_->xc, domain, count, order, 0, list.data());
    if (made > 0) result.extents += static_cast<std::size_t>(made);
    if (made == static_cast<int>(count)) continue;
    // A short count has no errno: Xen had no memory, or the domain's limit is reached.
    result.error = domain_error(made < 0 ? errno : ENOMEM, populate_operation, domain,
                                std::to_string((frames.size() - result.extents) << (order + page_shift - 10)) +
                                    " KiB more; see xl info, free_memory");
    break;
  }
  return result;
}

Result<void> Domctl::depopulate(DomainId domain, std::span<const std::uint64_t> frames, unsigned order) const {
  while (!frames.empty()) {
    const auto part = frames.first(std::min(frames.size(), extents_at_once));
    std::vector<xen_pfn_t> list(part.begin(), part.end());
    const int taken = xc_domain_decrease_reservation(impl_->xc, domain, list.size(), order, list.data());
    if (taken < 0) return domain_error(errno, depopulate_operation, domain);
    frames = frames.subspan(static_cast<std::size_t>(taken));
    if (static_cast<std::size_t>(taken) == part.size()) continue;
    // Something is missing of the next one: its guest gave that up by itself.
    if (order > 0) {
      std::vector<std::uint64_t> pages(std::size_t{1} << order);
      std::iota(pages.begin(), pages.end(), frames.front());
      TRIVET_TRY(depopulate(domain, pages, 0));
    }
    frames = frames.subspan(1);
  }
  return {};
}

Result<void> Domctl::start_dirty_log(DomainId domain) const {
  return done(xc_shadow_control(impl_->xc, domain, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, nullptr, 0),
              "start a domain's dirty log", domain);
}

Result<void> Domctl::stop_dirty_log(DomainId domain) const {
  return done(xc_shadow_control(impl_->xc, domain, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0), "stop a domain's dirty log",
              domain);
}

Result<std::vector<std::uint64_t>> Domctl::take_dirty_log(DomainId domain, std::uint64_t frames) const {
  std::vector<std::uint64_t> bits((frames + 63) / 64);
  HypercallBuffer buffer(impl_->xc, bits.size() * sizeof bits[0]);
  if (buffer.data() == nullptr) return domain_error(ENOMEM, dirty_operation, domain, "the bitmap");
  // Xen fills what its tables reach, the rest stays.
  std::memset(buffer.data(), 0, bits.size() * sizeof bits[0]);
  const auto got = xc_logdirty_control(impl_->xc, domain, XEN_DOMCTL_SHADOW_OP_CLEAN, buffer.get(), frames, 0, nullptr);
  if (got < 0) return domain_error(errno, dirty_operation, domain);
  std::memcpy(bits.data(), buffer.data(), bits.size() * sizeof bits[0]);
  return bits;
}

}  // namespace trivet::xen
