// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "mapping.hpp"

#include <cerrno>

namespace trivet::mshv {

Result<Mapping> Mapping::create(int fd, std::size_t offset, std::size_t size, const char* what) {
  void* const address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd,
                               static_cast<off_t>(offset));
  if (address == MAP_FAILED) return Error::from_errno(errno, "mmap", what);
  return Mapping(address, size);
}

}  // namespace trivet::mshv
