// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <pthread.h>
#include <shared_mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unordered_map>
#include <variant>

#include <trivet/mshv_sim/simulator.hpp>

#include "vp.hpp"

namespace trivet::mshv_sim {

namespace abi = mshv::abi;

namespace {

struct Device {
  UniqueFd kvm;
};
using Object = std::variant<std::shared_ptr<Device>, std::shared_ptr<Partition>, std::shared_ptr<Vp>>;

class SimulatedSystem final : public mshv::System {
 public:
  explicit SimulatedSystem(Simulator& simulator) : simulator_(simulator) {}
  int open(const char* path) const noexcept override {
    return std::strcmp(path, abi::device_path) == 0 ? simulator_.open_device() : -ENOENT;
  }
  int close(int fd) const noexcept override {
    simulator_.drop(fd);
    return ::close(fd) < 0 ? -errno : 0;
  }
  int ioctl(int fd, unsigned long request, void* argument) const noexcept override {
    return with_signals_blocked(
        [&](const sigset_t& before) { return simulator_.ioctl(fd, request, argument, before); });
  }
  void* map_page(int fd, std::uint64_t offset) const noexcept override {
    void* const page =
        ::mmap(nullptr, abi::page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
    return page == MAP_FAILED ? nullptr : page;
  }
  void unmap_page(void* page) const noexcept override { ::munmap(page, abi::page_size); }
  int run(int vp_fd, void* message, const mshv::StopFlag& stop) const noexcept override {
    return with_signals_blocked([&](const sigset_t& before) {
      return stop.load() != 0 ? -EINTR : simulator_.ioctl(vp_fd, abi::run_vp, message, before);
    });
  }

 private:
  template <class Call>
  static int with_signals_blocked(const Call& call) noexcept {
    sigset_t all{}, before{};
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    const int result = call(before);
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return result;
  }
  Simulator& simulator_;
};

}  // namespace

struct Simulator::Impl {
  explicit Impl(Simulator& simulator, const Knobs& chosen) : knobs(chosen), system(simulator) {}

  struct Held {
    Object object;
    int fd;
  };

  static bool inode(int fd, std::pair<dev_t, ino_t>& key) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) return false;
    key = {status.st_dev, status.st_ino};
    return true;
  }

  int add(Object object, int fd) {
    if (fd < 0) return -errno;
    std::pair<dev_t, ino_t> key;
    if (!inode(fd, key)) return -EBADF;
    const std::unique_lock lock(mutex);
    device_of_memfds = key.first;
    objects.insert_or_assign(key.second, Held{std::move(object), fd});
    return fd;
  }

  bool find(int fd, Object& object) const {
    std::pair<dev_t, ino_t> key;
    if (!inode(fd, key)) return false;
    const std::shared_lock lock(mutex);
    const auto found = objects.find(key.second);
    if (found == objects.end() || key.first != device_of_memfds) return false;
    object = found->second.object;
    return true;
  }

  int device_ioctl(const Device& device, unsigned long request, const void* argument) {
    if (request != abi::create_partition) return -ENOTTY;
    abi::CreatePartition wanted{};
    std::memcpy(&wanted, argument, sizeof wanted);
    if ((wanted.flags & ~7ULL) != 0 || wanted.isolation != 0) return -EINVAL;  // 6.15: version 1 only
    int error = 0;
    auto partition = Partition::create(device.kvm.value(), wanted.flags, knobs, error);
    if (!partition) return error;
    return add(std::move(partition), ::memfd_create("mshv_partition", MFD_CLOEXEC));
  }

  int partition_ioctl(const std::shared_ptr<Partition>& partition, unsigned long request, void* argument) {
    switch (request) {
      case abi::initialize_partition:
        return partition->initialize();
      case abi::create_vp: {
        const auto index = static_cast<const abi::CreateVp*>(argument)->index;
        if (!partition->initialized() || index >= abi::most_vps) return -EINVAL;
        if (partition->vp(index)) return -EEXIST;
        int error = 0;
        auto vp = Vp::create(partition, index, error);
        if (!vp) return error;
        partition->add(vp);
        return add(vp, ::fcntl(vp->pages_fd(), F_DUPFD_CLOEXEC, 0));
      }
      case abi::set_guest_memory:
        return partition->set_memory(*static_cast<const abi::GuestMemory*>(argument));
      case abi::irqfd:
        return partition->irqfd(*static_cast<const abi::IrqFd*>(argument));
      case abi::ioeventfd:
        return partition->ioeventfd(*static_cast<const abi::IoEventFd*>(argument));
      case abi::set_msi_routing: {
        const auto* const table = static_cast<const abi::MsiRouting*>(argument);
        if (table->count > abi::most_routes || table->reserved != 0) return -EINVAL;
        // SAFETY: the routes follow their header.
        return partition->set_routing(reinterpret_cast<const abi::MsiRoute*>(table + 1), table->count);
      }
      case abi::access_bitmap:
        return partition->access_bitmap(*static_cast<const abi::AccessBitmap*>(argument));
      case abi::root_hypercall:
        return partition->hypercall(*static_cast<abi::RootHypercall*>(argument), nullptr);
      default:
        return -ENOTTY;
    }
  }

  static int vp_ioctl(Vp& vp, unsigned long request, void* argument, const sigset_t& mask) {
    switch (request) {
      case abi::run_vp:
        return vp.run(static_cast<abi::Message*>(argument), mask);
      case abi::get_vp_state:
      case abi::set_vp_state:
        return vp.state(*static_cast<abi::VpState*>(argument), request == abi::set_vp_state);
      case abi::root_hypercall:
        return vp.hypercall(*static_cast<abi::RootHypercall*>(argument));
      default:
        return -ENOTTY;
    }
  }

  const Knobs knobs;
  SimulatedSystem system;
  mutable std::shared_mutex mutex;
  dev_t device_of_memfds = 0;
  std::unordered_map<ino_t, Held> objects;
};

Simulator::Simulator(const Knobs& knobs) : impl_(std::make_unique<Impl>(*this, knobs)) {}
Simulator::~Simulator() {
  // A partition holds its processors, which hold it: as descriptors they would be closed by now.
  for (auto& [inode, held] : impl_->objects) {
    (void)inode;
    if (auto* partition = std::get_if<std::shared_ptr<Partition>>(&held.object)) (*partition)->forget_vps();
  }
}

int Simulator::open_device() {
  UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm.valid()) return -errno;
  if (kvm_call(kvm.value(), KVM_GET_API_VERSION, 0UL) != KVM_API_VERSION) return -ENODEV;
  auto device = std::make_shared<Device>();
  device->kvm = std::move(kvm);
  return impl_->add(std::move(device), ::memfd_create("mshv", MFD_CLOEXEC));
}

bool Simulator::owns(int fd) const {
  Object object;
  return impl_->find(fd, object);
}

void Simulator::drop(int fd) {
  std::pair<dev_t, ino_t> key;
  Object dropped;
  if (Impl::inode(fd, key)) {
    const std::unique_lock lock(impl_->mutex);
    const auto found = impl_->objects.find(key.second);
    if (found != impl_->objects.end() && key.first == impl_->device_of_memfds && found->second.fd == fd) {
      dropped = std::move(found->second.object);
      impl_->objects.erase(found);
    }
  }
  if (auto* partition = std::get_if<std::shared_ptr<Partition>>(&dropped); partition != nullptr && *partition) {
    (*partition)->forget_vps();
  }
}

int Simulator::ioctl(int fd, unsigned long request, void* argument, const sigset_t& waiting_mask) {
  Object object;
  if (!impl_->find(fd, object)) return -ENOTTY;
  if (argument == nullptr && request != abi::initialize_partition) return -EFAULT;
  if (const auto* device = std::get_if<std::shared_ptr<Device>>(&object))
    return impl_->device_ioctl(**device, request, argument);
  if (const auto* partition = std::get_if<std::shared_ptr<Partition>>(&object))
    return impl_->partition_ioctl(*partition, request, argument);
  return Impl::vp_ioctl(*std::get<std::shared_ptr<Vp>>(object), request, argument, waiting_mask);
}

const mshv::System& Simulator::system() const {
  return impl_->system;
}

}  // namespace trivet::mshv_sim
