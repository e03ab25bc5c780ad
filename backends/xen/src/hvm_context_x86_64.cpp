// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include "hvm_context_x86_64.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace trivet::xen {
namespace {

constexpr auto parse_operation = "parse an HVM context";
static_assert(sizeof(hvm_save_descriptor) == 8);

Error malformed(std::size_t at, const std::string& why) {
  return Error::malformed(parse_operation, "at byte " + std::to_string(at) + ": " + why);
}

void append(std::vector<std::uint8_t>& to, const void* from, std::size_t size) {
  const auto* bytes = static_cast<const std::uint8_t*>(from);
  to.insert(to.end(), bytes, bytes + size);
}

void append_descriptor(std::vector<std::uint8_t>& to, RecordType type, std::uint16_t instance, std::size_t length) {
  const hvm_save_descriptor descriptor{static_cast<std::uint16_t>(type), instance, static_cast<std::uint32_t>(length)};
  append(to, &descriptor, sizeof descriptor);
}

Result<void> check_header(const HvmContext::Record& record) {
  hvm_save_header header{};
  if (record.type != RecordType::header || record.bytes.size() < sizeof header) {
    return malformed(0, "it does not start with a header");
  }
  std::memcpy(&header, record.bytes.data(), sizeof header);
  if (header.magic != HVM_FILE_MAGIC || header.version != HVM_FILE_VERSION) {
    return malformed(0, "the header's magic or version is another");
  }
  return {};
}

}  // namespace

Result<HvmContext> HvmContext::parse(std::span<const std::uint8_t> bytes) {
  HvmContext context;
  std::size_t at = 0;
  while (true) {
    hvm_save_descriptor descriptor{};
    if (bytes.size() - at < sizeof descriptor) return malformed(at, "cut off before the end record");
    std::memcpy(&descriptor, bytes.data() + at, sizeof descriptor);
    const auto type = static_cast<RecordType>(descriptor.typecode);
    const auto body = at + sizeof descriptor;
    if (descriptor.length > bytes.size() - body) {
      return malformed(at, "record " + std::to_string(descriptor.typecode) + " of " +
                               std::to_string(descriptor.length) + " bytes is cut off");
    }
    if (type == RecordType::end) {
      if (descriptor.length != 0 || body != bytes.size()) return malformed(body, "bytes after the end record");
      if (descriptor.instance != 0) return malformed(at, "an end record that is not the context's");
      if (context.records_.empty()) return malformed(0, "it does not start with a header");
      return context;
    }
    if (context.find(type, descriptor.instance) != nullptr) {
      return malformed(at, "record " + std::to_string(descriptor.typecode) + " of instance " +
                               std::to_string(descriptor.instance) + " is there twice");
    }
    Record record{type, descriptor.instance, {}};
    const auto part = bytes.subspan(body, descriptor.length);
    record.bytes.assign(part.begin(), part.end());
    if (context.records_.empty()) TRIVET_TRY(check_header(record));
    context.records_.push_back(std::move(record));
    at = body + descriptor.length;
  }
}

std::vector<std::uint8_t> HvmContext::serialise() const {
  std::vector<std::uint8_t> bytes;
  for (const auto& record : records_) {
    append_descriptor(bytes, record.type, record.instance, record.bytes.size());
    append(bytes, record.bytes.data(), record.bytes.size());
  }
  append_descriptor(bytes, RecordType::end, 0, 0);
  return bytes;
}

const HvmContext::Record* HvmContext::find(RecordType type, std::uint16_t instance) const noexcept {
  const auto found = std::find_if(records_.begin(), records_.end(), [&](const Record& record) {
    return record.type == type && record.instance == instance;
  });
  return found != records_.end() ? &*found : nullptr;
}

void HvmContext::put(RecordType type, std::uint16_t instance, std::vector<std::uint8_t> bytes) {
  for (auto& record : records_) {
    if (record.type != type || record.instance != instance) continue;
    record.bytes = std::move(bytes);
    return;
  }
  records_.push_back({type, instance, std::move(bytes)});
}

void HvmContext::erase(RecordType type, std::uint16_t instance) {
  std::erase_if(records_, [&](const Record& record) { return record.type == type && record.instance == instance; });
}

}  // namespace trivet::xen
