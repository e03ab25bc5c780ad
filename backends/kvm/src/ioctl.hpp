// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <sys/ioctl.h>
#include <vector>

#include <trivet/core/result.hpp>

#include "abi.hpp"

namespace trivet::kvm {

/// One ioctl: its number, its name for errors, and (as a type) what it points to. void: no argument or a plain number.
template <class Argument>
struct Request {
  unsigned long number;
  const char* name;
};

#define TRIVET_KVM_REQUEST(name, argument) \
  (::trivet::kvm::checked_request<argument, ((name) >> _IOC_SIZESHIFT) & _IOC_SIZEMASK>((name), #name))

template <class Argument, std::size_t encoded>
consteval Request<Argument> checked_request(unsigned long number, const char* name) {
  if constexpr (!std::is_void_v<Argument>)
    static_assert(sizeof(Argument) == encoded, "the kernel expects another size");
  return {number, name};
}

/// Calls it, again after EINTR; gives the kernel's number or an error naming the request (host) with `detail`.
template <class Argument>
Result<int> call(int fd, Request<Argument> request, Argument* argument, std::string_view detail = {}) {
  int result = 0;
  do {
    result = ::ioctl(fd, request.number, argument);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return Error::from_errno(errno, request.name, detail);
  return result;
}

inline Result<int> call(int fd, Request<void> request, unsigned long number = 0, std::string_view detail = {}) {
  int result = 0;
  do {
    result = ::ioctl(fd, request.number, number);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return Error::from_errno(errno, request.name, detail);
  return result;
}

/// The same where nobody wants the number.
template <class Argument>
Result<void> perform(int fd, Request<Argument> request, Argument* argument, std::string_view detail = {}) {
  TRIVET_TRY(call(fd, request, argument, detail));
  return {};
}

/// KVM_ENABLE_CAP.
inline Result<void> enable(int fd, std::uint32_t capability, std::uint64_t argument, std::string_view detail) {
  kvm_enable_cap cap{};
  cap.cap = capability;
  cap.args[0] = argument;
  return perform(fd, TRIVET_KVM_REQUEST(KVM_ENABLE_CAP, kvm_enable_cap), &cap, detail);
}

/// A kernel struct that ends in an array: a header and `count` elements behind it, zeroed.
template <class Header, class Element>
class FlexBuffer {
 public:
  explicit FlexBuffer(std::size_t count)
      : storage_((sizeof(Header) + count * sizeof(Element) + 7) / 8), count_(count) {}

  // SAFETY: the storage is 8-byte aligned, zeroed and large enough; both types are trivial kernel ABI structs.
  [[nodiscard]] Header* header() noexcept { return reinterpret_cast<Header*>(storage_.data()); }
  [[nodiscard]] std::span<Element> elements() noexcept {
    // SAFETY: as above; the elements begin at sizeof(Header), as abi.hpp asserts.
    return {reinterpret_cast<Element*>(reinterpret_cast<std::byte*>(storage_.data()) + sizeof(Header)), count_};
  }

 private:
  std::vector<std::uint64_t> storage_;
  std::size_t count_;
};

using CpuidBuffer = FlexBuffer<kvm_cpuid2, kvm_cpuid_entry2>;
using MsrBuffer = FlexBuffer<kvm_msrs, kvm_msr_entry>;
using MsrListBuffer = FlexBuffer<kvm_msr_list, std::uint32_t>;
using RoutingBuffer = FlexBuffer<kvm_irq_routing, kvm_irq_routing_entry>;

}  // namespace trivet::kvm
