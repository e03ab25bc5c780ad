// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "confine.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace trivet::program {
namespace {

constexpr auto operation = "give up privileges";
constexpr unsigned third_argument = offsetof(seccomp_data, args) + 2 * sizeof(std::uint64_t);
constexpr unsigned first_argument = offsetof(seccomp_data, args);

/// A seccomp program. libseccomp would be one more library that each start of any command loads.
class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    unless_equal(call_architecture(), SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
    for (const auto call : allowed_calls()) {
      if_equal(call, 1);
      answer(SECCOMP_RET_ALLOW);
    }
    for (const auto call : mapping_calls()) only_without(call, third_argument, PROT_EXEC);
    // glibc tries clone3 first, whose flags are in memory that no filter sees, and takes clone then.
    if_equal(SYS_clone3, 1);
    answer(SECCOMP_RET_ERRNO | ENOSYS);
    only_with(SYS_clone, first_argument, CLONE_THREAD);
    answer(refused);
  }

  [[nodiscard]] sock_fprog program() noexcept { return {static_cast<unsigned short>(steps_.size()), steps_.data()}; }

 private:
  static constexpr unsigned refused = SECCOMP_RET_ERRNO | EPERM;

  void load(unsigned offset) { steps_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void answer(unsigned with) { steps_.push_back(BPF_STMT(BPF_RET | BPF_K, with)); }
  /// Goes over `steps` steps where the loaded word is another.
  void if_equal(unsigned value, unsigned char steps) {
    steps_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, steps));
  }
  void unless_equal(unsigned value, unsigned with) {
    steps_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 1, 0));
    answer(with);
  }
  void only_without(unsigned call, unsigned argument, unsigned bits) { by_bits(call, argument, bits, 1, 0); }
  void only_with(unsigned call, unsigned argument, unsigned bits) { by_bits(call, argument, bits, 0, 1); }
  void by_bits(unsigned call, unsigned argument, unsigned bits, unsigned char if_set, unsigned char if_clear) {
    if_equal(call, 4);
    load(argument);
    steps_.push_back(BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, if_set, if_clear));
    answer(SECCOMP_RET_ALLOW);
    answer(refused);
  }

  std::vector<sock_filter> steps_;
};

}  // namespace

Result<void> confine() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  const std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> none{};
  if (::syscall(SYS_capset, &header, none.data()) != 0) return Error::from_errno(errno, operation, "capabilities");
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Error::from_errno(errno, operation, "no_new_privs");
  Filter filter;
  const auto program = filter.program();
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
    return Error::from_errno(errno, operation, "seccomp");
  }
  return {};
}

}  // namespace trivet::program
