// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#include <trivet/test/vhost_user_bench.hpp>

namespace trivet::test {

namespace wire = vhost_user::abi;

VhostUserBench::VhostUserBench(std::unique_ptr<virtio::Device> device, bool track_dirty,
                               std::uint64_t protocol_features)
    : DeviceBench(false) {
  share_memory();
  for (std::size_t i = 0; i < device->queue_sizes().size(); ++i) {
    queues_.push_back({.descriptors = {},
                       .available = {},
                       .used = {},
                       .kick = must(Event::create()),
                       .call = must(Event::create()),
                       .error = must(Event::create())});
  }
  auto [ours, theirs] = vhost_user::FrontEnd::sockets();
  server = must(vhost_user::Server::create(std::move(device), std::move(theirs),
                                           {.executor = loop.get_executor(),
                                            .log = [this](const Error& error) { note(error); },
                                            .protocol_features = protocol_features,
                                            .track_dirty = track_dirty}));
  front_end = std::make_unique<vhost_user::FrontEnd>(std::move(ours));
  start_loop();
  watch();
  try {
    must(front_end->connect(protocol_features));
  } catch (...) {
    stop_watching();
    stop_loop();
    throw;
  }
}

VhostUserBench::~VhostUserBench() {
  stop_watching();
  stop_loop();
  server.reset();
}

// --- what a VMM has ---

/// The guest's memory stays where it is, but what is there is a file's, as a VMM's memory for vhost-user is.
void VhostUserBench::share_memory() {
  const auto& region = *guest.memory().regions().front();
  const auto size = region.range().size;
  memory_.reset(::memfd_create("guest", MFD_CLOEXEC));
  if (!memory_.valid() || ::ftruncate(memory_.value(), static_cast<off_t>(memory_offset + size)) != 0 ||
      ::mmap(region.host(), size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory_.value(), memory_offset) ==
          MAP_FAILED) {
    throw std::runtime_error("the guest's memory cannot be shared");
  }
}

/// Turns the queues' call events into interrupts.
void VhostUserBench::watch() {
  stop_watching_ = must(Event::create());
  watcher_ = std::thread([this] {
    std::vector<pollfd> waits{{stop_watching_->fd(), POLLIN, 0}};
    for (const auto& queue : queues_) waits.push_back({queue.call.fd(), POLLIN, 0});
    for (;;) {
      (void)::poll(waits.data(), waits.size(), -1);
      if (waits[0].revents != 0) return;
      for (const auto& queue : queues_) {
        if (queue.call.take() != 0) (void)line.signal();
      }
    }
  });
}

void VhostUserBench::stop_watching() {
  stop_watching_->signal();
  if (watcher_.joinable()) watcher_.join();
}

std::uint64_t VhostUserBench::user_address(GuestAddress at) const {
  const auto& region = *guest.memory().find(at);
  // SAFETY: a number for the protocol, as which a VMM sees its own memory; nothing is read through it.
  return reinterpret_cast<std::uintptr_t>(region.host()) + (at.value - region.range().start.value);
}

// --- the driver's registers ---

std::uint32_t VhostUserBench::status() {
  for (const auto& queue : queues_) broken_ = queue.error.take() != 0 || broken_;
  const auto told =
      has_status() ? static_cast<std::uint32_t>(must(front_end->ask_number(wire::Request::get_status))) : 0;
  const bool broken = broken_ || (told & virtio::abi::status_needs_reset) != 0;
  return status_ | (broken ? virtio::abi::status_needs_reset : 0);
}

void VhostUserBench::set_status(std::uint32_t value) {
  if (value == 0) return reset();
  constexpr auto features_ok = virtio::abi::status_features_ok;
  if ((value & ~status_ & features_ok) != 0) {
    const bool good = (features_ & ~offered()) == 0 && (features_ & virtio::abi::f_version_1) != 0;
    if (!good) return;
    const bool with_protocol = front_end->speaks_protocol();
    must(front_end->tell(wire::Request::set_features, features_ | (with_protocol ? wire::f_protocol_features : 0)));
  }
  const bool starts = (value & ~status_ & virtio::abi::status_driver_ok) != 0;
  status_ = value;
  if (starts) start_device();
  if (has_status()) must(front_end->tell(wire::Request::set_status, std::uint64_t{value}));
}

void VhostUserBench::reset() {
  for (std::uint32_t i = 0; i < queues_.size(); ++i) stop_queue(i);
  if (has_status()) {
    must(front_end->tell(wire::Request::set_status, std::uint64_t{0}));
  } else if (front_end->has(wire::protocol_f_reset_device)) {
    must(front_end->tell(wire::Request::reset_device));
  }
  for (auto& queue : queues_) {
    queue.ready = false;
    queue.size = 0;
    (void)queue.error.take();
  }
  broken_ = false;
  features_ = 0;
  status_ = 0;
}

void VhostUserBench::start_device() {
  const auto& region = *guest.memory().regions().front();
  struct {
    wire::MemoryTable table;
    wire::MemoryRegion region;
  } const memory{{1, 0}, {0, region.range().size, user_address({0}), memory_offset}};
  static_assert(sizeof memory == 40);
  const int fd = memory_.value();
  must(front_end->tell(wire::Request::set_mem_table, memory, std::span(&fd, 1)));
  for (std::uint32_t i = 0; i < queues_.size(); ++i) {
    if (queues_[i].ready) start_queue(i);
  }
}

void VhostUserBench::start_queue(std::uint32_t index) {
  using wire::Request;
  auto& queue = queues_[index];
  must(front_end->tell(Request::set_vring_num, index, queue.size));
  must(front_end->tell(Request::set_vring_base, index, queue.base));
  must(front_end->tell(Request::set_vring_addr,
                       wire::VringAddress{index, 0, user_address(queue.descriptors), user_address(queue.used),
                                          user_address(queue.available), 0}));
  must(front_end->set_event(Request::set_vring_call, index, queue.call.fd()));
  must(front_end->set_event(Request::set_vring_err, index, queue.error.fd()));
  must(front_end->set_event(Request::set_vring_kick, index, queue.kick.fd()));
  if (front_end->speaks_protocol()) must(front_end->tell(Request::set_vring_enable, index, 1));
  queue.running = true;
}

void VhostUserBench::stop_queue(std::uint32_t index) {
  auto& queue = queues_[index];
  if (!queue.running) return;
  if (front_end->speaks_protocol()) must(front_end->tell(wire::Request::set_vring_enable, index, 0));
  queue.base = must(front_end->stop_queue(index));
  queue.running = false;
}

std::uint64_t VhostUserBench::offered() {
  return must(front_end->ask_number(wire::Request::get_features)) & ~wire::f_protocol_features;
}

void VhostUserBench::set_features(std::uint64_t features) {
  features_ = features;
}

void VhostUserBench::describe_queue(unsigned index, const Driver& driver) {
  if (index >= queues_.size()) return;
  auto& queue = queues_[index];
  queue.size = driver.size();
  queue.descriptors = driver.descriptor_area();
  queue.available = driver.driver_area();
  queue.used = driver.device_area();
  queue.base = vhost_user::base_of(driver.config());
}

void VhostUserBench::enable_queue(unsigned index) {
  if (index >= queues_.size()) return;
  queues_[index].ready = true;
  if (driver_ok()) start_queue(index);
}

bool VhostUserBench::queue_enabled(unsigned index) {
  return index < queues_.size() && queues_[index].ready;
}

void VhostUserBench::reset_queue(unsigned index) {
  stop_queue(index);
  queues_.at(index).ready = false;
}

void VhostUserBench::pause_queue(unsigned index) {
  stop_queue(index);
}

void VhostUserBench::resume_queue(unsigned index) {
  start_queue(index);
}

void VhostUserBench::kick(unsigned index) {
  if (index < queues_.size()) queues_[index].kick.signal();
}

void VhostUserBench::look_for_changes() {
  const auto more = front_end->take_config_changes();
  generation_ += more;
  changed_ = changed_ || more != 0;
}

std::uint32_t VhostUserBench::generation() {
  look_for_changes();
  return generation_;
}

bool VhostUserBench::take_config_change() {
  look_for_changes();
  return std::exchange(changed_, false);
}

void VhostUserBench::read_config(std::uint64_t offset, Bytes out) {
  must(front_end->read_config(static_cast<std::uint32_t>(offset), out));
}

void VhostUserBench::write_config(std::uint64_t offset, ConstBytes in) {
  must(front_end->write_config(static_cast<std::uint32_t>(offset), in));
}

// --- memory ---

std::shared_ptr<const memory::GuestMemory> VhostUserBench::device_memory() {
  return server->memory()->snapshot();
}

void VhostUserBench::add_memory(const GuestRange& range) {
  auto mapping = must(memory::Mapping::memfd("more", range.size));
  const int fd = mapping.fd();
  // SAFETY: a number for the protocol; nothing is read through it.
  const auto user = reinterpret_cast<std::uintptr_t>(mapping.data());
  const wire::SingleMemoryRegion region{0, {range.start.value, range.size, user, 0}};
  must(front_end->tell(wire::Request::add_mem_reg, region, std::span(&fd, 1)));
  added_[range.start.value] = region;
  must(guest.map()->insert(must(memory::Region::create(range.start, std::move(mapping)))));
}

void VhostUserBench::remove_memory(const GuestRange& range) {
  const auto region = added_.extract(range.start.value);
  must(front_end->tell(wire::Request::rem_mem_reg, region.mapped()));
  (void)must(guest.map()->remove(range));
}

}  // namespace trivet::test
