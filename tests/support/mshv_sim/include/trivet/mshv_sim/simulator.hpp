// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <memory>
#include <signal.h>
#include <string>
#include <string_view>

#include <trivet/mshv/system.hpp>

namespace trivet::mshv_sim {

/// A lie that some test of Trivet must notice.
enum class Mutation : std::uint8_t {
  none,
  wrong_gpa,
  wrong_gva,
  wrong_segment,
  wrong_length,
  wrong_string,
  lost_irqfd,
  lost_dirty,
  lost_rollback,
};
[[nodiscard]] std::string_view to_string(Mutation mutation);

/// How unkind the simulator is. All of it may happen on hardware, but for `mutation`.
struct Knobs {
  bool no_bytes = false;             ///< messages carry no instruction bytes
  bool no_gva = false;               ///< memory messages carry no virtual address
  bool no_length = false;            ///< memory messages carry no instruction length
  bool no_register_page = false;     ///< the register page is never valid
  unsigned flaky_register_page = 0;  ///< it is not valid after every n-th run
  unsigned again_every = 0;          ///< every n-th hypercall wants to be made again (a page was deposited)
  unsigned most_repetitions = 0;     ///< a hypercall does at most n and then wants to be made again
  unsigned interrupt_every = 0;      ///< every n-th run ends with EINTR although nobody asked
  Mutation mutation = Mutation::none;

  /// From words like "no-bytes,again-every=3,mutation=lost_irqfd"; false and the word in `wrong` when there is none
  /// such.
  bool parse(std::string_view words, std::string& wrong);
};

/// /dev/mshv on /dev/kvm, in this process. Descriptors are memfds, known by their inode, so that duplicates work, and a
/// virtual processor's holds its state pages, so that mmap works. Thread rule: any thread.
class Simulator {
 public:
  explicit Simulator(const Knobs& knobs = {});
  ~Simulator();
  Simulator(const Simulator&) = delete;
  Simulator& operator=(const Simulator&) = delete;

  // What fails gives a negative errno.
  int open_device();
  [[nodiscard]] bool owns(int fd) const;
  /// `fd` is about to be closed: drops what it stands for, if anything. Duplicates then lead nowhere.
  void drop(int fd);
  /// `waiting_mask`: the signals that are blocked while a guest runs. All signals must be blocked by the caller: so one
  /// that comes between its last look and the guest is not lost.
  int ioctl(int fd, unsigned long request, void* argument, const sigset_t& waiting_mask);

  /// This simulator behind the backend's seam; opens "/dev/mshv" only.
  [[nodiscard]] const mshv::System& system() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace trivet::mshv_sim
