// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "hypercall.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>

namespace trivet::mshv {
namespace {

/// Each EAGAIN was a page for the hypervisor: far more than any call can want.
constexpr unsigned most_tries = 10'000;
constexpr std::size_t batch = 64;

std::uint64_t number_of(const void* pointer) {
  // SAFETY: the kernel takes the address as a number.
  return reinterpret_cast<std::uintptr_t>(pointer);
}

/// Calls until it is done; repetitions that were done before an EAGAIN are counted in `done`, and the next call is for
/// the rest: `prepare` makes its input.
template <class Prepare>
Result<void> make(const Handle& handle, abi::RootHypercall& call, unsigned repetitions, const char* operation,
                  Prepare&& prepare) {
  unsigned done = 0;
  for (unsigned tries = 0; tries < most_tries; ++tries) {
    prepare(done, call);
    call.repetitions = static_cast<std::uint16_t>(repetitions - done);
    call.status = 0;
    const int result = handle.system().ioctl(handle.fd(), abi::root_hypercall, &call);
    if (result == -EINTR) continue;
    if (call.repetitions > repetitions - done) {
      return Error(Errc::hypervisor, operation, "more repetitions were done than asked for", Blame::host);
    }
    if (result == 0) {
      done += call.repetitions;
      if (repetitions == 0 || done == repetitions) return {};
      if (call.repetitions == 0) break;
      continue;
    }
    if (result == -EAGAIN) {
      done += call.repetitions;
      if (repetitions != 0 && done == repetitions) return {};
      continue;
    }
    if (call.status != 0) return Error::from_hypervisor(call.status, operation);
    return Error::from_errno(-result, operation);
  }
  return Error(Errc::no_memory, operation, "the hypervisor asked for memory again and again", Blame::host);
}

}  // namespace

Result<int> call(const Handle& handle, unsigned long request, void* argument, const char* operation,
                 std::string_view detail) {
  int result = -EAGAIN;
  for (unsigned tries = 0; tries < most_tries && (result == -EAGAIN || result == -EINTR); ++tries) {
    result = handle.system().ioctl(handle.fd(), request, argument);
  }
  if (result < 0) return Error::from_errno(-result, operation, detail);
  return result;
}

Result<void> hypercall(const Handle& handle, abi::HypercallCode code, ConstBytes input, Bytes output,
                       const char* operation) {
  abi::RootHypercall call{};
  call.code = static_cast<std::uint16_t>(code);
  call.input_size = static_cast<std::uint16_t>(input.size());
  call.output_size = static_cast<std::uint16_t>(output.size());
  call.input = number_of(input.data());
  call.output = output.empty() ? 0 : number_of(output.data());
  return make(handle, call, 0, operation, [](unsigned, const abi::RootHypercall&) {});
}

Result<void> repeated_hypercall(const Handle& handle, abi::HypercallCode code, unsigned repetitions, ConstBytes input,
                                Bytes output, const char* operation) {
  abi::RootHypercall call{};
  call.code = static_cast<std::uint16_t>(code);
  call.input_size = static_cast<std::uint16_t>(input.size());
  call.output_size = static_cast<std::uint16_t>(output.size());
  call.input = number_of(input.data());
  call.output = output.empty() ? 0 : number_of(output.data());
  return make(handle, call, repetitions, operation, [](unsigned, const abi::RootHypercall&) {});
}

Result<void> read_registers(const Handle& handle, std::uint32_t vp, std::span<const std::uint32_t> names,
                            std::span<abi::RegisterValue> values) {
  struct {
    abi::VpRegisters header;
    std::array<std::uint32_t, batch> names;
  } input{};
  static_assert(sizeof input == sizeof(abi::VpRegisters) + batch * 4);
  input.header.vp = vp;
  while (!names.empty()) {
    const auto count = std::min(names.size(), batch);
    abi::RootHypercall call{};
    call.code = static_cast<std::uint16_t>(abi::HypercallCode::get_vp_registers);
    call.input = number_of(&input);
    TRIVET_TRY(make(handle, call, static_cast<unsigned>(count), "read registers",
                    [&](unsigned done, abi::RootHypercall& next) {
                      const auto left = count - done;
                      std::copy_n(names.begin() + done, left, input.names.begin());
                      next.input_size = static_cast<std::uint16_t>(sizeof input.header + left * sizeof input.names[0]);
                      next.output_size = static_cast<std::uint16_t>(left * sizeof values[0]);
                      next.output = number_of(values.data() + done);
                    }));
    names = names.subspan(count);
    values = values.subspan(count);
  }
  return {};
}

Result<void> write_registers(const Handle& handle, std::uint32_t vp,
                             std::span<const abi::RegisterAssignment> assignments) {
  struct {
    abi::VpRegisters header;
    std::array<abi::RegisterAssignment, batch> assignments;
  } input{};
  input.header.vp = vp;
  while (!assignments.empty()) {
    const auto count = std::min(assignments.size(), batch);
    abi::RootHypercall call{};
    call.code = static_cast<std::uint16_t>(abi::HypercallCode::set_vp_registers);
    call.input = number_of(&input);
    TRIVET_TRY(make(handle, call, static_cast<unsigned>(count), "write registers",
                    [&](unsigned done, abi::RootHypercall& next) {
                      const auto left = count - done;
                      std::copy_n(assignments.begin() + done, left, input.assignments.begin());
                      next.input_size = static_cast<std::uint16_t>(sizeof input.header + left * sizeof assignments[0]);
                    }));
    assignments = assignments.subspan(count);
  }
  return {};
}

Result<std::uint64_t> read_property(const Handle& partition, std::uint32_t code, const char* name) {
  const abi::GetProperty input{0, code, 0};
  std::uint64_t value = 0;
  TRIVET_TRY(hypercall(partition, abi::HypercallCode::get_partition_property, bytes_of(input), writable_bytes_of(value),
                       name));
  return value;
}

Result<void> write_property(const Handle& partition, std::uint32_t code, std::uint64_t value, const char* name) {
  const abi::SetProperty input{0, code, 0, value};
  return hypercall(partition, abi::HypercallCode::set_partition_property, bytes_of(input), {}, name);
}

}  // namespace trivet::mshv
