// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The mmap build: no other domain's memory.
#include <trivet/memory/page_mapper.hpp>

namespace trivet::memory {
namespace {

constexpr const char* reason =
    "this build maps guest memory with mmap only; build with -DTRIVET_GUEST_MEMORY=xen for other domains' pages";

}  // namespace

Result<std::shared_ptr<PageMapper>> foreign_mapper(std::uint16_t) {
  return Error::unsupported("map frames of a domain", reason);
}

Result<std::shared_ptr<PageMapper>> grant_mapper(std::uint16_t) {
  return Error::unsupported("map grants of a domain", reason);
}

}  // namespace trivet::memory
