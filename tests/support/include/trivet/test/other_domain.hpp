// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include <trivet/core/result.hpp>
#include <trivet/memory/page_mapper.hpp>

namespace trivet::test {

/// Sixteen grants of another domain, in a row: page 5 is not granted, page 9 for reading only, the others to read and
/// write; or its frames, which are all there. The fake, or real ones in the Xen testbed.
class OtherDomain {
 public:
  static constexpr std::uint32_t pages = 16;
  static constexpr std::uint32_t missing = 5;
  static constexpr std::uint32_t read_only = 9;

  virtual ~OtherDomain() = default;
  std::shared_ptr<memory::PageMapper> mapper;
  std::uint64_t first = 0;
  /// The domain's own view of a page; not of `missing`.
  [[nodiscard]] virtual std::byte* own(std::uint32_t page) = 0;
  /// Ends the grant of a page, mapped or not, as a hostile guest does; false where this one cannot.
  virtual bool revoke(std::uint32_t page) {
    (void)page;
    return false;
  }
};

/// Each: the domain, or null and the reason in `why`.
std::shared_ptr<OtherDomain> fake_domain(std::string& why);
/// This very domain, through /dev/xen/gntalloc.
std::shared_ptr<OtherDomain> allocated_grants(std::string& why);
/// Domain TRIVET_TEST_DOMAIN (paused, 128 MiB or more, made for this): its grant table is written from here.
std::shared_ptr<OtherDomain> seeded_grants(std::string& why);
/// The same domain's frames, as Xen's device models map them; and their fake.
std::shared_ptr<OtherDomain> foreign_frames(std::string& why);
std::shared_ptr<OtherDomain> fake_frames(std::string& why);

}  // namespace trivet::test
