// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fcntl.h>
#include <fmt/format.h>
#include <memory>
#include <optional>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <trivet/core/unique_fd.hpp>
#include <trivet/vmm/backends.hpp>

#include "commands.hpp"
#include "dm.hpp"

namespace trivet::program {
namespace {

constexpr auto operation = "supervise a device model";
// xl takes 2 s and what building the domain takes, during which it must be found.
constexpr std::chrono::seconds succession_patience{30};
constexpr int look_again_ms = 10;
constexpr std::array stop_signals{SIGINT, SIGTERM, SIGHUP, SIGQUIT};

class Supervisor {
 public:
  explicit Supervisor(vmm::DeviceModelConfig config) : config_(std::move(config)) {}

  Result<int> run() {
    TRIVET_TRY(take_signals());
    while (true) {
      TRIVET_TRY(start_worker());
      TRIVET_ASSIGN(const int status, watch_worker());
      if (status != 0 || !succession_) return status;
      TRIVET_ASSIGN(const bool expected, succession_->expected());
      say(fmt::format("domain {} ended{}\n", config_.id, expected ? ": waiting for the one that takes its place" : ""));
      if (!expected) return 0;
      TRIVET_ASSIGN(const bool found, find_next());
      if (!found) return stopped_by_ == 0 ? 0 : 128 + stopped_by_;
    }
  }

 private:
  Result<void> take_signals() {
    sigset_t taken;
    sigemptyset(&taken);
    sigaddset(&taken, SIGCHLD);
    for (const int number : stop_signals) sigaddset(&taken, number);
    // A shell without job control ignores these for its background jobs.
    for (const int number : {SIGINT, SIGQUIT}) std::signal(number, SIG_DFL);
    ::sigprocmask(SIG_BLOCK, &taken, &before_);
    signals_.reset(::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_.valid()) return Error::from_errno(errno, operation, "signalfd");
    return {};
  }

  Result<void> start_worker() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error::from_errno(errno, operation, "pipe");
    ready_.reset(ends[0]);
    UniqueFd told(ends[1]);
    const auto parent = ::getpid();
    worker_ = ::fork();
    if (worker_ < 0) return Error::from_errno(errno, operation, "fork");
    if (worker_ > 0) return {};
    // Nothing of ours goes on in the worker: neither when we end, nor what only we may do.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    succession_.reset();
    hypervisor_.reset();
    ready_.reset();
    signals_.reset();
    ::sigprocmask(SIG_SETMASK, &before_, nullptr);
    const int code = serve_domain(config_, told.value());
    ::_exit(code);
  }

  /// The worker's exit status, of a signal as a shell tells it.
  Result<int> watch_worker() {
    while (true) {
      std::array<pollfd, 2> watched{pollfd{signals_.value(), POLLIN, 0}, pollfd{ready_.value(), POLLIN, 0}};
      if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
        return Error::from_errno(errno, operation, "poll");
      }
      if (watched[1].revents != 0) {
        if (const auto told = worker_ready(); !told) {
          ::kill(worker_, SIGTERM);
          (void)::waitpid(worker_, nullptr, 0);
          return told.error();
        }
      }
      if (const auto number = next_signal(); number != 0 && number != SIGCHLD) ::kill(worker_, number);
      int status = 0;
      if (::waitpid(worker_, &status, WNOHANG) != worker_) continue;
      if (!WIFSIGNALED(status)) return WEXITSTATUS(status);
      complain(fmt::format("the device model of domain {} was ended by signal {}", config_.id, WTERMSIG(status)));
      return 128 + WTERMSIG(status);
    }
  }

  Result<void> worker_ready() {
    std::uint64_t mebibytes = 0;
    const bool told = ::read(ready_.value(), &mebibytes, sizeof mebibytes) == sizeof mebibytes;
    ready_.reset();
    if (!told) return {};  // it ended: why, it says itself
    if (!succession_) {
      // Only now, so that the first worker never had it.
      registry_.emplace(vmm::find_backends());
      TRIVET_ASSIGN(const auto* backend, registry_->select(config_.hypervisor));
      TRIVET_ASSIGN(hypervisor_, backend->open());
      TRIVET_ASSIGN(succession_, hypervisor_->follow(VmId{config_.id}));
      say(fmt::format("ready: serving domain {} with {} MiB; it may run now (xl unpause {})\n", config_.id, mebibytes,
                      config_.id));
      return {};
    }
    TRIVET_TRY(succession_->let_go());
    say(fmt::format("serving domain {} with {} MiB\n", config_.id, mebibytes));
    return {};
  }

  /// False where none came, or a signal did.
  Result<bool> find_next() {
    const auto late = std::chrono::steady_clock::now() + succession_patience;
    while (std::chrono::steady_clock::now() < late) {
      TRIVET_ASSIGN(const auto next, succession_->find());
      if (next) {
        config_.id = static_cast<std::uint64_t>(*next);
        return true;
      }
      pollfd watched{signals_.value(), POLLIN, 0};
      (void)::poll(&watched, 1, look_again_ms);
      if (const auto number = next_signal(); number != 0 && number != SIGCHLD) {
        stopped_by_ = number;
        return false;
      }
    }
    say("none came\n");
    return false;
  }

  /// 0: none.
  int next_signal() const noexcept {
    signalfd_siginfo info{};
    return ::read(signals_.value(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
  }

  vmm::DeviceModelConfig config_;
  sigset_t before_{};
  UniqueFd signals_;
  UniqueFd ready_;  ///< from the worker, until it is ready
  pid_t worker_ = -1;
  int stopped_by_ = 0;
  std::optional<BackendRegistry> registry_;  // holds the code of the next two
  std::unique_ptr<Hypervisor> hypervisor_;
  std::unique_ptr<Succession> succession_;
};

}  // namespace

int supervise(vmm::DeviceModelConfig config) {
  Supervisor supervisor(std::move(config));  // an error may be words of the backend that it holds
  const auto code = supervisor.run();
  if (code) return *code;
  complain(code.error());
  return 1;
}

}  // namespace trivet::program
