// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "domctl.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "domctl_impl.hpp"
#include "log.hpp"

namespace trivet::xen {
namespace {

constexpr auto open_operation = "open Xen's control interface";
constexpr auto create_operation = "create a domain";

// Enough for the console, the store and a device model's interrupts; a grant table is there but small.
constexpr std::uint32_t max_event_port = 1023;
constexpr std::int32_t max_grant_frames = 4;
constexpr std::int32_t max_maptrack_frames = 0;

std::string release(xc_interface* xc) {
  const int version = xc_version(xc, XENVER_version, nullptr);
  if (version < 0) return "of unknown version";
  std::string text = std::to_string(version >> 16) + "." + std::to_string(version & 0xffff);
  xen_extraversion_t extra{};
  if (xc_version(xc, XENVER_extraversion, &extra) == 0) {
    extra[sizeof extra - 1] = '\0';
    text += extra;
  }
  return text;
}

DomainInfo from_xen(const xc_domaininfo_t& from) {
  DomainInfo to;
  to.id = from.domain;
  to.hvm = (from.flags & XEN_DOMINF_hvm_guest) != 0;
  to.dying = (from.flags & XEN_DOMINF_dying) != 0;
  to.paused = (from.flags & XEN_DOMINF_paused) != 0;
  to.shut_down = (from.flags & XEN_DOMINF_shutdown) != 0;
  to.shutdown_reason = (from.flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
  to.vcpus_online = from.nr_online_vcpus;
  std::copy_n(from.handle, to.handle.size(), to.handle.begin());
  return to;
}

}  // namespace

Error domain_error(int os_errno, const char* operation, DomainId domain, std::string_view detail) {
  std::string text = "domain " + std::to_string(domain);
  if (!detail.empty()) text.append(": ").append(detail);
  if (os_errno == ESRCH) return Error(Errc::not_found, operation, text + " does not exist (any more)", Blame::host);
  return Error::from_errno(os_errno, operation, text);
}

Result<void> done(int result, const char* operation, DomainId domain, std::string_view detail) {
  if (result >= 0) return {};
  return domain_error(errno, operation, domain, detail);
}

Domctl::Domctl(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Domctl::Domctl(Domctl&&) noexcept = default;
Domctl& Domctl::operator=(Domctl&&) noexcept = default;
Domctl::~Domctl() = default;

Result<Domctl> Domctl::open() {
  auto impl = std::make_unique<Impl>();
  impl->xc = xc_interface_open(quiet_log(), quiet_log(), 0);
  if (impl->xc == nullptr) return Error::from_errno(errno, open_operation, "/dev/xen/privcmd");
  Domctl domctl(std::move(impl));
  // The cheapest domctl tells whether we may, and whether Xen speaks the libraries' version of it.
  const auto own = domctl.info(0);
  if (own) return domctl;
  const int error = own.error().os_errno();
  if (error == EACCES) {
    return Error(Errc::unsupported, open_operation,
                 "Xen " + domctl.version() + " runs here, and this backend was built with the libraries of another " +
                     "release (domctl version " + std::to_string(XEN_DOMCTL_INTERFACE_VERSION) +
                     "): build it with this one's",
                 Blame::host);
  }
  if (error == EPERM) {
    return Error(Errc::permission, open_operation, "Xen lets only its control domain (dom0) make domains", Blame::host);
  }
  return own.error();
}

std::string Domctl::version() const {
  return release(impl_->xc);
}

Result<std::optional<DomainInfo>> Domctl::info(DomainId domain) const {
  xc_domaininfo_t info{};
  const int count = xc_domain_getinfolist(impl_->xc, domain, 1, &info);
  if (count < 0) return domain_error(errno, "look at a domain", domain);
  // The list starts at the first domain that is not below: it may be another.
  if (count == 0 || info.domain != domain) return std::optional<DomainInfo>{};
  return std::optional(from_xen(info));
}

Result<std::vector<DomainInfo>> Domctl::list() const {
  constexpr unsigned at_once = 64;
  std::vector<DomainInfo> domains;
  std::array<xc_domaininfo_t, at_once> page{};
  for (std::uint32_t first = 0;;) {
    const int count = xc_domain_getinfolist(impl_->xc, first, at_once, page.data());
    if (count < 0) return Error::from_errno(errno, "list the domains");
    for (int i = 0; i < count; ++i) domains.push_back(from_xen(page[static_cast<std::size_t>(i)]));
    if (count < static_cast<int>(at_once)) return domains;
    first = domains.back().id + 1U;
  }
}

Result<DomainId> Domctl::create(const DomainSpec& spec) const {
  xen_domctl_createdomain config{};
  std::copy(spec.handle.begin(), spec.handle.end(), config.handle);
  config.flags = XEN_DOMCTL_CDF_hvm | XEN_DOMCTL_CDF_hap;
  config.max_vcpus = spec.vcpus;
  config.max_evtchn_port = max_event_port;
  config.max_grant_frames = max_grant_frames;
  config.max_maptrack_frames = max_maptrack_frames;
  config.grant_opts = XEN_DOMCTL_GRANT_version(1);
  // Xen takes these two sets and no other.
  config.arch.emulation_flags = spec.full_emulation ? XEN_X86_EMU_ALL & ~XEN_X86_EMU_VPCI : XEN_X86_EMU_LAPIC;
  std::uint32_t id = 0;  // any
  if (xc_domain_create(impl_->xc, &id, &config) != 0) {
    if (errno == EINVAL || errno == EOPNOTSUPP) {
      return Error(Errc::unsupported, create_operation,
                   "Xen refuses a domain with hardware virtualisation and nested paging: is it on in the firmware?",
                   Blame::host);
    }
    return Error::from_errno(errno, create_operation);
  }
  const auto domain = static_cast<DomainId>(id);
  if (xc_domain_max_vcpus(impl_->xc, domain, spec.vcpus) != 0) {
    const auto error = domain_error(errno, create_operation, domain, std::to_string(spec.vcpus) + " vCPUs");
    (void)destroy(domain);
    return error;
  }
  return domain;
}

Result<void> Domctl::destroy(DomainId domain) const {
  return done(xc_domain_destroy(impl_->xc, domain), "destroy a domain", domain);
}

Result<void> Domctl::pause(DomainId domain) const {
  return done(xc_domain_pause(impl_->xc, domain), "pause a domain", domain);
}

Result<void> Domctl::unpause(DomainId domain) const {
  return done(xc_domain_unpause(impl_->xc, domain), "let a domain run", domain);
}

Result<void> Domctl::shut_down(DomainId domain, unsigned reason) const {
  return done(xc_domain_shutdown(impl_->xc, domain, static_cast<int>(reason)), "shut a domain down", domain);
}

Result<void> Domctl::undo_shut_down(DomainId domain) const {
  xen_domctl domctl{};
  domctl.cmd = XEN_DOMCTL_resumedomain;
  domctl.domain = domain;
  return done(xc_domctl(impl_->xc, &domctl), "undo a domain's shutdown", domain);
}

Result<void> Domctl::soft_reset(DomainId domain) const {
  return done(xc_domain_soft_reset(impl_->xc, domain), "reset a domain", domain);
}

}  // namespace trivet::xen
