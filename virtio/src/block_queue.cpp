// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "block_queue.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace trivet::virtio {

namespace {

using Kind = DiskOperation::Kind;

/// Slices beyond one for each descriptor: a buffer may cross from region to region.
constexpr std::size_t crossings = 64;

constexpr const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::read:
      return "read disk";
    case Kind::write:
      return "write disk";
    case Kind::flush:
      return "flush disk";
    case Kind::discard:
      return "discard on disk";
    case Kind::write_zeroes:
      return "zero on disk";
    case Kind::secure_erase:
      return "erase on disk";
  }
  return "use disk";
}

/// Of a request that has ranges.
constexpr Kind kind_of(std::uint32_t type) {
  if (type == abi::block_t_discard) return Kind::discard;
  return type == abi::block_t_secure_erase ? Kind::secure_erase : Kind::write_zeroes;
}

/// What counts as written where only the status byte was: the count starts at the first byte (virtio 1.2, 2.7.8).
constexpr std::uint32_t written_by_status(bool has_gap) {
  return has_gap ? 0 : 1;
}

}  // namespace

BlockQueue::BlockQueue(Queue queue, BlockShared shared) : queue_(std::move(queue)), shared_(shared) {
  requests_.reserve(queue_.size());
  free_.reserve(queue_.size());
}

Result<More> BlockQueue::process() {
  if (waiting_) return More::no;
  queue_.disable_kicks();
  auto more = More::yes;
  Result<void> result;
  for (unsigned budget = queue_.size(); budget > 0; --budget) {
    const auto taken = take_next();
    if (!taken) {
      result = taken.error();
      break;
    }
    if (*taken == Taken::must_wait || (*taken == Taken::none && !queue_.enable_kicks())) {
      more = More::no;
      break;
    }
  }
  shared_.backend.commit();
  publish();
  if (!result) return result.error();
  return more;
}

/// One request. What must wait is woken: by the limiter, or when big buffers are free.
Result<BlockQueue::Taken> BlockQueue::take_next() {
  if (!shared_.limit.ready()) return Taken::must_wait;
  TRIVET_ASSIGN(const auto chain, queue_.pop());
  if (!chain) return Taken::none;
  bytes_ = 0;
  TRIVET_ASSIGN(const auto taken, take_request(*chain));
  if (taken == Taken::must_wait) {
    waiting_ = true;
    TRIVET_TRY(queue_.go_back());
  } else {
    shared_.limit.spend(bytes_);
  }
  return taken;
}

Result<BlockQueue::Taken> BlockQueue::take_request(const Chain& chain) {
  auto parsed = BlockParts::parse(chain);
  if (!parsed) return parsed.error();
  BlockParts& parts = *parsed;
  switch (parts.type) {
    case abi::block_t_in:
    case abi::block_t_out:
      return transfer(parts, chain);
    case abi::block_t_flush: {
      auto& request = take_slot(parts, chain);
      request.kind = Kind::flush;
      request.flushing = true;
      submit(request);
      return Taken::yes;
    }
    case abi::block_t_discard:
    case abi::block_t_write_zeroes:
    case abi::block_t_secure_erase:
      return ranges(parts, chain);
    case abi::block_t_get_id:
      TRIVET_TRY(tell_id(parts, chain.id()));
      return Taken::yes;
    case abi::block_t_get_lifetime:
      TRIVET_TRY(tell_lifetime(parts, chain.id()));
      return Taken::yes;
    default:
      TRIVET_TRY(answer(chain.id(), parts.status, abi::block_s_unsupp, written_by_status(parts.has_gap)));
      return Taken::yes;
  }
}

Result<BlockQueue::Taken> BlockQueue::transfer(BlockParts& parts, const Chain& chain) {
  const bool reads = parts.type == abi::block_t_in;
  const auto bytes = reads ? parts.writer.left() : parts.reader.left();
  if ((!reads && shared_.backend.info().read_only) || bytes % abi::block_sector_size != 0 ||
      !inside(parts.sector, bytes / abi::block_sector_size)) {
    TRIVET_TRY(answer(chain.id(), parts.status, abi::block_s_ioerr, written_by_status(parts.has_gap)));
    return Taken::yes;
  }
  auto& request = take_slot(parts, chain);
  request.kind = reads ? Kind::read : Kind::write;
  request.offset = parts.sector * abi::block_sector_size;
  request.readable = reads ? static_cast<std::uint32_t>(bytes) : 0;
  const auto gathered = reads ? gather(parts.writer, bytes, request) : gather(parts.reader, bytes, request);
  if (!gathered || !*gathered) {
    free_slot(request);
    if (!gathered) return gathered.error();
    return Taken::must_wait;
  }
  request.pinnable = can_pin();
  bytes_ = bytes;
  submit(request);
  return Taken::yes;
}

/// Finds the request's bytes in host memory. False when it needs big buffers and all are in use.
template <class Side>
Result<bool> BlockQueue::gather(Side& side, std::uint64_t bytes, BlockRequest& request) {
  BlockBuffers buffers{request.few_slices, request.few_vectors};
  auto found = side.slices(bytes, buffers.slices);
  if (!found && found.error().code() == Errc::limit) {
    if (!big_) big_ = std::make_unique<BlockBigBuffers>(queue_.size() + crossings);
    request.big = big_->take();
    if (request.big < 0) return false;
    buffers = big_->buffers(request.big);
    found = side.slices(bytes, buffers.slices);
  }
  if (!found) return found.error();
  request.slices = static_cast<std::uint16_t>(*found);
  std::size_t filled = 0;
  for (const auto& slice : buffers.slices.first(*found)) {
    if (slice.size() != 0) buffers.vectors[filled++] = {slice.host(), static_cast<std::size_t>(slice.size())};
  }
  request.data = buffers.vectors.first(filled);
  return true;
}

Result<BlockQueue::Taken> BlockQueue::ranges(BlockParts& parts, const Chain& chain) {
  const auto& info = shared_.backend.info();
  const auto kind = kind_of(parts.type);
  const bool zeroes = kind == Kind::write_zeroes;
  const bool can = zeroes || (kind == Kind::discard ? info.can_discard : info.can_secure_erase);
  const auto count = parts.reader.left() / sizeof(abi::BlockRange);
  auto refuse = [&](abi::u8 status) -> Result<Taken> {
    TRIVET_TRY(answer(chain.id(), parts.status, status, written_by_status(parts.has_gap)));
    return Taken::yes;
  };
  if (!can && !info.read_only) return refuse(abi::block_s_unsupp);
  if (info.read_only || count == 0 || count > block_max_ranges || parts.reader.left() % sizeof(abi::BlockRange) != 0) {
    return refuse(abi::block_s_ioerr);
  }

  std::array<BlockByteRange, block_max_ranges> wanted;
  std::uint64_t zeroed = 0;
  bool may_unmap = true;
  for (std::size_t i = 0; i < count; ++i) {
    TRIVET_ASSIGN(const auto range, parts.reader.read_object<abi::BlockRange>());
    const auto flags = range.flags.value();
    // 5.2.6.2: unmap means something for WRITE_ZEROES only, and other flags mean nothing at all.
    if ((flags & ~abi::block_range_unmap) != 0 || (!zeroes && flags != 0)) return refuse(abi::block_s_unsupp);
    const auto sectors = range.num_sectors.value();
    if (sectors > (zeroes ? block_max_write_zeroes_sectors : block_max_discard_sectors) ||
        !inside(range.sector.value(), sectors))
      return refuse(abi::block_s_ioerr);
    wanted[i] = {range.sector.value() * abi::block_sector_size, std::uint64_t{sectors} * abi::block_sector_size};
    may_unmap = may_unmap && flags == abi::block_range_unmap;
    zeroed += zeroes ? wanted[i].bytes : 0;
  }
  bytes_ = zeroed;
  submit_ranges(parts, chain, kind, may_unmap, std::span(wanted).first(count));
  return Taken::yes;
}

void BlockQueue::submit_ranges(const BlockParts& parts, const Chain& chain, Kind kind, bool may_unmap,
                               std::span<const BlockByteRange> wanted) {
  if (range_table_.empty()) range_table_.resize(queue_.size() * block_max_ranges);
  auto& request = take_slot(parts, chain);
  request.kind = kind;
  request.may_unmap = may_unmap;
  request.ranges = static_cast<std::uint8_t>(wanted.size());
  std::ranges::copy(wanted, range_table_.begin() + static_cast<std::ptrdiff_t>(request.slot * block_max_ranges));
  if (go_on(request)) {
    submit(request);
  } else {
    finish(request, 0);
  }
}

Result<void> BlockQueue::tell_id(BlockParts& parts, std::uint16_t chain) {
  std::array<std::byte, abi::block_id_size> id{};
  std::memcpy(id.data(), shared_.id.data(), std::min(id.size(), shared_.id.size()));
  return tell(parts, chain, id);
}

Result<void> BlockQueue::tell_lifetime(BlockParts& parts, std::uint16_t chain) {
  const bool can = shared_.backend.info().tells_lifetime;
  const auto known = can ? shared_.backend.lifetime() : std::nullopt;
  if (!known) {
    const auto status = can ? abi::block_s_ioerr : abi::block_s_unsupp;
    return answer(chain, parts.status, status, written_by_status(parts.has_gap));
  }
  abi::BlockLifetime lifetime{};
  lifetime.pre_eol_info = known->pre_eol_info;
  lifetime.device_lifetime_est_typ_a = known->worn_a;
  lifetime.device_lifetime_est_typ_b = known->worn_b;
  return tell(parts, chain, std::as_bytes(std::span(&lifetime, 1)));
}

Result<void> BlockQueue::tell(BlockParts& parts, std::uint16_t chain, ConstBytes value) {
  TRIVET_TRY(parts.writer.write(
      value.first(static_cast<std::size_t>(std::min<std::uint64_t>(value.size(), parts.writer.left())))));
  const bool whole = parts.writer.left() == 0;  // the status byte follows what was written
  return answer(chain, parts.status, abi::block_s_ok, parts.writer.written() + (whole ? 1 : 0));
}

BlockRequest& BlockQueue::take_slot(const BlockParts& parts, const Chain& chain) {
  // No more than the queue's size is ever in flight, so the vector never grows beyond what it reserved.
  if (free_.empty()) {
    requests_.emplace_back();
    requests_.back().slot = static_cast<std::uint16_t>(requests_.size() - 1);
    free_.push_back(requests_.back().slot);
  }
  auto& request = requests_[free_.back()];
  free_.pop_back();
  static_cast<DiskOperation&>(request) = DiskOperation{};
  request.queue = this;
  request.chain = chain.id();
  request.flushing = false;
  request.next_range = request.ranges = 0;
  request.slices = 0;
  request.big = -1;
  request.readable = 0;
  request.has_gap = parts.has_gap;
  request.status = parts.status;
  return request;
}

void BlockQueue::free_slot(BlockRequest& request) noexcept {
  if constexpr (memory::maps_on_demand) {  // what the driver may take back as soon as it is told
    request.status = {};
    const auto slices = request.big >= 0 ? big_->buffers(request.big).slices : std::span(request.few_slices);
    memory::forget(slices.first(request.slices));
  }
  if (request.big >= 0) big_->give_back(request.big);
  request.big = -1;
  free_.push_back(request.slot);
}

void BlockQueue::submit(BlockRequest& request) noexcept {
  for (;;) {
    const auto os_errno = shared_.backend.submit(request);
    if (!os_errno) return;
    if (*os_errno != 0 || !go_on(request)) return finish(request, *os_errno);
  }
}

bool BlockQueue::go_on(BlockRequest& request) noexcept {
  while (request.next_range < request.ranges) {
    const auto& range = range_table_[request.slot * block_max_ranges + request.next_range++];
    request.offset = range.offset;
    request.bytes = range.bytes;
    if (range.bytes != 0) return true;
  }
  if (request.kind == Kind::read || request.flushing || !shared_.writes_through()) return false;
  request.kind = Kind::flush;
  request.flushing = true;
  return true;
}

void BlockQueue::completed(BlockRequest& request, int os_errno) noexcept {
  if (os_errno == 0 && go_on(request)) return submit(request);
  finish(request, os_errno);
}

void BlockQueue::finish(BlockRequest& request, int os_errno) noexcept {
  const bool done = os_errno == 0;
  if (done && request.readable != 0) {
    const auto slices = request.big >= 0 ? big_->buffers(request.big).slices : std::span(request.few_slices);
    for (const auto& slice : slices.first(request.slices)) slice.mark_written(0, slice.size());
  }
  if (!done) shared_.notifier.host_error(Error::from_errno(os_errno, name_of(request.kind), {}));
  const auto status = done ? abi::block_s_ok : os_errno == EOPNOTSUPP ? abi::block_s_unsupp : abi::block_s_ioerr;
  const auto written = done && request.readable != 0 ? request.readable + 1 : written_by_status(request.has_gap);
  const auto answered = answer(request.chain, request.status, status, written);
  free_slot(request);
  if (!answered) {
    answered.error().blame() == Blame::guest ? shared_.notifier.driver_fault(answered.error())
                                             : shared_.notifier.host_error(answered.error());
  }
}

Result<void> BlockQueue::answer(std::uint16_t chain, const memory::Slice& status, abi::u8 value,
                                std::uint32_t written) noexcept {
  status.write(0, std::as_bytes(std::span(&value, 1)));
  return queue_.stage_used(chain, written);
}

void BlockQueue::publish() noexcept {
  queue_.publish();
  if (queue_.should_notify()) shared_.notifier.used(queue_.index());
}

void BlockQueue::batch_completed() noexcept {
  publish();
  if (std::exchange(waiting_, false)) shared_.notifier.wake(queue_.index());
}

bool BlockQueue::can_pin() noexcept {
  if (queue_.memory().get() != known_memory_) {
    known_memory_ = queue_.memory().get();
    can_pin_ = std::ranges::all_of(known_memory_->regions(), [](const auto& region) { return region->can_pin(); });
  }
  return can_pin_;
}

bool BlockQueue::inside(std::uint64_t sector, std::uint64_t sectors) const noexcept {
  const auto capacity = shared_.backend.info().size / abi::block_sector_size;
  return sector <= capacity && sectors <= capacity - sector;
}

}  // namespace trivet::virtio
