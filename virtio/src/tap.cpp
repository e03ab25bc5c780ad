// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <utility>

#include <trivet/virtio/abi/net.hpp>
#include <trivet/virtio/tap.hpp>

namespace trivet::virtio {
namespace {

constexpr auto operation = "open tap";
constexpr auto device = "/dev/net/tun";
constexpr short wanted_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
// Linux 6.2, and not in every header: include/uapi/linux/if_tun.h.
constexpr unsigned tun_f_uso4 = 0x20;
constexpr unsigned tun_f_uso6 = 0x40;

constexpr std::uint64_t offloads_of_all = abi::net_f_csum | abi::net_f_host_tso4 | abi::net_f_host_tso6 |
                                          abi::net_f_host_ecn | abi::net_f_guest_csum | abi::net_f_guest_tso4 |
                                          abi::net_f_guest_tso6 | abi::net_f_guest_ecn;
constexpr std::uint64_t offloads_of_uso = abi::net_f_host_uso | abi::net_f_guest_uso4 | abi::net_f_guest_uso6;

struct Bit {
  std::uint64_t feature;
  unsigned flag;
};
constexpr std::array<Bit, 6> offload_bits{{{abi::net_f_guest_csum, TUN_F_CSUM},
                                           {abi::net_f_guest_tso4, TUN_F_TSO4},
                                           {abi::net_f_guest_tso6, TUN_F_TSO6},
                                           {abi::net_f_guest_ecn, TUN_F_TSO_ECN},
                                           {abi::net_f_guest_uso4, tun_f_uso4},
                                           {abi::net_f_guest_uso6, tun_f_uso6}}};

/// 0, or the errno.
int set_flags(int fd, std::uint64_t offloads) noexcept {
  unsigned long flags = 0;
  for (const auto& bit : offload_bits) {
    if ((offloads & bit.feature) != 0) flags |= bit.flag;
  }
  // The kernel wants checksums with any segmentation, and both kinds of USO or none.
  if ((flags & TUN_F_CSUM) == 0) flags = 0;
  if ((flags & (tun_f_uso4 | tun_f_uso6)) != (tun_f_uso4 | tun_f_uso6))
    flags &= ~static_cast<unsigned long>(tun_f_uso4 | tun_f_uso6);
  return ::ioctl(fd, TUNSETOFFLOAD, flags) == 0 ? 0 : errno;
}

/// One more queue of an interface that there is. 0, or the errno.
int attach(UniqueFd& fd, const std::string& name, bool multi_queue) noexcept {
  fd.reset(::open(device, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return errno;
  ifreq request = {};
  std::memcpy(static_cast<void*>(request.ifr_name), name.data(), name.size());
  request.ifr_flags = static_cast<short>(wanted_flags | (multi_queue ? IFF_MULTI_QUEUE : 0));
  return ::ioctl(fd.value(), TUNSETIFF, &request) == 0 ? 0 : errno;
}

Error explain(int os_errno, const std::string& name, unsigned pairs) {
  if (os_errno == EINVAL && pairs > 1) {
    return Error(Errc::invalid_argument, operation,
                 fmt::format("{} is no tap made with multi_queue, which {} queues need", name, pairs));
  }
  if (os_errno == EINVAL) return Error(Errc::invalid_argument, operation, fmt::format("{} is no tap", name));
  if (os_errno == EBUSY || os_errno == E2BIG) {
    return Error(Errc::bad_state, operation, fmt::format("{} is in use", name), Blame::host);
  }
  if (os_errno == EPERM || os_errno == EACCES) {
    const auto detail = fmt::format(
        "{}: without CAP_NET_ADMIN it must be this user's (ip tuntap add {} mode tap user ...)", name, name);
    return Error::from_errno(os_errno, operation, detail);
  }
  return Error::from_errno(os_errno, operation, name);
}

}  // namespace

Result<std::unique_ptr<Tap>> Tap::open(const std::string& name, unsigned pairs) {
  if (pairs == 0 || pairs > 256) return Error(Errc::invalid_argument, operation, "pairs: 1 to 256");
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return Error(Errc::invalid_argument, operation, fmt::format("'{}' is no interface's name", name));
  }
  // TUNSETIFF would make it, and a guest on an interface that nobody set up is a silent failure.
  if (::if_nametoindex(name.c_str()) == 0) {
    return Error(Errc::not_found, operation,
                 fmt::format("no interface {} (ip tuntap add {} mode tap vnet_hdr{})", name, name,
                             pairs > 1 ? " multi_queue" : ""),
                 Blame::host);
  }
  std::vector<UniqueFd> fds(pairs);
  bool multi_queue = pairs > 1;
  for (auto& fd : fds) {
    int os_errno = attach(fd, name, multi_queue);
    if (os_errno == EINVAL && pairs == 1) {
      multi_queue = true;
      os_errno = attach(fd, name, multi_queue);
    }
    if (!fd.valid()) return Error::from_errno(os_errno, operation, device);
    if (os_errno != 0) return explain(os_errno, name, pairs);
  }
  return finish(std::move(fds));
}

Result<std::unique_ptr<Tap>> Tap::adopt(std::vector<UniqueFd> fds) {
  return finish(std::move(fds));
}

Result<std::unique_ptr<Tap>> Tap::finish(std::vector<UniqueFd> fds) {
  TRIVET_TRY(prepare(fds));
  std::string name;
  bool multi_queue = false;
  for (const auto& fd : fds) {
    ifreq request = {};
    if (::ioctl(fd.value(), TUNGETIFF, &request) != 0) {
      return Error(Errc::invalid_argument, operation, fmt::format("descriptor {} is no tap's", fd.value()));
    }
    const auto* text = static_cast<const char*>(request.ifr_name);
    name.assign(text, ::strnlen(text, IFNAMSIZ));
    if ((request.ifr_flags & wanted_flags) != wanted_flags) {
      return Error(Errc::invalid_argument, operation,
                   fmt::format("{} needs IFF_TAP, IFF_NO_PI and IFF_VNET_HDR", name));
    }
    multi_queue = (request.ifr_flags & IFF_MULTI_QUEUE) != 0;
    int size = sizeof(abi::NetHeader);
    int little_endian = 1;
    if (::ioctl(fd.value(), TUNSETVNETHDRSZ, &size) != 0) return Error::from_errno(errno, "set the tap's header", name);
    // Where the host is little-endian itself an old kernel may not know the call.
    (void)::ioctl(fd.value(), TUNSETVNETLE, &little_endian);
  }
  auto offloads = offloads_of_all;
  if (set_flags(fds.front().value(), offloads_of_all | offloads_of_uso) == 0) offloads |= offloads_of_uso;
  if (const int os_errno = set_flags(fds.front().value(), 0); os_errno != 0) {
    return Error::from_errno(os_errno, "set the tap's offloads", name);
  }
  return std::unique_ptr<Tap>(new Tap(std::move(fds), offloads, std::move(name), multi_queue));
}

Tap::Tap(std::vector<UniqueFd> fds, std::uint64_t offloads, std::string name, bool multi_queue)
    : PacketFds(std::move(fds), offloads), name_(std::move(name)), multi_queue_(multi_queue), attached_(info().pairs) {}

Result<void> Tap::set_offloads(std::uint64_t guest_offloads) noexcept {
  const int os_errno = set_flags(fd(0), guest_offloads);
  if (os_errno != 0) return Error::from_errno(os_errno, "set the tap's offloads", name_);
  return {};
}

Result<void> Tap::use_pairs(unsigned pairs) noexcept {
  TRIVET_TRY(PacketFds::use_pairs(pairs));
  while (multi_queue_ && attached_ != pairs) {
    const bool more = attached_ < pairs;
    ifreq request = {};
    request.ifr_flags = static_cast<short>(more ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE);
    if (::ioctl(fd(more ? attached_ : attached_ - 1), TUNSETQUEUE, &request) != 0) {
      return Error::from_errno(errno, more ? "attach a queue of the tap" : "detach a queue of the tap", name_);
    }
    attached_ = more ? attached_ + 1 : attached_ - 1;
  }
  return {};
}

}  // namespace trivet::virtio
