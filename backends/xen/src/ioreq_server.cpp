// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "ioreq_server.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <sys/mman.h>

#include "domctl.hpp"

namespace trivet::xen {
namespace {

constexpr auto create_operation = "make an ioreq server";
constexpr auto serve_operation = "serve an I/O request";
constexpr std::size_t state_at = 30;  // the low 4 bits of the flags' byte, see ioreq.cpp
constexpr std::uint8_t state_mask = 0xf;
constexpr std::size_t read_pointer_at = 0;
constexpr std::size_t write_pointer_at = 4;
constexpr std::size_t slots_at = 8;

static_assert(offsetof(shared_iopage, vcpu_ioreq) == 0 && max_vcpus * request_size <= page_size);
static_assert(offsetof(buffered_iopage, read_pointer) == read_pointer_at);
static_assert(offsetof(buffered_iopage, write_pointer) == write_pointer_at);
static_assert(offsetof(buffered_iopage, buf_ioreq) == slots_at);

std::string of_domain(DomainId domain) {
  return "domain " + std::to_string(domain);
}

TRIVET_XEN_COLD Error server_error(int os_errno, DomainId domain) {
  const auto name = of_domain(domain);
  switch (os_errno) {
    case ESRCH:
      return Error(Errc::not_found, create_operation, name + " does not exist", Blame::caller);
    case ENOSPC:
      return Error(
          Errc::limit, create_operation,
          name + " has " + std::to_string(max_ioreq_servers) + " already, as many as Xen gives; end one of them",
          Blame::host);
    case EPERM:
    case EACCES:
      return Error(Errc::permission, create_operation, name + " is not ours to serve", Blame::host);
    case EINVAL:
    case EOPNOTSUPP:
      return Error(Errc::invalid_argument, create_operation, name + " is neither PVH nor HVM, or is dying");
    default:
      return Error::from_errno(os_errno, create_operation, name);
  }
}

TRIVET_XEN_COLD Error notify_error(DomainId domain, unsigned vcpu) {
  return Error::from_errno(errno, serve_operation,
                           of_domain(domain) + ", vCPU " + std::to_string(vcpu) + ": notify it");
}

TRIVET_XEN_COLD Error request_error(const Error& error, DomainId domain, unsigned vcpu) {
  return error.within(of_domain(domain) + ", vCPU " + std::to_string(vcpu));
}

// SAFETY: both pages are shared with Xen; a field is reached by its offset from the page's start, naturally aligned,
// and atomically, because Xen changes it while we look.
std::atomic_ref<std::uint8_t> byte_of(std::byte* at) {
  return std::atomic_ref(*reinterpret_cast<std::uint8_t*>(at));
}
std::atomic_ref<std::uint32_t> word_of(std::byte* at) {
  return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(at));
}

void set_state(std::byte* request, std::uint8_t state) {
  auto flags = byte_of(request + state_at);
  // Nobody but the side that has the request changes the byte.
  const auto kept = flags.load(std::memory_order_relaxed) & ~state_mask;
  flags.store(static_cast<std::uint8_t>(kept | state), std::memory_order_release);
}

std::uint8_t state_of(std::byte* request) {
  return byte_of(request + state_at).load(std::memory_order_acquire) & state_mask;
}

}  // namespace

Result<std::unique_ptr<IoreqServer>> IoreqServer::create(const Context& context) {
  std::unique_ptr<IoreqServer> server(new IoreqServer(context));
  TRIVET_TRY(server->register_server());
  TRIVET_TRY(server->map_pages());
  TRIVET_TRY(server->bind_channels());
  return server;
}

Result<void> IoreqServer::register_server() {
  // ATOMIC: Xen and we both move the ring's pointers.
  if (xendevicemodel_create_ioreq_server(context_.device_model(), context_.domain, HVM_IOREQSRV_BUFIOREQ_ATOMIC,
                                         &id_) != 0) {
    return server_error(errno, context_.domain);
  }
  registered_ = true;
  return {};
}

Result<void> IoreqServer::map_pages() {
  constexpr unsigned long pages = 2;
  void* address = nullptr;
  resource_ = xenforeignmemory_map_resource(context_.foreign_memory(), context_.domain, XENMEM_resource_ioreq_server,
                                            id_, XENMEM_resource_ioreq_server_frame_bufioreq, pages, &address,
                                            PROT_READ | PROT_WRITE, 0);
  if (resource_ == nullptr) {
    return Error::from_errno(errno, create_operation, of_domain(context_.domain) + ": map its pages");
  }
  pages_ = static_cast<std::byte*>(address);
  return {};
}

Result<xenevtchn_port_or_error_t> IoreqServer::bind(evtchn_port_t remote) const {
  const auto port = xenevtchn_bind_interdomain(context_.event_channels(), context_.domain, remote);
  if (port < 0) {
    return Error::from_errno(errno, create_operation,
                             of_domain(context_.domain) + ": bind event channel " + std::to_string(remote));
  }
  return port;
}

Result<void> IoreqServer::bind_channels() {
  // Xen fills in the channels' numbers when the server is enabled, not before.
  if (xendevicemodel_set_ioreq_server_state(context_.device_model(), context_.domain, id_, 1) != 0) {
    return server_error(errno, context_.domain);
  }
  ports_.reserve(context_.vcpus + 1);
  for (unsigned vcpu = 0; vcpu < context_.vcpus; ++vcpu) {
    const auto remote = word_of(pages_ + page_size + vcpu * request_size + offsetof(ioreq, vp_eport)).load();
    TRIVET_ASSIGN(const auto port, bind(remote));
    ports_.push_back(port);
  }
  evtchn_port_t ring = 0;
  if (xendevicemodel_get_ioreq_server_info(context_.device_model(), context_.domain, id_, nullptr, nullptr, &ring) !=
      0) {
    return server_error(errno, context_.domain);
  }
  TRIVET_ASSIGN(const auto port, bind(ring));
  ports_.push_back(port);
  return {};
}

IoreqServer::~IoreqServer() {
  for (const auto port : ports_) (void)xenevtchn_unbind(context_.event_channels(), static_cast<evtchn_port_t>(port));
  if (resource_ != nullptr) (void)xenforeignmemory_unmap_resource(context_.foreign_memory(), resource_);
  // With the domain gone the server is, too.
  if (registered_) (void)xendevicemodel_destroy_ioreq_server(context_.device_model(), context_.domain, id_);
}

bool IoreqServer::alive() const noexcept {
  evtchn_port_t ring = 0;
  return xendevicemodel_get_ioreq_server_info(context_.device_model(), context_.domain, id_, nullptr, nullptr, &ring) ==
         0;
}

Result<void> IoreqServer::serve_port(xenevtchn_port_or_error_t port, IoHandler& io, GuestCopy& memory) {
  // The guest made those before whatever comes now.
  TRIVET_TRY(serve_buffered(io));
  const auto found = std::find(ports_.begin(), ports_.end() - 1, port);
  if (found == ports_.end() - 1) return {};
  return serve_vcpu(static_cast<unsigned>(found - ports_.begin()), io, memory);
}

Result<void> IoreqServer::serve_all(IoHandler& io, GuestCopy& memory) {
  TRIVET_TRY(serve_buffered(io));
  for (unsigned vcpu = 0; vcpu < context_.vcpus; ++vcpu) TRIVET_TRY(serve_vcpu(vcpu, io, memory));
  return {};
}

Result<void> IoreqServer::serve_vcpu(unsigned vcpu, IoHandler& io, GuestCopy& memory) {
  std::byte* const shared = pages_ + page_size + vcpu * request_size;
  if (state_of(shared) != STATE_IOREQ_READY) return {};
  set_state(shared, STATE_IOREQ_INPROCESS);
  std::array<std::byte, request_size> copy;
  std::memcpy(copy.data(), shared, copy.size());
  const auto request = decode_request(copy);
  // One that makes no sense is answered with ones: the vCPU must not hang for it.
  const std::uint64_t answer = request ? xen::serve(*request, io, memory) : ~std::uint64_t{0};
  std::memcpy(shared + offsetof(ioreq, data), &answer, sizeof answer);
  set_state(shared, STATE_IORESP_READY);
  if (!events::notify(events_fd_, static_cast<evtchn_port_t>(ports_[vcpu]))) {
    return notify_error(context_.domain, vcpu);
  }
  if (!request) return request_error(request.error(), context_.domain, vcpu);
  return {};
}

Result<void> IoreqServer::serve_buffered(IoHandler& io) {
  const auto taken = word_of(pages_ + read_pointer_at).load(std::memory_order_acquire);
  if (taken == word_of(pages_ + write_pointer_at).load(std::memory_order_acquire)) return {};
  return empty_ring(io);
}

Result<void> IoreqServer::empty_ring(IoHandler& io) {
  auto taken = word_of(pages_ + read_pointer_at);
  const auto written = word_of(pages_ + write_pointer_at);
  const auto slot = [this](std::uint32_t number) {
    BufferedSlot bytes;
    std::memcpy(bytes.data(), pages_ + slots_at + std::size_t{number % buffered_slots} * buffered_slot_size,
                bytes.size());
    return bytes;
  };
  while (true) {
    const auto first = taken.load(std::memory_order_acquire);
    const auto end = written.load(std::memory_order_acquire);
    // Xen moves both back together when they get large.
    if (taken.load(std::memory_order_acquire) != first) continue;
    if (first == end) return {};
    if (end - first > buffered_slots) {
      return Error(Errc::malformed, serve_operation, "the ring of buffered requests is overfull", Blame::host);
    }
    const auto buffered = decode_buffered(slot(first), slot(first + 1));
    if (buffered) xen::serve_buffered(buffered->request, io);
    taken.fetch_add(buffered && buffered->two_slots ? 2 : 1, std::memory_order_acq_rel);
    if (!buffered) return buffered.error();
  }
}

bool IoreqServer::outstanding(unsigned vcpu) const noexcept {
  return state_of(pages_ + page_size + vcpu * request_size) != STATE_IOREQ_NONE;
}

bool IoreqServer::outstanding() const noexcept {
  for (unsigned vcpu = 0; vcpu < context_.vcpus; ++vcpu) {
    if (outstanding(vcpu)) return true;
  }
  return false;
}

}  // namespace trivet::xen
