// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "doorbells.hpp"

#include <trivet/core/capability.hpp>
#include <trivet/core/event.hpp>

#include "hypercall.hpp"

namespace trivet::mshv {
namespace {

constexpr auto operation = "make a doorbell";

/// The kernel's description; taking a doorbell away needs the very same one.
abi::IoEventFd describe(const DoorbellSpec& spec, int event_fd) {
  abi::IoEventFd ioeventfd{};
  ioeventfd.address = spec.at.value;
  ioeventfd.size = spec.size;
  ioeventfd.fd = event_fd;
  if (spec.value) {
    ioeventfd.match = *spec.value;
    ioeventfd.flags |= abi::ioeventfd_flag::match;
  }
  return ioeventfd;
}

class EventDoorbell final : public Doorbell {
 public:
  EventDoorbell(const Handle& partition, const DoorbellSpec& spec, Event event) noexcept
      : partition_(partition), spec_(spec), event_(std::move(event)) {}
  EventDoorbell(const EventDoorbell&) = delete;
  EventDoorbell& operator=(const EventDoorbell&) = delete;
  ~EventDoorbell() override {
    auto ioeventfd = describe(spec_, event_.fd());
    ioeventfd.flags |= abi::ioeventfd_flag::deassign;
    // Fails only for one that is not there.
    (void)partition_.system().ioctl(partition_.fd(), abi::ioeventfd, &ioeventfd);
  }
  [[nodiscard]] int fd() const noexcept override { return event_.fd(); }

 private:
  const Handle& partition_;
  const DoorbellSpec spec_;
  Event event_;
};

Result<void> check(const DoorbellSpec& spec) {
  const auto refuse = [](Errc code, const char* why) { return Error(code, operation, why); };
  if (spec.space == DoorbellSpec::Space::port) return Error::unsupported(operation, to_string(Cap::doorbells_pio));
  if (spec.size == 0 && spec.value) return refuse(Errc::invalid_argument, "a value needs a size");
  if (spec.size != 0 && spec.size != 1 && spec.size != 2 && spec.size != 4 && spec.size != 8) {
    return refuse(Errc::invalid_argument, "a write has 1, 2, 4 or 8 bytes");
  }
  if (!spec.at.plus(spec.size)) return refuse(Errc::out_of_range, "the write wraps round");
  if (spec.value && spec.size < 8 && (*spec.value >> (8 * spec.size)) != 0) {
    return refuse(Errc::invalid_argument, "the value is wider than the write");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Doorbell>> KernelDoorbells::create(const DoorbellSpec& spec) {
  TRIVET_TRY(check(spec));
  TRIVET_ASSIGN(auto event, Event::create());
  auto ioeventfd = describe(spec, event.fd());
  const auto made = call(context_.partition, abi::ioeventfd, &ioeventfd, "MSHV_IOEVENTFD");
  if (!made) {
    if (made.error().code() != Errc::already_exists) return made.error();
    return Error(Errc::already_exists, operation, "one that would ring for the same write stands there");
  }
  return std::unique_ptr<Doorbell>(std::make_unique<EventDoorbell>(context_.partition, spec, std::move(event)));
}

}  // namespace trivet::mshv
