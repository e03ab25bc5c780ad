// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <trivet/core/bytes.hpp>
#include <trivet/core/result.hpp>
#include <trivet/mshv/system.hpp>

#include "abi_messages.hpp"
#include "handle.hpp"

namespace trivet::mshv {

/// One ioctl; an error names `operation` (a literal) with `detail` (host). Again after EINTR, and after EAGAIN (the
/// kernel gave the hypervisor memory) for as long as that can be meant.
Result<int> call(const Handle& handle, unsigned long request, void* argument, const char* operation,
                 std::string_view detail = {});

/// ROOT_HVCALL without repetitions. A refusal by the hypervisor is its status (`Error::hypervisor_status`).
Result<void> hypercall(const Handle& handle, abi::HypercallCode code, ConstBytes input, Bytes output,
                       const char* operation);

/// The same with repetitions that are all done in one call, or again from the first.
Result<void> repeated_hypercall(const Handle& handle, abi::HypercallCode code, unsigned repetitions, ConstBytes input,
                                Bytes output, const char* operation);

/// Any number of registers of virtual processor `vp`, in batches; a batch that was done in part is finished.
Result<void> read_registers(const Handle& handle, std::uint32_t vp, std::span<const std::uint32_t> names,
                            std::span<abi::RegisterValue> values);
Result<void> write_registers(const Handle& handle, std::uint32_t vp,
                             std::span<const abi::RegisterAssignment> assignments);

Result<std::uint64_t> read_property(const Handle& partition, std::uint32_t code, const char* name);
Result<void> write_property(const Handle& partition, std::uint32_t code, std::uint64_t value, const char* name);

/// One that is set.
[[nodiscard]] constexpr abi::RegisterAssignment assign(std::uint32_t name, std::uint64_t low, std::uint64_t high = 0) {
  return {name, 0, 0, {low, high}};
}

template <class T>
[[nodiscard]] ConstBytes bytes_of(const T& value) noexcept {
  return std::as_bytes(std::span(&value, 1));
}
template <class T>
[[nodiscard]] Bytes writable_bytes_of(T& value) noexcept {
  return std::as_writable_bytes(std::span(&value, 1));
}

}  // namespace trivet::mshv
