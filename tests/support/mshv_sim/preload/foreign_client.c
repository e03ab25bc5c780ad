// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// A program that knows /dev/mshv from Linux's interface alone: nothing of Trivet is in it, and its numbers and offsets
// are written out here. It makes a partition with one virtual processor at its reset vector, which writes "mshv" to one
// port and then to another. Source: include/uapi/linux/mshv.h, include/hyperv/hvhdk.h of Linux 6.15.
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

enum { page_size = 4096, port = 0x80, last_port = 0x81, most_messages = 100 };
static const unsigned long create_partition = 0x4010b800, initialize_partition = 0xb800, create_vp = 0x4004b801,
                           set_guest_memory = 0x4020b802, run_vp = 0x8100b800;
static const uint32_t io_port_message = 0x80010000;

static int fail(const char* what) {
  printf("foreign client: %s: %s\n", what, strerror(errno));
  return 1;
}

int main(void) {
  // The last page below 4 GiB. The processor starts 16 bytes before its end, in real mode, and jumps to 48 bytes before
  // it.
  static const uint8_t start[] = {0xe9, 0xdd, 0xff};
  static const uint8_t code[] = {0xb0, 'm',  0xe6, port, 0xb0, 's',  0xe6, port, 0xb0,
                                 'h',  0xe6, port, 0xb0, 'v',  0xe6, port, 0xe6, last_port};
  uint8_t* const memory = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return fail("memory");
  memcpy(memory + page_size - 16, start, sizeof start);
  memcpy(memory + page_size - 48, code, sizeof code);

  const int device = open("/dev/mshv", O_RDWR | O_CLOEXEC);
  if (device < 0) return fail("/dev/mshv");
  const uint64_t partition_wish[2] = {1, 0};  // with a local APIC
  const int partition = ioctl(device, create_partition, partition_wish);
  if (partition < 0) return fail("create a partition");
  if (ioctl(partition, initialize_partition) != 0) return fail("initialize it");
  const uint64_t region[4] = {page_size, 0xfffff, (uint64_t)(uintptr_t)memory,
                              3};  // bytes, page, where, writable and executable
  if (ioctl(partition, set_guest_memory, region) != 0) return fail("give it memory");
  const uint32_t index = 0;
  const int vp = ioctl(partition, create_vp, &index);
  if (vp < 0) return fail("create a virtual processor");
  uint8_t* const registers = mmap(NULL, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, vp, 0);
  if (registers == MAP_FAILED) return fail("map its registers");

  char said[8] = "";
  size_t length = 0;
  for (int i = 0; i < most_messages; ++i) {
    uint8_t message[256];
    if (ioctl(vp, run_vp, message) != 0) {
      if (errno == EINTR) continue;
      return fail("run it");
    }
    uint32_t type;
    memcpy(&type, message, sizeof type);
    uint16_t at;
    memcpy(&at, message + 16 + 40, sizeof at);
    if (type == io_port_message && at == last_port) {
      printf("foreign client: the guest said \"%s\"\n", said);
      return strcmp(said, "mshv") == 0 ? 0 : 1;
    }
    if (type != io_port_message || at != port || length + 1 == sizeof said) {
      printf("foreign client: message %#x, port %#x\n", type, at);
      return 1;
    }
    said[length++] = (char)message[16 + 48];  // al
    // The hypervisor stops before the instruction: going on behind it is ours.
    if (registers[2] == 0) {
      printf("foreign client: the register page is not valid\n");
      return 1;
    }
    const uint32_t instruction_pointer_changed = 2;
    uint64_t next;
    memcpy(&next, message + 16 + 24, sizeof next);
    next += message[16 + 4] & 0xf;
    memcpy(registers + 136, &next, sizeof next);
    memcpy(registers + 4, &instruction_pointer_changed, sizeof instruction_pointer_changed);
  }
  printf("foreign client: %d messages and no end\n", most_messages);
  return 1;
}
