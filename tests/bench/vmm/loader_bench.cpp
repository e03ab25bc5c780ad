// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// What loading costs: a kernel of 48 MiB from a file, mapped (memory of our own) and copied (memory that is shared);
// and the ACPI tables.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

#include <trivet/vmm/acpi/acpi_tables.hpp>
#include <trivet/vmm/loader/boot_x86_64.hpp>

namespace {

using namespace trivet;
using namespace trivet::vmm;

constexpr std::uint64_t ram = 128 * layout::mebibyte;
constexpr std::uint64_t body = 48 * layout::mebibyte;
constexpr std::uint64_t base = 16 * layout::mebibyte;

/// An ELF file on disk, with one segment; gone at the end.
class KernelFile {
 public:
  KernelFile() {
    const int fd = ::mkstemp(path_.data());
    std::vector<char> bytes(layout::page_size + body, 'x');
    std::fill_n(bytes.begin(), layout::page_size, '\0');
    const auto put = [&bytes](std::size_t at, auto value) { std::memcpy(bytes.data() + at, &value, sizeof(value)); };
    // ELF64, little-endian, an executable for x86-64, one program header after the file header.
    std::memcpy(bytes.data(),
                "\x7f"
                "ELF\2\1\1",
                7);
    put(16, std::uint16_t{2});
    put(18, std::uint16_t{62});
    put(24, base);
    put(32, std::uint64_t{64});
    put(54, std::uint16_t{56});
    put(56, std::uint16_t{1});
    // Loads `body` bytes from the file's second page.
    put(64, std::uint32_t{1});
    put(64 + 8, layout::page_size);
    put(64 + 24, base);
    put(64 + 32, body);
    put(64 + 40, body);
    if (::write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::perror("write");
    ::close(fd);
  }
  ~KernelFile() { ::unlink(path_.c_str()); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/trivet-bench-XXXXXX";
};

PlatformInfo platform(std::uint32_t vcpus) {
  PlatformInfo info;
  info.ram_bytes = ram;
  info.apic_ids.resize(vcpus);
  std::iota(info.apic_ids.begin(), info.apic_ids.end(), 0U);
  info.ioapic.emplace();
  info.serial.resize(1);
  return info;
}

void boot(benchmark::State& state, bool shared) {
  const KernelFile file;
  for (auto _ : state) {
    state.PauseTiming();
    auto mapping = shared ? memory::Mapping::memfd("bench", ram) : memory::Mapping::anonymous(ram);
    auto region = memory::Region::create({0}, std::move(*mapping));
    auto memory = memory::GuestMemory::create({*region});
    state.ResumeTiming();
    auto kernel = KernelImage::open(file.path());
    const BootSource source{std::move(*kernel), {}, CommandLine(), layout::kernel, {}, true};
    auto result = load_boot(source, **memory, platform(1));
    if (!result) state.SkipWithError(to_string(result.error()).c_str());
    state.PauseTiming();
    region->reset();
    memory->reset();
    state.ResumeTiming();
  }
}

void load_mapped(benchmark::State& state) {
  boot(state, false);
}
void load_copied(benchmark::State& state) {
  boot(state, true);
}
BENCHMARK(load_mapped)->Unit(benchmark::kMicrosecond);
BENCHMARK(load_copied)->Unit(benchmark::kMicrosecond);

void build_acpi_tables(benchmark::State& state) {
  const auto info = platform(static_cast<std::uint32_t>(state.range(0)));
  for (auto _ : state) {
    auto tables = acpi_tables(info, layout::acpi_tables);
    benchmark::DoNotOptimize(tables);
  }
}
BENCHMARK(build_acpi_tables)->Arg(1)->Arg(64)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();
