// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cassert>
#include <limits>

#include <trivet/vmm/acpi/aml.hpp>

namespace trivet::vmm::aml {
namespace {

constexpr std::uint8_t zero_op = 0x00;
constexpr std::uint8_t one_op = 0x01;
constexpr std::uint8_t name_op = 0x08;
constexpr std::uint8_t byte_prefix = 0x0a;
constexpr std::uint8_t word_prefix = 0x0b;
constexpr std::uint8_t dword_prefix = 0x0c;
constexpr std::uint8_t string_prefix = 0x0d;
constexpr std::uint8_t qword_prefix = 0x0e;
constexpr std::uint8_t scope_op = 0x10;
constexpr std::uint8_t buffer_op = 0x11;
constexpr std::uint8_t package_op = 0x12;
constexpr std::uint8_t extended_prefix = 0x5b;
constexpr std::uint8_t device_op = 0x82;

constexpr std::uint8_t port_descriptor = 0x47;            // 6.4.2.5
constexpr std::uint8_t memory32_fixed_descriptor = 0x86;  // 6.4.3.4
constexpr std::uint8_t dword_space_descriptor = 0x87;     // 6.4.3.5.2
constexpr std::uint8_t word_space_descriptor = 0x88;      // 6.4.3.5.3
constexpr std::uint8_t qword_space_descriptor = 0x8a;     // 6.4.3.5.1
constexpr std::uint8_t space_memory = 0;
constexpr std::uint8_t space_buses = 2;
constexpr std::uint8_t space_fixed = 3U << 2;  // minimum and maximum are; a producer that decodes positively
constexpr std::uint8_t space_read_write = 1;   // and not cacheable
constexpr std::uint8_t extended_interrupt_descriptor = 0x89;  // 6.4.3.6
constexpr std::uint8_t end_descriptor = 0x79;                 // 6.4.2.9
constexpr std::uint8_t interrupt_consumer = 1U << 0;
constexpr std::uint8_t interrupt_edge = 1U << 1;

void add_byte(Code& code, std::uint8_t value) {
  code.push_back(std::byte{value});
}

void add(Code& code, const Code& more) {
  code.insert(code.end(), more.begin(), more.end());
}

void add_little(Code& code, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) add_byte(code, static_cast<std::uint8_t>(value >> 8 * i));
}

void add_name(Code& code, Name name) {
  for (const char c : name.characters()) add_byte(code, static_cast<std::uint8_t>(c));
}

/// PkgLength, which counts itself: one byte holds 6 bits; more hold 4 and 8 each (20.2.4).
Code package_length(std::size_t content) {
  Code code;
  if (content + 1 < 0x40) {
    add_byte(code, static_cast<std::uint8_t>(content + 1));
    return code;
  }
  unsigned more = 1;
  while (more < 3 && content + 1 + more >= std::size_t{1} << (4 + 8 * more)) ++more;
  const auto length = content + 1 + more;
  assert(length < std::size_t{1} << 28);
  add_byte(code, static_cast<std::uint8_t>(more << 6 | (length & 0xf)));
  add_little(code, length >> 4, more);
  return code;
}

Code package_of(std::initializer_list<std::uint8_t> op, const Code& content) {
  Code code;
  for (const auto byte : op) add_byte(code, byte);
  add(code, package_length(content.size()));
  add(code, content);
  return code;
}

}  // namespace

Name Name::numbered(char letter, unsigned number) {
  assert(letter >= 'A' && letter <= 'Z' && number < most_numbers);
  constexpr std::string_view digits = "0123456789ABCDEF";
  Name name;
  name.characters_ = {letter, digits[number >> 8 & 0xf], digits[number >> 4 & 0xf], digits[number & 0xf]};
  return name;
}

Code join(std::initializer_list<Code> terms) {
  Code code;
  for (const auto& term : terms) add(code, term);
  return code;
}

Code integer(std::uint64_t value) {
  Code code;
  if (value <= 1) {
    add_byte(code, value == 0 ? zero_op : one_op);
  } else if (value <= std::numeric_limits<std::uint8_t>::max()) {
    add_byte(code, byte_prefix);
    add_little(code, value, 1);
  } else if (value <= std::numeric_limits<std::uint16_t>::max()) {
    add_byte(code, word_prefix);
    add_little(code, value, 2);
  } else if (value <= std::numeric_limits<std::uint32_t>::max()) {
    add_byte(code, dword_prefix);
    add_little(code, value, 4);
  } else {
    add_byte(code, qword_prefix);
    add_little(code, value, 8);
  }
  return code;
}

Code string(std::string_view text) {
  Code code;
  add_byte(code, string_prefix);
  for (const char c : text) {
    assert(c > 0);
    add_byte(code, static_cast<std::uint8_t>(c));
  }
  add_byte(code, 0);
  return code;
}

Code eisa_id(EisaId id) {
  Code code;
  add_byte(code, dword_prefix);
  for (const auto byte : id.bytes()) add_byte(code, byte);
  return code;
}

Code package(std::initializer_list<Code> elements) {
  assert(elements.size() <= 255);
  Code content;
  add_byte(content, static_cast<std::uint8_t>(elements.size()));
  for (const auto& element : elements) add(content, element);
  return package_of({package_op}, content);
}

Code buffer(std::span<const std::byte> bytes) {
  Code content = integer(bytes.size());
  content.insert(content.end(), bytes.begin(), bytes.end());
  return package_of({buffer_op}, content);
}

Code name(Name name, const Code& value) {
  Code code;
  add_byte(code, name_op);
  add_name(code, name);
  add(code, value);
  return code;
}

Code scope(Name name, const Code& body) {
  Code content;
  add_name(content, name);
  add(content, body);
  return package_of({scope_op}, content);
}

Code device(Name name, const Code& body) {
  Code content;
  add_name(content, name);
  add(content, body);
  return package_of({extended_prefix, device_op}, content);
}

Resources& Resources::ports(std::uint16_t first, std::uint8_t count) {
  add_byte(bytes_, port_descriptor);
  add_byte(bytes_, 1);  // decodes 16 bits
  add_little(bytes_, first, 2);
  add_little(bytes_, first, 2);
  add_byte(bytes_, 1);  // alignment
  add_byte(bytes_, count);
  return *this;
}

Resources& Resources::memory(std::uint32_t start, std::uint32_t size) {
  add_byte(bytes_, memory32_fixed_descriptor);
  add_little(bytes_, 9, 2);
  add_byte(bytes_, 1);  // writable
  add_little(bytes_, start, 4);
  add_little(bytes_, size, 4);
  return *this;
}

Resources& Resources::buses(std::uint8_t first, std::uint8_t last) {
  add_byte(bytes_, word_space_descriptor);
  add_little(bytes_, 13, 2);
  add_byte(bytes_, space_buses);
  add_byte(bytes_, space_fixed);
  add_byte(bytes_, 0);
  for (const unsigned field : {0U, unsigned{first}, unsigned{last}, 0U, last - first + 1U})
    add_little(bytes_, field, 2);
  return *this;
}

Resources& Resources::memory_window(std::uint64_t start, std::uint64_t size) {
  const auto last = start + (size - 1);
  const bool low = last >> 32 == 0;
  const unsigned width = low ? 4 : 8;
  add_byte(bytes_, low ? dword_space_descriptor : qword_space_descriptor);
  add_little(bytes_, 3 + 5 * width, 2);
  add_byte(bytes_, space_memory);
  add_byte(bytes_, space_fixed);
  add_byte(bytes_, space_read_write);
  for (const auto field : {std::uint64_t{0}, start, last, std::uint64_t{0}, size}) add_little(bytes_, field, width);
  return *this;
}

Resources& Resources::interrupt(std::uint32_t gsi, Line line) {
  add_byte(bytes_, extended_interrupt_descriptor);
  add_little(bytes_, 6, 2);
  const auto mode = line == Line::edge_high ? interrupt_edge : std::uint8_t{0};
  add_byte(bytes_, static_cast<std::uint8_t>(interrupt_consumer | mode));
  add_byte(bytes_, 1);
  add_little(bytes_, gsi, 4);
  return *this;
}

Code Resources::code() const {
  Code all = bytes_;
  add_byte(all, end_descriptor);
  add_byte(all, 0);  // no checksum
  return buffer(all);
}

}  // namespace trivet::vmm::aml
