// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "device.hpp"

#include <cerrno>

#include "cpuid_x86_64.hpp"
#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

constexpr auto operation = "open MSHV";

/// What a guest may see of the hypervisor: that it is there, its hypercall page, its clocks. Source: TLFS,
/// "Partition Privilege Flags"; struct hv_partition_synthetic_processor_features.
constexpr std::uint64_t synthetic_features = 1U << 0 |  // present
                                             1U << 1 |  // its first set of leaves
                                             1U << 3 |  // partition reference counter
                                             1U << 7 |  // hypercall registers
                                             1U << 8 |  // processor index
                                             1U << 9 |  // reference TSC
                                             1U << 11;  // frequencies

Error open_error(int os_errno) {
  const std::string path = abi::device_path;
  const char* advice = "";
  switch (os_errno) {
    case ENOENT:
      advice =
          ": no such device; this Linux must be the root partition of the Microsoft Hypervisor, with the module "
          "mshv_root (Linux 6.15 or later)";
      break;
    case ENODEV:
    case ENXIO:
      advice = ": the hypervisor is missing, or this is not its root partition";
      break;
    case EACCES:
    case EPERM:
      advice = ": it belongs to root; give yourself access to it, for example by a udev rule";
      break;
    default:
      break;
  }
  return Error::from_errno(os_errno, operation, path + advice);
}

}  // namespace

Result<Handle> open_device(const System& system) {
  const int fd = system.open(abi::device_path);
  if (fd < 0) return open_error(-fd);
  Handle device(system, fd);
  // Older drivers, out of the tree, numbered their calls otherwise. This one reads its argument first: none is EFAULT.
  const int known = system.ioctl(fd, abi::create_partition, nullptr);
  if (known != -EFAULT) {
    return Error(Errc::unsupported, operation,
                 std::string(abi::device_path) + ": not the interface of Linux 6.15 and later; update the kernel",
                 Blame::host);
  }
  return device;
}

Result<Handle> create_partition(const Handle& device, bool lapic) {
  abi::CreatePartition request{};
  if (lapic) request.flags = abi::partition_flag::lapic | abi::partition_flag::x2apic;
  request.flags |= abi::partition_flag::super_pages;
  TRIVET_ASSIGN(const int fd, call(device, abi::create_partition, &request, "MSHV_CREATE_PARTITION"));
  Handle partition(device.system(), fd);
  TRIVET_TRY(write_property(partition, abi::property::synthetic_processor_features, synthetic_features,
                            "choose synthetic processor features"));
  TRIVET_TRY(call(partition, abi::initialize_partition, nullptr, "MSHV_INITIALIZE_PARTITION"));
  TRIVET_TRY(write_property(partition, abi::property::unimplemented_msr_action, abi::msr_action_fault,
                            "choose what unknown MSRs do"));
  return partition;
}

Result<HostFacts> ask_host(const Handle& device) {
  TRIVET_ASSIGN(const auto partition, create_partition(device, true));
  abi::CreateVp request{0};
  TRIVET_ASSIGN(const int fd, call(partition, abi::create_vp, &request, "MSHV_CREATE_VP"));
  const Handle vp(device.system(), fd);
  HostFacts facts;
  TRIVET_ASSIGN(const auto bits, read_property(partition, abi::property::physical_address_width,
                                               "read the width of physical addresses"));
  if (bits < 32 || bits > 52) {
    return Error::from_hypervisor(bits, "read the width of physical addresses", "no processor has that many bits");
  }
  facts.physical_address_bits = static_cast<unsigned>(bits);
  TRIVET_ASSIGN(facts.cpuid, read_cpuid(vp, 0));
  return facts;
}

}  // namespace trivet::mshv
