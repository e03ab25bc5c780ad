// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <boost/describe/class.hpp>

#include <trivet/core/result.hpp>

namespace trivet::vmm {

/// Guest memory.
struct MemoryConfig {
  std::uint64_t size_mib = 256;  ///< MiB, 8 to 16,777,216 (16 TiB)
  /// Whose pages it is made of. auto: anonymous, or the hypervisor's where it takes no others. anonymous: this
  /// process's own. memfd: also another process can map them. hugetlbfs: the same in pages of 2 MiB that the host has
  /// reserved. hypervisor: its own (guest_memfd on KVM, Linux 6.18).
  std::string backing = "auto";
};
BOOST_DESCRIBE_STRUCT(MemoryConfig, (), (size_mib, backing))

/// `--vcpu`: how many.
struct VcpuConfig {
  std::uint32_t num = 1;  ///< 1 to 254
};
BOOST_DESCRIBE_STRUCT(VcpuConfig, (), (num))

/// What the machine is made of where there is a choice.
struct PlatformConfig {
  std::string irqchip = "auto";   ///< auto, full: all interrupt controllers in the hypervisor; split: only local APICs
  std::string virtio = "auto";    ///< auto, mmio, pci: how the guest finds virtio devices; mmio needs interrupt lines
  bool packed = true;             ///< offer the guest packed rings; this and the next: of every virtio device
  bool in_order = true;           ///< offer it to use chains in order
  bool notification_data = true;  ///< offer it to say in a kick how far it is
  bool admin_queue = false;       ///< give each PCI function an administration queue; not with virtio mmio
};
BOOST_DESCRIBE_STRUCT(PlatformConfig, (), (irqchip, virtio, packed, in_order, notification_data, admin_queue))

/// What is booted. Without a path: the built-in guest.
struct KernelConfig {
  std::string path;                          ///< ELF or bzImage
  std::optional<std::string> cmdline;        ///< nothing: `default_cmdline` for a kernel, empty for the built-in guest
  std::optional<std::uint64_t> himem_start;  ///< lowest guest address for the kernel, bytes; nothing: 1 MiB
  std::string initrd;                        ///< empty: none
};
BOOST_DESCRIBE_STRUCT(KernelConfig, (), (path, cmdline, himem_start, initrd))

/// A machine that starts firmware of its own, as a PC does, instead of a kernel.
struct FirmwareConfig {
  std::string path;           ///< a ROM image for QEMU's machines, which ends at 4 GiB: whole pages, at most 16 MiB
  std::string debug = "off";  ///< where its debug port, 0x402, writes: as SerialConfig::output
};
BOOST_DESCRIBE_STRUCT(FirmwareConfig, (), (path, debug))

/// Where a character device's bytes come from and go to: "-" for standard input and output, "off", or a file's path.
struct SerialConfig {
  std::string input = "-";
  std::string output = "-";
};
BOOST_DESCRIBE_STRUCT(SerialConfig, (), (input, output))

/// A virtio console.
struct ConsoleConfig {
  std::string input = "off";
  std::string output = "-";
};
BOOST_DESCRIBE_STRUCT(ConsoleConfig, (), (input, output))

/// A port of the machine's one virtio console device with several ports: a channel for a program in the guest, or with
/// `console` one more terminal.
struct PortConfig {
  std::string name;            ///< the guest finds it by that, at most 128 bytes; empty: it has none
  std::string input = "off";   ///< as a console's
  std::string output = "off";  ///< as a console's
  std::string socket;          ///< or a Unix socket that is made for one program at a time, at most 107 bytes
  bool console = false;
};
BOOST_DESCRIBE_STRUCT(PortConfig, (), (name, input, output, socket, console))

/// A virtio block device over a raw image.
struct BlockConfig {
  std::string path;
  bool read_only = false;
  bool direct = false;           ///< O_DIRECT: past the host's page cache
  std::string id;                ///< what GET_ID answers, at most 20 bytes; empty: trivet-N, counted from 0
  std::uint32_t queues = 1;      ///< 1 to 16
  bool raw = false;              ///< the file's bytes are the disk's, even if they begin as those of a qcow2 image do
  std::uint64_t bytes = 0;       ///< what the guest may read, write and zero in a second; 0: no limit
  std::uint64_t operations = 0;  ///< and how many requests it may make
};
BOOST_DESCRIBE_STRUCT(BlockConfig, (), (path, read_only, direct, id, queues, raw, bytes, operations))

/// A virtio entropy source.
struct RngConfig {
  std::string source;       ///< a file or device; empty: the kernel's getrandom
  std::uint64_t bytes = 0;  ///< what the guest may draw in a second; 0: no limit
};
BOOST_DESCRIBE_STRUCT(RngConfig, (), (source, bytes))

/// The guest's sockets, over Unix sockets of the host's; see virtio::Vsock for their form.
struct VsockConfig {
  std::uint32_t cid = 3;  ///< 3 to 4294967294
  std::string path;       ///< the socket that is made, at most 96 bytes
};
BOOST_DESCRIBE_STRUCT(VsockConfig, (), (cid, path))

/// A memory balloon.
struct BalloonConfig {
  std::uint64_t target_mib = 0;  ///< MiB that it takes from the guest from the start; less than memory size_mib
  bool deflate_on_oom = false;
  bool free_page_reporting = false;
};
BOOST_DESCRIBE_STRUCT(BalloonConfig, (), (target_mib, deflate_on_oom, free_page_reporting))

/// A virtio network device on a tap of the host, which is there already: this user's, or with CAP_NET_ADMIN any.
struct NetConfig {
  std::string tap;                   ///< the interface's name; or:
  std::optional<std::uint32_t> fd;   ///< a descriptor that is attached to a tap with a virtio header
  std::string mac;                   ///< the guest's, as 52:54:00:12:34:56; empty: another one each time
  std::optional<std::uint32_t> mtu;  ///< what the guest is told, bytes, 68 to 65535; nothing: it is not told
  std::uint32_t queues = 1;          ///< pairs, 1 to 16; more than one need a tap made multi_queue, and no fd
  bool offload = true;               ///< checksums and segmentation may be left to the host, and by it to the guest
  bool rss = false;                  ///< the guest chooses which pair receives what, and is told the hash
  std::uint64_t rx_bytes = 0;        ///< what the guest may receive in a second; 0: no limit
  std::uint64_t rx_packets = 0;
  std::uint64_t tx_bytes = 0;  ///< what it may send
  std::uint64_t tx_packets = 0;
};
BOOST_DESCRIBE_STRUCT(NetConfig, (),
                      (tap, fd, mac, mtu, queues, offload, rss, rx_bytes, rx_packets, tx_bytes, tx_packets))

/// A whole machine, as a person writes it down: on the command line, where each member is an option, or as JSON, where
/// each is a key. Both are read by the same description and checked by the same `validate`.
struct Config {
  std::string hypervisor = "auto";
  MemoryConfig memory;
  VcpuConfig vcpu;
  PlatformConfig platform;
  KernelConfig kernel;
  std::optional<FirmwareConfig> firmware;
  SerialConfig serial;
  std::vector<BlockConfig> block;
  std::vector<ConsoleConfig> console;
  std::vector<PortConfig> port;
  std::vector<RngConfig> rng;
  std::vector<NetConfig> net;
  std::optional<VsockConfig> vsock;
  std::optional<BalloonConfig> balloon;
};
BOOST_DESCRIBE_STRUCT(Config, (),
                      (hypervisor, memory, vcpu, platform, kernel, firmware, serial, block, console, port, rng, net,
                       vsock, balloon))

/// A kernel's command line when none is given.
inline constexpr std::string_view default_cmdline = "console=ttyS0 reboot=k panic=-1";

/// Whether the machine can be built at all, before anything is opened. `invalid_argument` or `out_of_range` names the
/// option and the key; `unsupported` what this version does not have (caller).
Result<void> validate(const Config& config);

/// Sets what a JSON document names and leaves the rest. `malformed` (with the offset) when it is not JSON,
/// `invalid_argument` or `out_of_range` with the path in the document ("/block/0/path") for an unknown key, a wrong
/// type or a number that does not fit (caller). Not validated yet.
Result<void> apply_json(Config& config, std::string_view document);

/// The same from a file of at most 1 MiB; errors name it.
Result<void> apply_json_file(Config& config, const std::string& path);

/// Sets one member from its option group: "size_mib=1024" for memory, `path=/d,read_only=on` for block. A repeatable
/// member (block, console, port, rng, net) gains one. Values end at a comma; double quotes around a value keep commas,
/// with
/// \" and \\ inside. `not_found`: no such option; the rest as `apply_json` (caller). Not validated yet.
Result<void> apply_option(Config& config, std::string_view name, std::string_view group);

/// One option of the command line, for help and for the parser.
struct OptionInfo {
  std::string name;
  std::string keys;  ///< "path=,read_only=,..."; empty: a plain value
  bool repeatable = false;
  bool bare = false;  ///< may stand alone, without keys: one more with all defaults
};
[[nodiscard]] std::vector<OptionInfo> option_infos();

}  // namespace trivet::vmm
