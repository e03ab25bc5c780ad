// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <algorithm>
#include <fmt/format.h>
#include <initializer_list>

#include <trivet/vmm/config.hpp>

#include "mac_text.hpp"

namespace trivet::vmm {
namespace {

constexpr std::uint64_t least_memory_mib = 8, most_memory_mib = std::uint64_t{1} << 24;
constexpr std::uint32_t most_vcpus = 254;  // xAPIC ids; 255 is the broadcast
constexpr std::uint32_t most_queues = 16;
constexpr std::size_t most_devices = 16;         // of one kind
constexpr std::size_t most_id = 20;              // virtio 1.2, 5.2.6.1: VIRTIO_BLK_ID_BYTES
constexpr std::size_t most_interface_name = 15;  // IFNAMSIZ without its NUL
constexpr std::uint32_t most_descriptor = 1U << 30;
constexpr std::uint64_t most_rate = std::uint64_t{1} << 40;
constexpr std::size_t most_path = 4095;  // PATH_MAX without its NUL

Error refuse(Errc code, std::string_view detail) {
  return {code, "check the configuration", detail};
}

template <class T>
Result<void> check_range(std::string_view what, T value, T least, T most) {
  if (value >= least && value <= most) return {};
  return refuse(Errc::out_of_range, fmt::format("{} must be {} to {}, not {}", what, least, most, value));
}

Result<void> check_path(std::string_view what, std::string_view path, bool may_be_empty = false) {
  if (path.empty() && !may_be_empty) return refuse(Errc::invalid_argument, fmt::format("{} is missing", what));
  if (path.size() > most_path) return refuse(Errc::out_of_range, fmt::format("{} is longer than a path can be", what));
  return {};
}

Result<void> check_word(std::string_view what, std::string_view value, std::initializer_list<std::string_view> words) {
  if (std::find(words.begin(), words.end(), value) != words.end()) return {};
  return refuse(Errc::invalid_argument,
                fmt::format("{} must be one of {}, not '{}'", what, fmt::join(words, ", "), value));
}

Result<void> check_memory(const MemoryConfig& memory) {
  TRIVET_TRY(check_range("memory size_mib", memory.size_mib, least_memory_mib, most_memory_mib));
  TRIVET_TRY(check_word("memory backing", memory.backing, {"auto", "anonymous", "memfd", "hugetlbfs", "hypervisor"}));
  if (memory.backing == "hugetlbfs" && memory.size_mib % 2 != 0) {
    return refuse(Errc::invalid_argument, "memory size_mib must be even with backing=hugetlbfs, whose pages are 2 MiB");
  }
  return {};
}

Result<void> check_platform(const PlatformConfig& platform) {
  TRIVET_TRY(check_word("platform irqchip", platform.irqchip, {"auto", "full", "split"}));
  if (platform.admin_queue && platform.virtio == "mmio") {
    return refuse(Errc::invalid_argument, "platform admin_queue=on: only PCI functions have one, not with virtio=mmio");
  }
  return check_word("platform virtio", platform.virtio, {"auto", "mmio", "pci"});
}

Result<void> check_kernel(const KernelConfig& kernel) {
  TRIVET_TRY(check_path("kernel path", kernel.path, true));
  TRIVET_TRY(check_path("kernel initrd", kernel.initrd, true));
  if (kernel.himem_start) {
    if (kernel.path.empty()) {
      return refuse(Errc::invalid_argument,
                    "kernel himem_start is given without a path: the built-in guest has its own");
    }
    if (*kernel.himem_start % 4096 != 0) {
      return refuse(Errc::invalid_argument, "kernel himem_start must be a multiple of 4096");
    }
  }
  return {};
}

Result<void> check_firmware(const FirmwareConfig& firmware, const KernelConfig& kernel) {
  TRIVET_TRY(check_path("firmware path", firmware.path));
  TRIVET_TRY(check_path("firmware debug", firmware.debug));
  if (kernel.path.empty() && kernel.initrd.empty() && !kernel.cmdline && !kernel.himem_start) return {};
  return refuse(Errc::invalid_argument, "firmware and kernel are both given; firmware boots what is on a disk");
}

Result<void> check_blocks(const std::vector<BlockConfig>& blocks) {
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto& block = blocks[i];
    TRIVET_TRY(check_path("block path", block.path));
    TRIVET_TRY(check_range("block queues", block.queues, 1u, most_queues));
    TRIVET_TRY(check_range("block bytes", block.bytes, std::uint64_t{0}, most_rate));
    TRIVET_TRY(check_range("block operations", block.operations, std::uint64_t{0}, most_rate));
    if (block.id.size() > most_id) {
      return refuse(Errc::out_of_range, fmt::format("block id '{}' is longer than {} bytes", block.id, most_id));
    }
    for (std::size_t j = 0; j < i; ++j) {
      // Two writers, or a writer beside a reader, corrupt any file system.
      if (blocks[j].path == block.path && (!blocks[j].read_only || !block.read_only)) {
        return refuse(Errc::invalid_argument,
                      fmt::format("block path {} is given twice; only read_only=on devices may share one", block.path));
      }
      if (!block.id.empty() && blocks[j].id == block.id) {
        return refuse(Errc::invalid_argument, fmt::format("block id '{}' is given twice", block.id));
      }
    }
  }
  return {};
}

Result<void> check_net(const NetConfig& net) {
  if (net.tap.empty() && !net.fd) return refuse(Errc::invalid_argument, "net tap is missing");
  if (!net.tap.empty() && net.fd) return refuse(Errc::invalid_argument, "net takes tap or fd, not both");
  if (net.tap.size() > most_interface_name || net.tap.find_first_of("/ \t\n") != std::string::npos) {
    return refuse(Errc::invalid_argument, fmt::format("net tap '{}' is no interface's name", net.tap));
  }
  if (net.fd) TRIVET_TRY(check_range("net fd", *net.fd, 3u, most_descriptor));
  if (!net.mac.empty()) TRIVET_TRY(parse_mac(net.mac));
  if (net.mtu) TRIVET_TRY(check_range("net mtu", *net.mtu, 68u, 65535u));
  TRIVET_TRY(check_range("net queues", net.queues, 1u, most_queues));
  if (net.fd && net.queues != 1) return refuse(Errc::invalid_argument, "net fd has one queue; leave queues out");
  for (const auto rate : {net.rx_bytes, net.rx_packets, net.tx_bytes, net.tx_packets}) {
    TRIVET_TRY(check_range("net rx_bytes, rx_packets, tx_bytes and tx_packets", rate, std::uint64_t{0}, most_rate));
  }
  return {};
}

Result<void> check_nets(const std::vector<NetConfig>& nets) {
  for (std::size_t i = 0; i < nets.size(); ++i) {
    TRIVET_TRY(check_net(nets[i]));
    for (std::size_t j = 0; j < i; ++j) {
      if (!nets[i].tap.empty() && nets[j].tap == nets[i].tap) {
        return refuse(Errc::invalid_argument, fmt::format("net tap {} is given twice", nets[i].tap));
      }
      if (nets[i].fd && nets[j].fd == nets[i].fd) {
        return refuse(Errc::invalid_argument, fmt::format("net fd {} is given twice", *nets[i].fd));
      }
      if (!nets[i].mac.empty() && *parse_mac(nets[i].mac) == parse_mac(nets[j].mac)) {
        return refuse(Errc::invalid_argument, fmt::format("net mac {} is given twice", nets[i].mac));
      }
    }
  }
  return {};
}

Result<void> check_ports(const std::vector<PortConfig>& ports) {
  constexpr std::size_t most = 30, most_name = 128, most_socket = 107;  // virtio::ConsoleOptions
  TRIVET_TRY(check_range("the number of ports", ports.size(), std::size_t{0}, most));
  for (std::size_t i = 0; i < ports.size(); ++i) {
    const auto& port = ports[i];
    if (port.name.size() > most_name) {
      return refuse(Errc::out_of_range, fmt::format("port name is longer than {} bytes", most_name));
    }
    if (std::any_of(port.name.begin(), port.name.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
      return refuse(Errc::invalid_argument, "port name has a control character");
    }
    TRIVET_TRY(check_path("port input", port.input));
    TRIVET_TRY(check_path("port output", port.output));
    const bool has_file = port.input != "off" || port.output != "off";
    if (port.socket.empty() && !has_file) {
      return refuse(Errc::invalid_argument, "port socket is missing, or its input and output");
    }
    if (!port.socket.empty() && has_file) {
      return refuse(Errc::invalid_argument, "port takes socket, or input and output, not both");
    }
    if (port.socket.size() > most_socket) {
      return refuse(Errc::out_of_range, fmt::format("port socket is longer than {} bytes", most_socket));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (!port.name.empty() && ports[j].name == port.name) {
        return refuse(Errc::invalid_argument, fmt::format("port name '{}' is given twice", port.name));
      }
      if (!port.socket.empty() && ports[j].socket == port.socket) {
        return refuse(Errc::invalid_argument, fmt::format("port socket {} is given twice", port.socket));
      }
    }
  }
  return {};
}

/// One descriptor can feed one device only: the others would get bytes at random.
Result<void> check_inputs(const Config& config) {
  std::vector<std::string_view> inputs{config.serial.input};
  TRIVET_TRY(check_path("serial input", config.serial.input));
  TRIVET_TRY(check_path("serial output", config.serial.output));
  for (const auto& console : config.console) {
    TRIVET_TRY(check_path("console input", console.input));
    TRIVET_TRY(check_path("console output", console.output));
    inputs.push_back(console.input);
  }
  for (const auto& port : config.port) inputs.push_back(port.input);
  if (std::count(inputs.begin(), inputs.end(), "-") > 1) {
    return refuse(Errc::invalid_argument,
                  "standard input is given to more than one device; the serial port has it unless --serial input=off");
  }
  return {};
}

Result<void> check_vsock(const VsockConfig& vsock) {
  constexpr std::size_t most = 96;  // virtio::VsockOptions::path
  TRIVET_TRY(check_path("vsock path", vsock.path));
  TRIVET_TRY(check_range("vsock cid", vsock.cid, 3u, 0xfffffffeu));
  if (vsock.path.size() <= most) return {};
  return refuse(Errc::out_of_range,
                fmt::format("vsock path is longer than {} bytes, and a port is put behind it", most));
}

Result<void> check_balloon(const BalloonConfig& balloon, const MemoryConfig& memory) {
  if (memory.backing == "hypervisor") {
    return refuse(Errc::invalid_argument,
                  "balloon: with memory backing=hypervisor the pages are not ours to give back");
  }
  if (balloon.target_mib < memory.size_mib) return {};
  return refuse(Errc::out_of_range, fmt::format("balloon target_mib must be less than memory size_mib ({}), not {}",
                                                memory.size_mib, balloon.target_mib));
}

}  // namespace

Result<void> validate(const Config& config) {
  if (config.hypervisor.empty() || config.hypervisor.size() > 64) {
    return refuse(Errc::invalid_argument, "hypervisor must be auto or the name of a backend");
  }
  TRIVET_TRY(check_memory(config.memory));
  TRIVET_TRY(check_range("vcpu num", config.vcpu.num, 1u, most_vcpus));
  TRIVET_TRY(check_platform(config.platform));
  TRIVET_TRY(check_kernel(config.kernel));
  if (config.firmware) TRIVET_TRY(check_firmware(*config.firmware, config.kernel));
  TRIVET_TRY(check_range("the number of block devices", config.block.size(), std::size_t{0}, most_devices));
  TRIVET_TRY(check_range("the number of consoles", config.console.size(), std::size_t{0}, most_devices));
  TRIVET_TRY(check_range("the number of rng devices", config.rng.size(), std::size_t{0}, most_devices));
  TRIVET_TRY(check_blocks(config.block));
  TRIVET_TRY(check_ports(config.port));
  TRIVET_TRY(check_inputs(config));
  for (const auto& rng : config.rng) {
    TRIVET_TRY(check_path("rng source", rng.source, true));
    TRIVET_TRY(check_range("rng bytes", rng.bytes, std::uint64_t{0}, most_rate));
  }
  if (config.vsock) TRIVET_TRY(check_vsock(*config.vsock));
  if (config.balloon) TRIVET_TRY(check_balloon(*config.balloon, config.memory));
  TRIVET_TRY(check_range("the number of net devices", config.net.size(), std::size_t{0}, most_devices));
  return check_nets(config.net);
}

}  // namespace trivet::vmm
