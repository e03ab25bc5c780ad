// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "partition.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <unistd.h>

#include "vp.hpp"

namespace trivet::mshv_sim {

namespace abi = mshv::abi;

namespace {

/// KVM tells the end of a level interrupt for routes below this number; ours begin there.
constexpr std::uint32_t first_route = 240;
constexpr std::uint32_t first_vector = 16;
constexpr std::uint32_t message_is_level = 1U << 15;
constexpr std::uint64_t task_state = 0xfeffd000;  // Intel processors want it outside RAM
constexpr std::uint64_t identity_map = 0xfeffc000;

int enable(int vm_fd, std::uint32_t capability, std::uint64_t argument) {
  kvm_enable_cap cap{};
  cap.cap = capability;
  cap.args[0] = argument;
  return kvm_call(vm_fd, KVM_ENABLE_CAP, &cap);
}

kvm_irq_routing_entry message_entry(std::uint32_t gsi, std::uint32_t low, std::uint32_t high, std::uint32_t data) {
  kvm_irq_routing_entry entry{};
  entry.gsi = gsi;
  entry.type = KVM_IRQ_ROUTING_MSI;
  entry.u.msi.address_lo = low;
  entry.u.msi.address_hi = high;
  entry.u.msi.data = data;
  return entry;
}

}  // namespace

Partition::Partition(int kvm_fd, int vm_fd, std::uint64_t flags, const Knobs& knobs)
    : kvm_fd_(kvm_fd),
      vm_(vm_fd),
      flags_(flags),
      knobs_(knobs),
      memory_(knobs.mutation == Mutation::lost_dirty),
      started_(std::chrono::steady_clock::now()) {
  memory_.set_vm(vm_fd);
}

std::shared_ptr<Partition> Partition::create(int kvm_fd, std::uint64_t flags, const Knobs& knobs, int& error) {
  error = kvm_call(kvm_fd, KVM_CREATE_VM, 0UL);
  if (error < 0) return nullptr;
  std::shared_ptr<Partition> partition(new Partition(kvm_fd, error, flags, knobs));
  const int vm = partition->vm();
  auto map = identity_map;
  error = kvm_call(vm, KVM_SET_IDENTITY_MAP_ADDR, &map);
  if (error >= 0) error = kvm_call(vm, KVM_SET_TSS_ADDR, static_cast<unsigned long>(task_state));
  if (error >= 0 && partition->has_lapic()) error = enable(vm, KVM_CAP_SPLIT_IRQCHIP, first_route);
  if (error >= 0) {
    error = enable(vm, KVM_CAP_X86_USER_SPACE_MSR,
                   KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_FILTER);
  }
  if (error < 0) return nullptr;
  (void)enable(vm, KVM_CAP_EXCEPTION_PAYLOAD, 1);
  partition->has_hyperv_ = kvm_call(kvm_fd, KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_HYPERV)) > 0;
  partition->load_cpuid();
  return partition;
}

int Partition::initialize() {
  initialized_ = true;
  return 0;
}

void Partition::load_cpuid() {
  constexpr std::size_t most = 256;
  std::vector<std::uint64_t> storage((sizeof(kvm_cpuid2) + most * sizeof(kvm_cpuid_entry2) + 7) / 8);
  // SAFETY: aligned, zeroed and large enough; plain kernel structures.
  auto* const header = reinterpret_cast<kvm_cpuid2*>(storage.data());
  header->nent = most;
  if (kvm_call(kvm_fd_, KVM_GET_SUPPORTED_CPUID, header) < 0) return;
  for (std::uint32_t i = 0; i < header->nent; ++i) {
    const auto& from = header->entries[i];
    if (from.function >= 0x40000000 && from.function < 0x50000000) continue;  // a guest must not take us for KVM
    CpuidEntry entry{from.function, from.index, (from.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, from.eax, from.ebx,
                     from.ecx,      from.edx};
    if (entry.leaf == 1) entry.ecx |= 1U << 31 | (has_lapic() ? 1U << 24 : 0);
    if (entry.leaf == 1 && !has_lapic()) entry.ecx &= ~(1U << 21);
    if (entry.leaf == 0xd && entry.subleaf == 0) xsave_states_ = (std::uint64_t{entry.edx} << 32 | entry.eax) | 3;
    host_cpuid_.push_back(entry);
  }
}

/// What a guest sees of the hypervisor, as the partition's synthetic features say. KVM has what stands behind them once
/// it sees the leaves. Source: TLFS, "Feature and Interface Discovery".
void Partition::add_hypervisor_leaves(std::vector<CpuidEntry>& entries) const {
  const auto chosen = properties_.find(abi::property::synthetic_processor_features);
  const std::uint64_t features = chosen == properties_.end() ? 0 : chosen->second;
  constexpr std::uint64_t present_with_leaves = 3;
  if (!has_hyperv_ || (features & present_with_leaves) != present_with_leaves) return;
  struct Privilege {
    unsigned feature, flag;
  };
  constexpr std::array privileges{
      Privilege{3, 1},    // partition reference counter
      Privilege{7, 5},    // hypercall registers
      Privilege{8, 6},    // processor index
      Privilege{9, 9},    // reference TSC
      Privilege{11, 11},  // frequencies
  };
  constexpr std::uint32_t frequencies_feature = 11, frequencies_are_there = 1U << 8;
  std::uint32_t flags = 0;
  for (const auto& privilege : privileges)
    flags |= static_cast<std::uint32_t>(features >> privilege.feature & 1) << privilege.flag;
  const auto frequencies = (features >> frequencies_feature & 1) != 0 ? frequencies_are_there : 0U;
  entries.push_back({0x40000000, 0, false, 0x40000006, 0x7263694d, 0x666f736f, 0x76482074});  // "Microsoft Hv"
  entries.push_back({0x40000001, 0, false, 0x31237648});                                      // "Hv#1"
  entries.push_back({0x40000002});
  entries.push_back({0x40000003, 0, false, flags, 0, 0, frequencies});
  entries.push_back({0x40000004, 0, false, 0, 0xffffffff});  // recommends nothing, never to tell of long spinning
  entries.push_back({0x40000005, 0, false, abi::most_vps});
  entries.push_back({0x40000006});
}

std::vector<CpuidEntry> Partition::cpuid(unsigned vp) const {
  const std::scoped_lock lock(mutex_);
  auto entries = host_cpuid_;
  add_hypervisor_leaves(entries);
  std::erase_if(entries,
                [](const CpuidEntry& entry) { return (entry.leaf == 0xb || entry.leaf == 0x1f) && entry.subleaf > 1; });
  for (auto& entry : entries) {
    if (entry.leaf == 1) entry.ebx = (entry.ebx & 0xffff) | vp << 24 | 1U << 16;
    if (entry.leaf == 0xb || entry.leaf == 0x1f) {  // one thread, 256 cores
      entry.eax = entry.subleaf == 0 ? 0 : 8;
      entry.ebx = entry.subleaf == 0 ? 1 : 256;
      entry.ecx = entry.subleaf | (entry.subleaf + 1) << 8;
      entry.edx = vp;
    }
    if (entry.leaf == 0x8000001e) entry.eax = vp, entry.ebx = vp & 0xff, entry.ecx = 0;
  }
  for (const auto& result : results_) {
    if (result.vp != vp && result.vp != ~0U) continue;
    bool met = false;
    const auto apply = [&](CpuidEntry& entry) {
      met = true;
      entry.eax = (entry.eax & ~result.eax_mask) | (result.eax & result.eax_mask);
      entry.ebx = (entry.ebx & ~result.ebx_mask) | (result.ebx & result.ebx_mask);
      entry.ecx = (entry.ecx & ~result.ecx_mask) | (result.ecx & result.ecx_mask);
      entry.edx = (entry.edx & ~result.edx_mask) | (result.edx & result.edx_mask);
    };
    for (auto& entry : entries) {
      if (entry.leaf != result.leaf) continue;
      if (result.subleaf_specific == 0 || (entry.significant && entry.subleaf == result.subleaf)) apply(entry);
    }
    if (met) continue;
    entries.push_back({result.leaf, result.subleaf_specific != 0 ? result.subleaf : 0, result.subleaf_specific != 0});
    apply(entries.back());
  }
  return entries;
}

void Partition::add(const std::shared_ptr<Vp>& vp) {
  const std::scoped_lock lock(mutex_);
  vps_.emplace(vp->index(), vp);
}
std::shared_ptr<Vp> Partition::vp(std::uint32_t index) const {
  const std::scoped_lock lock(mutex_);
  const auto found = vps_.find(index);
  return found == vps_.end() ? nullptr : found->second;
}

void Partition::forget_vps() {
  std::map<std::uint32_t, std::shared_ptr<Vp>> dropped;  // destroyed outside the lock
  {
    const std::scoped_lock lock(mutex_);
    dropped.swap(vps_);
  }
}

int Partition::set_memory(const abi::GuestMemory& request) {
  const auto flags = request.flags;
  const bool reserved = std::any_of(std::begin(request.reserved), std::end(request.reserved),
                                    [](std::uint8_t byte) { return byte != 0; });
  if (request.size == 0 || request.size % abi::page_size != 0 || request.host_address % abi::page_size != 0 ||
      (flags & ~7U) != 0 || reserved)
    return -EINVAL;
  // SAFETY: an address of this process, as its owner says.
  auto* const host = reinterpret_cast<std::byte*>(request.host_address);
  const auto gpa = request.guest_page * abi::page_size;
  if ((flags & abi::memory_flag::unmap) != 0) return memory_.unmap(gpa, request.size, host);
  if (!initialized_) return -EINVAL;
  return memory_.map(gpa, request.size, host, (flags & abi::memory_flag::writable) != 0,
                     (flags & abi::memory_flag::executable) != 0);
}

int Partition::access_bitmap(const abi::AccessBitmap& request) {
  if (request.type > 1 || request.operation > 2 || request.pages == 0 || request.bitmap == 0) return -EINVAL;
  if (request.type != static_cast<std::uint8_t>(abi::AccessType::dirty)) return -EOPNOTSUPP;  // KVM does not tell
  // SAFETY: the caller's buffer, as with the kernel.
  return memory_.access_bitmap(request.first_page, request.pages, request.operation,
                               reinterpret_cast<std::uint8_t*>(request.bitmap));
}

// --- interrupts

int Partition::update_routes() {
  std::vector<kvm_irq_routing_entry> entries;
  // Whoever it is for: KVM looks at these only for who wants to know of ends.
  for (const auto vector : ended_vectors_)
    entries.push_back(message_entry(vector - first_vector, 0xfee00000 | 0xffU << 12, 0, vector | message_is_level));
  for (const auto& [gsi, route] : routes_)
    entries.push_back(message_entry(first_route + gsi, route.address_low, route.address_high, route.data));
  std::vector<std::uint64_t> storage((sizeof(kvm_irq_routing) + entries.size() * sizeof(kvm_irq_routing_entry) + 7) /
                                     8);
  // SAFETY: aligned and large enough; plain kernel structures.
  auto* const table = reinterpret_cast<kvm_irq_routing*>(storage.data());
  table->nr = static_cast<std::uint32_t>(entries.size());
  std::copy(entries.begin(), entries.end(), table->entries);
  return kvm_call(vm(), KVM_SET_GSI_ROUTING, table);
}

void Partition::want_end_of(std::uint32_t data) {
  const auto vector = data & 0xff;
  if ((data & message_is_level) == 0 || vector < first_vector || !ended_vectors_.insert(vector).second) return;
  (void)update_routes();
}

int Partition::set_routing(const abi::MsiRoute* routes, std::uint32_t count) {
  const std::scoped_lock lock(mutex_);
  std::map<std::uint32_t, abi::MsiRoute> wanted;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto& route = routes[i];
    if (route.gsi >= abi::most_routes || route.address_high != 0) return -EINVAL;
    if (!wanted.emplace(route.gsi, route).second) return -EINVAL;  // one route for each
  }
  const auto before = std::exchange(routes_, std::move(wanted));
  for (const auto& [gsi, route] : routes_) {
    (void)gsi;
    const auto vector = route.data & 0xff;
    if ((route.data & message_is_level) != 0 && vector >= first_vector) ended_vectors_.insert(vector);
  }
  const int done = update_routes();
  if (done < 0) routes_ = before;
  return done;
}

int Partition::irqfd(const abi::IrqFd& request) {
  const std::scoped_lock lock(mutex_);
  if ((request.flags & ~3U) != 0 || request.gsi >= abi::most_routes || !has_lapic()) return -EINVAL;
  const auto same = [&](const Irq& irq) { return irq.fd == request.fd && irq.gsi == request.gsi; };
  const auto held = std::find_if(irqs_.begin(), irqs_.end(), same);
  const bool off = (request.flags & abi::irqfd_flag::deassign) != 0;
  if (off == (held == irqs_.end())) return off ? -EINVAL : -EBUSY;
  const bool resample = (request.flags & abi::irqfd_flag::resample) != 0;
  if (!off && resample) {
    const auto route = routes_.find(request.gsi);
    if (route == routes_.end() || (route->second.data & message_is_level) == 0) return -EINVAL;
  }
  if (!mutated(Mutation::lost_irqfd)) {
    kvm_irqfd irqfd{};
    irqfd.fd = static_cast<std::uint32_t>(request.fd);
    irqfd.gsi = first_route + request.gsi;
    irqfd.flags = off ? KVM_IRQFD_FLAG_DEASSIGN : 0;
    if (const int done = kvm_call(vm(), KVM_IRQFD, &irqfd); done < 0) return done;
  }
  if (off)
    irqs_.erase(held);
  else
    irqs_.push_back({request.fd, resample ? request.resample_fd : -1, request.gsi});
  return 0;
}

bool Partition::end_of_interrupt(unsigned vector) {
  const std::scoped_lock lock(mutex_);
  bool resampled = false;
  // The driver looks for the GSI of that number, as if GSIs were vectors; so do we.
  for (const auto& irq : irqs_) {
    if (irq.resample_fd < 0 || irq.gsi != vector) continue;
    const std::uint64_t one = 1;
    resampled = ::write(irq.resample_fd, &one, sizeof one) == sizeof one || resampled;
  }
  return resampled;
}

int Partition::ioeventfd(const abi::IoEventFd& request) const {
  if ((request.flags & ~7U) != 0) return -EINVAL;
  if ((request.flags & abi::ioeventfd_flag::port) != 0) return -EOPNOTSUPP;
  if (request.size != 0 && (request.size > 8 || !std::has_single_bit(request.size))) return -EINVAL;
  const bool match = (request.flags & abi::ioeventfd_flag::match) != 0;
  if (request.size == 0 && match) return -EINVAL;
  kvm_ioeventfd ioeventfd{};
  ioeventfd.addr = request.address;
  ioeventfd.len = request.size;
  ioeventfd.fd = request.fd;
  ioeventfd.datamatch = request.match;
  if (match) ioeventfd.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
  if ((request.flags & abi::ioeventfd_flag::deassign) != 0) ioeventfd.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
  return kvm_call(vm(), KVM_IOEVENTFD, &ioeventfd);
}

std::uint64_t Partition::reference_time() const {
  if (frozen_at_ != 0) return frozen_at_;
  const auto passed = std::chrono::steady_clock::now() - started_;
  return time_offset_ +
         static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count() / 100);
}

}  // namespace trivet::mshv_sim
