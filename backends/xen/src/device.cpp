// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "device.hpp"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>

namespace trivet::xen {
namespace {

constexpr auto operation = "open Xen";

bool runs_on_xen() {
  std::ifstream file("/sys/hypervisor/type");
  std::string type;
  // Without sysfs the devices decide.
  return !(file >> type) ? ::access("/proc/xen", F_OK) == 0 || ::access("/dev/xen", F_OK) == 0 : type == "xen";
}

/// What xenfs says of this domain; empty where it is not mounted.
std::string capabilities() {
  std::ifstream file("/proc/xen/capabilities");
  return {std::istreambuf_iterator<char>(file), {}};
}

Result<void> check_device(const char* path, const char* module) {
  const UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (fd.valid()) return {};
  const std::string name(path);
  switch (errno) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
      return Error(Errc::not_found, operation, name + " does not exist: modprobe " + module, Blame::host);
    case EACCES:
    case EPERM:
      return Error(Errc::permission, operation, name + ": only root may, as a rule; run as root", Blame::host);
    default:
      return Error::from_errno(errno, operation, name);
  }
}

}  // namespace

Result<Domctl> open_device() {
  if (!runs_on_xen()) {
    return Error(Errc::not_found, operation, "this host does not run on Xen: boot Xen with this Linux as its dom0",
                 Blame::host);
  }
  const auto can = capabilities();
  if (!can.empty() && can.find("control_d") == std::string::npos) {
    return Error(Errc::permission, operation, "this is a guest of Xen, not its control domain (dom0)", Blame::host);
  }
  TRIVET_TRY(check_device("/dev/xen/privcmd", "xen-privcmd"));
  TRIVET_TRY(check_device("/dev/xen/evtchn", "xen-evtchn"));
  return Domctl::open();
}

}  // namespace trivet::xen
