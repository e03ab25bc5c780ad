// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "device.hpp"

#include <array>
#include <fcntl.h>

#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

struct Need {
  int capability;
  const char* name;
};
// Without these there is no guest at all; what else is missing shows in Hypervisor::supports.
constexpr std::array needs{
    Need{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    Need{KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    Need{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    Need{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    Need{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS"},
    Need{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS"},
    Need{KVM_CAP_XSAVE, "KVM_CAP_XSAVE"},
    Need{KVM_CAP_XCRS, "KVM_CAP_XCRS"},
    Need{KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
};

constexpr auto operation = "open KVM";

}  // namespace

Error open_error(int os_errno, const std::string& path) {
  const char* advice = "";
  switch (os_errno) {
    case ENOENT:
      advice = ": no such device; load the module kvm_intel or kvm_amd, or switch virtualisation on in the firmware";
      break;
    case ENODEV:
    case ENXIO:
      advice = ": the processor's virtualisation is missing, or switched off in the firmware";
      break;
    case EACCES:
    case EPERM:
      advice = ": add yourself to group kvm (usermod -aG kvm NAME) and log in again";
      break;
    default:
      break;
  }
  return Error::from_errno(os_errno, operation, path + advice);
}

Result<Device> Device::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return open_error(errno, path);
  const auto version = call(fd.value(), TRIVET_KVM_REQUEST(KVM_GET_API_VERSION, void));
  if (!version) return Error(Errc::not_found, operation, path + " is not a KVM device", Blame::host);
  if (*version != KVM_API_VERSION) {
    return Error(
        Errc::unsupported, operation,
        path + ": API version " + std::to_string(*version) + ", Trivet needs " + std::to_string(KVM_API_VERSION),
        Blame::host);
  }
  TRIVET_ASSIGN(const int run_size, call(fd.value(), TRIVET_KVM_REQUEST(KVM_GET_VCPU_MMAP_SIZE, void)));
  Device device(std::move(fd), static_cast<std::size_t>(run_size));
  for (const auto& need : needs) {
    if (device.extension(need.capability) > 0) continue;
    return Error(Errc::unsupported, operation, path + ": the kernel lacks " + need.name + "; it is too old",
                 Blame::host);
  }
  return device;
}

int Device::extension(int capability) const noexcept {
  const int value = ::ioctl(fd(), KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability));
  return value < 0 ? 0 : value;
}

const Quirks& Device::quirks() const noexcept {
  std::call_once(quirks_->once, [this] { quirks_->quirks = probe_quirks(fd(), run_size_); });
  return quirks_->quirks;
}

}  // namespace trivet::kvm
