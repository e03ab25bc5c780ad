// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "doorbells.hpp"

#include <trivet/core/event.hpp>

#include "ioctl.hpp"

namespace trivet::kvm {
namespace {

constexpr auto operation = "make a doorbell";
constexpr std::uint64_t last_port = 0xffff;

/// The kernel's description; taking a doorbell away needs the very same one.
kvm_ioeventfd describe(const DoorbellSpec& spec, int event_fd) {
  kvm_ioeventfd ioeventfd{};
  ioeventfd.addr = spec.at.value;
  ioeventfd.len = spec.size;
  ioeventfd.fd = event_fd;
  if (spec.value) {
    ioeventfd.datamatch = *spec.value;
    ioeventfd.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
  }
  if (spec.space == DoorbellSpec::Space::port) ioeventfd.flags |= KVM_IOEVENTFD_FLAG_PIO;
  return ioeventfd;
}

class EventDoorbell final : public Doorbell {
 public:
  EventDoorbell(int vm_fd, const DoorbellSpec& spec, Event event) noexcept
      : vm_fd_(vm_fd), spec_(spec), event_(std::move(event)) {}
  EventDoorbell(const EventDoorbell&) = delete;
  EventDoorbell& operator=(const EventDoorbell&) = delete;
  ~EventDoorbell() override {
    auto ioeventfd = describe(spec_, event_.fd());
    ioeventfd.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    (void)::ioctl(vm_fd_, KVM_IOEVENTFD, &ioeventfd);  // fails only for one that is not there
  }
  [[nodiscard]] int fd() const noexcept override { return event_.fd(); }

 private:
  const int vm_fd_;
  const DoorbellSpec spec_;
  Event event_;
};

Result<void> check(const DoorbellSpec& spec) {
  const auto refuse = [](Errc code, const char* why) { return Error(code, operation, why); };
  const bool port = spec.space == DoorbellSpec::Space::port;
  switch (spec.size) {
    case 0:
      if (spec.value) return refuse(Errc::invalid_argument, "a value needs a size");
      break;
    case 1:
    case 2:
    case 4:
      break;
    case 8:
      if (!port) break;
      [[fallthrough]];
    default:
      return refuse(Errc::invalid_argument,
                    port ? "a port write has 1, 2 or 4 bytes" : "a write has 1, 2, 4 or 8 bytes");
  }
  if (!spec.at.plus(spec.size)) return refuse(Errc::out_of_range, "the write wraps round");
  if (port && (spec.at.value > last_port || spec.at.value + spec.size > last_port + 1)) {
    return refuse(Errc::out_of_range, "ports end at 0xffff");
  }
  if (spec.value && spec.size < 8 && (*spec.value >> (8 * spec.size)) != 0) {
    return refuse(Errc::invalid_argument, "the value is wider than the write");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Doorbell>> KernelDoorbells::create(const DoorbellSpec& spec) {
  TRIVET_TRY(check(spec));
  if (spec.size == 0 && context_.device.extension(KVM_CAP_IOEVENTFD_ANY_LENGTH) == 0) {
    return Error::unsupported(operation, "doorbells for writes of any size");
  }
  TRIVET_ASSIGN(auto event, Event::create());
  auto ioeventfd = describe(spec, event.fd());
  const auto made = call(context_.vm(), TRIVET_KVM_REQUEST(KVM_IOEVENTFD, kvm_ioeventfd), &ioeventfd);
  if (!made) {
    if (made.error().code() != Errc::already_exists) return made.error();
    return Error(Errc::already_exists, operation, "one that would ring for the same write stands there");
  }
  return std::unique_ptr<Doorbell>(std::make_unique<EventDoorbell>(context_.vm(), spec, std::move(event)));
}

}  // namespace trivet::kvm
