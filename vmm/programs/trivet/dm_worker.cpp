// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <unistd.h>

#include <trivet/vmm/backends.hpp>

#include "commands.hpp"
#include "confine.hpp"
#include "dm.hpp"
#include "stop_signals.hpp"

namespace trivet::program {
namespace {

Result<void> tell(int fd, std::uint64_t value) {
  if (::write(fd, &value, sizeof value) == sizeof value) return {};
  return Error::from_errno(errno, "say that the guest may run");
}

Result<vmm::Outcome> serve(const vmm::DeviceModelConfig& config, const BackendRegistry& registry, int ready_fd) {
  TRIVET_ASSIGN(const auto model, vmm::DeviceModel::create(config, registry));
  TRIVET_ASSIGN(const auto signals, StopSignals::create(model->executor(), [&model] { model->stop(); }));
  for (const auto& device : model->devices()) say(device + "\n");
  TRIVET_TRY(confine());
  TRIVET_TRY(model->start());
  TRIVET_TRY(tell(ready_fd, model->memory_mib()));
  return model->wait();
}

}  // namespace

int serve_domain(const vmm::DeviceModelConfig& config, int ready_fd) {
  const auto registry = vmm::find_backends();  // holds a loaded backend, whose words an error may be
  const auto outcome = serve(config, registry, ready_fd);
  const auto error = outcome ? outcome->error : std::optional(outcome.error());
  if (error) {
    complain(*error);
    return 1;
  }
  const bool stopped = outcome->end == vmm::End::stopped && StopSignals::caught() != 0;
  return stopped ? 128 + StopSignals::caught() : vmm::exit_code(outcome->end);
}

}  // namespace trivet::program
