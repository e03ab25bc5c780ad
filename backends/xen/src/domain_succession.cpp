// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "domain_succession.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <sys/mman.h>

#include "log.hpp"

namespace trivet::xen {
namespace {

constexpr auto operation = "follow a VM";
// One page in each MiB of the first 16: one of them is there, wherever the holes of the domain are.
constexpr std::size_t kept_pages = 16;
constexpr xen_pfn_t kept_distance = 1U << (20 - page_shift);

std::string name(DomainId domain) {
  return "domain " + std::to_string(domain);
}

}  // namespace

Result<std::unique_ptr<DomainSuccession>> DomainSuccession::create(const Domctl& domctl, DomainId domain) {
  std::unique_ptr<DomainSuccession> succession(new DomainSuccession(domctl));
  TRIVET_TRY(succession->keep(domain));
  return succession;
}

DomainSuccession::~DomainSuccession() {
  release();
}

void DomainSuccession::release() noexcept {
  if (pages_ != nullptr) (void)xenforeignmemory_unmap(memory_.get(), std::exchange(pages_, nullptr), kept_pages);
  memory_.reset();
}

Result<void> DomainSuccession::keep(DomainId domain) {
  TRIVET_ASSIGN(const auto info, domctl_.info(domain));
  if (!info || info->dying) return Error(Errc::not_found, operation, name(domain) + " does not exist", Blame::host);
  if (info->handle == DomainHandle{}) {
    return Error(Errc::unsupported, operation, name(domain) + " has no UUID by which to know the next one");
  }
  release();
  memory_.reset(xenforeignmemory_open(quiet_log(), 0));
  if (!memory_) return Error::from_errno(errno, operation, "/dev/xen/privcmd");
  std::array<xen_pfn_t, kept_pages> frames{};
  for (std::size_t i = 0; i < kept_pages; ++i) frames[i] = i * kept_distance;
  std::array<int, kept_pages> errors{};
  pages_ = xenforeignmemory_map(memory_.get(), domain, PROT_READ, kept_pages, frames.data(), errors.data());
  if (pages_ == nullptr) return Error::from_errno(errno, operation, name(domain));
  if (std::find(errors.begin(), errors.end(), 0) == errors.end()) {
    return Error(Errc::not_found, operation, name(domain) + " has no memory: is it being built?", Blame::host);
  }
  domain_ = domain;
  handle_ = info->handle;
  return {};
}

Result<bool> DomainSuccession::expected() {
  TRIVET_ASSIGN(const auto info, domctl_.info(domain_));
  release();
  // One that is destroyed from outside has shut nothing down. A suspended one goes on elsewhere.
  return info && info->shut_down && info->shutdown_reason != SHUTDOWN_poweroff &&
         info->shutdown_reason != SHUTDOWN_suspend;
}

Result<void> DomainSuccession::look_for_next() {
  TRIVET_ASSIGN(const auto domains, domctl_.list());
  for (const auto& info : domains) {
    if (info.handle != handle_ || info.id == domain_ || info.dying || info.shut_down) continue;
    if (!info.paused) {
      return Error(Errc::bad_state, operation, name(info.id) + " started before it could be held", Blame::host);
    }
    TRIVET_TRY(domctl_.pause(info.id));
    next_ = info.id;
    return {};
  }
  return {};
}

Result<std::optional<VmId>> DomainSuccession::find() {
  if (next_ == 0) TRIVET_TRY(look_for_next());
  if (next_ == 0) return std::optional<VmId>{};
  TRIVET_ASSIGN(const auto info, domctl_.info(next_));
  if (!info || info->dying) next_ = 0;  // its toolstack thought better of it
  // The state of the first vCPU is the last thing that a domain is built of.
  if (next_ == 0 || info->vcpus_online == 0) return std::optional<VmId>{};
  return std::optional(VmId{next_});
}

Result<void> DomainSuccession::let_go() {
  if (next_ == 0) return Error(Errc::bad_state, operation, "no VM was found that takes the place");
  const auto next = std::exchange(next_, DomainId{0});
  TRIVET_TRY(keep(next));
  return domctl_.unpause(next);
}

}  // namespace trivet::xen
