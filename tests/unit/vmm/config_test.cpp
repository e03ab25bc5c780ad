// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <gtest/gtest.h>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <trivet/test/temp_file.hpp>
#include <trivet/vmm/config.hpp>
#include <trivet/vmm/run_options.hpp>

namespace trivet::vmm {
namespace {

Result<RunOptions> parse(std::initializer_list<const char*> arguments) {
  return parse_run_options(std::vector<std::string>(arguments.begin(), arguments.end()));
}

/// The message; empty when there was no error.
std::string refusal(std::initializer_list<const char*> arguments) {
  const auto options = parse(arguments);
  return options ? std::string() : to_string(options.error());
}

std::string json_refusal(std::string_view document) {
  Config config;
  auto result = apply_json(config, document);
  if (result) result = validate(config);
  return result ? std::string() : to_string(result.error());
}

void expect_part(const std::string& text, std::string_view part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << text << "' lacks '" << part << "'";
  EXPECT_EQ(text.find('\n'), std::string::npos) << "one line";
}

TEST(RunOptions, NothingIsTheDefaultMachine) {
  const auto options = parse({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->config.memory.size_mib, 256u);
  EXPECT_EQ(options->config.vcpu.num, 1u);
  EXPECT_TRUE(options->config.kernel.path.empty());
  EXPECT_EQ(options->config.hypervisor, "auto");
  EXPECT_FALSE(options->stats);
}

TEST(RunOptions, TheReferenceForms) {
  const auto options =
      parse({"--memory", "size_mib=1024", "--vcpu", "num=2", "--kernel",
             "path=/p,cmdline=\"console=ttyS0,115200 root=/dev/vda\",himem_start=0x200000,initrd=/i", "--block",
             "path=/d", "--block", "path=/e,read_only=on,direct=off,id=data,queues=2,raw=on", "--rng", "", "--stats",
             "--hypervisor", "kvm"});
  ASSERT_TRUE(options) << to_string(options.error());
  const auto& config = options->config;
  EXPECT_EQ(config.memory.size_mib, 1024u);
  EXPECT_EQ(config.vcpu.num, 2u);
  EXPECT_EQ(config.kernel.path, "/p");
  EXPECT_EQ(*config.kernel.cmdline, "console=ttyS0,115200 root=/dev/vda");
  EXPECT_EQ(*config.kernel.himem_start, 0x200000u);
  EXPECT_EQ(config.kernel.initrd, "/i");
  ASSERT_EQ(config.block.size(), 2u);
  EXPECT_EQ(config.block[0].path, "/d");
  EXPECT_FALSE(config.block[0].read_only);
  EXPECT_TRUE(config.block[1].read_only);
  EXPECT_TRUE(config.block[1].raw && !config.block[0].raw);
  EXPECT_EQ(config.block[1].id, "data");
  EXPECT_EQ(config.block[1].queues, 2u);
  EXPECT_EQ(config.rng.size(), 1u);
  EXPECT_EQ(config.hypervisor, "kvm");
  EXPECT_TRUE(options->stats);
}

TEST(RunOptions, WhatNeedsNoKeysMayStandAlone) {
  const auto options = parse({"--rng", "--vcpu", "num=2", "--console", "--rng"});
  ASSERT_TRUE(options) << to_string(options.error());
  EXPECT_EQ(options->config.vcpu.num, 2u);
  EXPECT_EQ(options->config.rng.size(), 2u);
  ASSERT_EQ(options->config.console.size(), 1u);
  EXPECT_EQ(options->config.console[0].output, "-");
  EXPECT_EQ(parse({"--rng=source=/x"})->config.rng.front().source, "/x");
  EXPECT_EQ(parse({"--rng", "source=/x"})->config.rng.front().source, "/x");
  EXPECT_EQ(parse({"--rng", ""})->config.rng.size(), 1u);
  expect_part(refusal({"--rng", "stray"}), "stray");
  expect_part(refusal({"--block", "--rng"}), "block");
  expect_part(refusal({"--block"}), "block");
  expect_part(refusal({"--net"}), "net");
  EXPECT_NE(run_options_help().find("--rng source=,bytes=   (repeatable; may stand alone)"), std::string::npos);
}

TEST(RunOptions, SocketsAndBalloon) {
  const auto options = parse(
      {"--vsock", "cid=7,path=/run/v", "--balloon", "target_mib=64,deflate_on_oom=on", "--memory", "size_mib=128"});
  ASSERT_TRUE(options) << to_string(options.error());
  ASSERT_TRUE(options->config.vsock);
  EXPECT_EQ(options->config.vsock->cid, 7u);
  EXPECT_EQ(options->config.vsock->path, "/run/v");
  ASSERT_TRUE(options->config.balloon);
  EXPECT_EQ(options->config.balloon->target_mib, 64u);
  EXPECT_TRUE(options->config.balloon->deflate_on_oom);
  EXPECT_FALSE(options->config.balloon->free_page_reporting);
  EXPECT_FALSE(parse({})->config.balloon);
  EXPECT_TRUE(parse({"--balloon"})->config.balloon);
  EXPECT_EQ(parse({"--vsock", "path=/v"})->config.vsock->cid, 3u);

  expect_part(refusal({"--vsock"}), "vsock");
  expect_part(refusal({"--vsock", "cid=3"}), "vsock path is missing");
  expect_part(refusal({"--vsock", "path=/v,cid=2"}), "vsock cid must be 3 to 4294967294");
  expect_part(refusal({"--vsock", "path=/v,cid=4294967295"}), "vsock cid");
  const auto long_path = "path=/" + std::string(96, 'x');
  expect_part(refusal({"--vsock", long_path.c_str()}), "96");
  expect_part(refusal({"--vsock", "path=/v", "--vsock", "path=/w"}), "vsock is given twice");
  expect_part(refusal({"--balloon", "target_mib=256"}), "less than memory size_mib (256)");
  expect_part(refusal({"--balloon", "size=1"}), "size");
  expect_part(refusal({"--balloon", "--balloon"}), "balloon is given twice");
  EXPECT_NE(run_options_help().find("--vsock cid=,path=\n"), std::string::npos);
  EXPECT_NE(run_options_help().find("--balloon target_mib=,deflate_on_oom=,free_page_reporting=   (may stand alone)"),
            std::string::npos);

  Config config;
  ASSERT_TRUE(apply_json(config, R"({"vsock": {"cid": 9, "path": "/v"}, "balloon": {"free_page_reporting": true}})"));
  EXPECT_EQ(config.vsock->cid, 9u);
  EXPECT_TRUE(config.balloon->free_page_reporting);
  expect_part(json_refusal(R"({"vsock": {"cid": 4294967296, "path": "/v"}})"), "/vsock/cid");
  expect_part(json_refusal(R"({"balloon": []})"), "/balloon");
  expect_part(json_refusal(R"({"vsock": {"cid": 1, "path": "/v"}})"), "3 to");
}

TEST(RunOptions, ThePlatformIsChosenByWords) {
  const auto options = parse({"--platform", "irqchip=split,virtio=pci"});
  ASSERT_TRUE(options) << to_string(options.error());
  EXPECT_EQ(options->config.platform.irqchip, "split");
  EXPECT_EQ(options->config.platform.virtio, "pci");
  EXPECT_EQ(parse({})->config.platform.virtio, "auto");
  expect_part(refusal({"--platform", "virtio=isa"}), "auto, mmio, pci");
  expect_part(refusal({"--platform", "irqchip="}), "auto, full, split");
  EXPECT_EQ(json_refusal(R"({"platform": {"virtio": "pci"}})"), "");
  expect_part(json_refusal(R"({"platform": {"virtio": 1}})"), "/platform/virtio");
  expect_part(json_refusal(R"({"platform": {"virtio": "isa"}})"), "isa");
}

TEST(RunOptions, WhatTheGuestIsOfferedMayBeWithheld) {
  const auto all = parse({})->config.platform;
  EXPECT_TRUE(all.packed && all.in_order && all.notification_data);
  const auto options = parse({"--platform", "packed=off,in_order=off,notification_data=off"});
  ASSERT_TRUE(options) << to_string(options.error());
  EXPECT_FALSE(options->config.platform.packed);
  EXPECT_FALSE(options->config.platform.in_order);
  EXPECT_FALSE(options->config.platform.notification_data);
  EXPECT_TRUE(parse({"--platform", "packed=off"})->config.platform.in_order);
  expect_part(refusal({"--platform", "packed=maybe"}), "packed");
  expect_part(refusal({"--platform", "packed"}), "packed");
  EXPECT_EQ(json_refusal(R"({"platform": {"in_order": false}})"), "");
  expect_part(json_refusal(R"({"platform": {"notification_data": "off"}})"), "/platform/notification_data");
}

TEST(RunOptions, AnAdministrationQueueIsForPciFunctions) {
  EXPECT_FALSE(parse({})->config.platform.admin_queue);
  EXPECT_TRUE(parse({"--platform", "admin_queue=on"})->config.platform.admin_queue);
  EXPECT_EQ(refusal({"--platform", "virtio=pci,admin_queue=on"}), "");
  expect_part(refusal({"--platform", "virtio=mmio,admin_queue=on"}), "admin_queue");
  expect_part(refusal({"--platform", "admin_queue=maybe"}), "admin_queue");
}

TEST(RunOptions, ValuesKeepEqualsSignsSpacesAndEscapes) {
  EXPECT_EQ(*parse({"--kernel", "cmdline=a=b c=d"})->config.kernel.cmdline, "a=b c=d");
  EXPECT_EQ(*parse({"--kernel", R"(cmdline="say \"hi\" \\ \n")"})->config.kernel.cmdline, R"(say "hi" \ \n)");
  EXPECT_EQ(*parse({"--kernel", "cmdline="})->config.kernel.cmdline, "");
  EXPECT_EQ(*parse({"--kernel=cmdline=x"})->config.kernel.cmdline, "x");
}

TEST(RunOptions, UnknownThingsAreNamed) {
  expect_part(refusal({"--nosuch"}), "nosuch");
  expect_part(refusal({"--mem", "size_mib=1"}), "mem");  // no guessing
  expect_part(refusal({"--kernel", "path=/p,colour=red"}), "colour");
  expect_part(refusal({"--kernel", "path=/p,colour=red"}), "himem_start");  // what there is
  expect_part(refusal({"stray"}), "stray");
  expect_part(refusal({"--vcpu"}), "vcpu");
}

TEST(RunOptions, BadValuesAreNamed) {
  expect_part(refusal({"--vcpu", "num=banana"}), "banana");
  expect_part(refusal({"--vcpu", "num=-1"}), "num");
  expect_part(refusal({"--vcpu", "num=1x"}), "1x");
  expect_part(refusal({"--vcpu", "num="}), "num");
  expect_part(refusal({"--vcpu", "num=0x"}), "num");
  expect_part(refusal({"--vcpu", "num=4294967297"}), "too large");
  expect_part(refusal({"--memory", "size_mib=99999999999999999999"}), "size_mib");
  expect_part(refusal({"--block", "path=/d,read_only=maybe"}), "maybe");
  expect_part(refusal({"--kernel", "cmdline=\"a"}), "quote");
  expect_part(refusal({"--kernel", "cmdline=\"a\"b"}), "quote");
  expect_part(refusal({"--kernel", "cmdline=console=ttyS0,115200"}), "double quotes");
  expect_part(refusal({"--kernel", "path"}), "path");
  expect_part(refusal({"--kernel", "path=/p,"}), "comma");
  expect_part(refusal({"--kernel", ",path=/p"}), "key=value");
}

TEST(RunOptions, ContradictionsAreNamed) {
  expect_part(refusal({"--memory", "size_mib=64", "--memory", "size_mib=128"}), "memory is given twice");
  expect_part(refusal({"--memory", "size_mib=64,size_mib=128"}), "size_mib");
  expect_part(refusal({"--block", "path=/d", "--block", "path=/d"}), "/d");
  expect_part(refusal({"--block", "path=/d,read_only=on", "--block", "path=/d"}), "/d");
  EXPECT_EQ(refusal({"--block", "path=/d,read_only=on", "--block", "path=/d,read_only=on"}), "");
  expect_part(refusal({"--block", "path=/d,id=x", "--block", "path=/e,id=x"}), "'x'");
  expect_part(refusal({"--console", "input=-"}), "standard input");
  EXPECT_EQ(refusal({"--console", "input=-", "--serial", "input=off"}), "");
  expect_part(refusal({"--kernel", "himem_start=4096"}), "himem_start");
}

TEST(RunOptions, RangesAreNamed) {
  expect_part(refusal({"--memory", "size_mib=0"}), "size_mib");
  expect_part(refusal({"--memory", "size_mib=16777217"}), "size_mib");
  EXPECT_EQ(refusal({"--memory", "size_mib=16777216"}), "");
  expect_part(refusal({"--memory", "backing=paper"}), "one of auto, anonymous, memfd, hugetlbfs, hypervisor");
  expect_part(refusal({"--memory", "size_mib=65,backing=hugetlbfs"}), "even");
  EXPECT_EQ(refusal({"--memory", "size_mib=64,backing=hugetlbfs"}), "");
  expect_part(refusal({"--memory", "backing=hypervisor", "--balloon", "target_mib=1"}), "not ours");
  expect_part(refusal({"--vcpu", "num=0"}), "num");
  expect_part(refusal({"--vcpu", "num=255"}), "254");
  expect_part(refusal({"--block", "read_only=on"}), "path");
  expect_part(refusal({"--block", "path=/d,queues=0"}), "queues");
  expect_part(refusal({"--block", "path=/d,queues=17"}), "queues");
  expect_part(refusal({"--block", "path=/d,id=123456789012345678901"}), "20");
  expect_part(refusal({"--kernel", "path=/p,himem_start=1"}), "4096");
  expect_part(refusal({"--firmware", "debug=-"}), "firmware path");
  expect_part(refusal({"--firmware", "path=/f", "--kernel", "path=/k"}), "firmware and kernel");
  expect_part(refusal({"--firmware", "path=/f", "--kernel", "cmdline=x"}), "firmware and kernel");
  expect_part(refusal({"--firmware", "path=/f,debug="}), "firmware debug");
  expect_part(refusal({"--hypervisor", ""}), "hypervisor");
  const auto long_path = "path=/" + std::string(5000, 'x');
  expect_part(refusal({"--block", long_path.c_str()}), "longer");
  const auto huge = "cmdline=" + std::string(70000, 'x');
  expect_part(refusal({"--kernel", huge.c_str()}), "64 KiB");
}

TEST(RunOptions, RatesOfBlockAndRng) {
  const auto options = parse({"--block", "path=/d,bytes=1000000,operations=1099511627776", "--rng", "bytes=4096"});
  ASSERT_TRUE(options) << to_string(options.error());
  EXPECT_EQ(options->config.block[0].bytes, 1000000u);
  EXPECT_EQ(options->config.block[0].operations, std::uint64_t{1} << 40);
  EXPECT_EQ(options->config.rng[0].bytes, 4096u);
  expect_part(refusal({"--block", "path=/d,bytes=1099511627777"}), "block bytes");
  expect_part(refusal({"--block", "path=/d,operations=1099511627777"}), "block operations");
  expect_part(refusal({"--block", "path=/d,operations=-1"}), "operations");
  expect_part(refusal({"--rng", "bytes=1099511627777"}), "rng bytes");
}

TEST(RunOptions, PortsOfOneConsole) {
  const auto options =
      parse({"--port", "name=org.example.agent,socket=/run/agent", "--port", "console=on,output=/log"});
  ASSERT_TRUE(options) << to_string(options.error());
  const auto& ports = options->config.port;
  ASSERT_EQ(ports.size(), 2u);
  EXPECT_EQ(ports[0].name, "org.example.agent");
  EXPECT_EQ(ports[0].socket, "/run/agent");
  EXPECT_FALSE(ports[0].console);
  EXPECT_TRUE(ports[1].console);
  EXPECT_EQ(ports[1].input, "off");
  EXPECT_EQ(ports[1].output, "/log");

  expect_part(refusal({"--port"}), "port");
  expect_part(refusal({"--port", "name=a"}), "port socket is missing");
  expect_part(refusal({"--port", "socket=/s,output=-"}), "not both");
  expect_part(refusal({"--port", "input=-"}), "standard input");
  expect_part(refusal({"--port", ("socket=/" + std::string(107, 's')).c_str()}), "107");
  expect_part(refusal({"--port", ("socket=/s,name=" + std::string(129, 'n')).c_str()}), "128");
  expect_part(refusal({"--port", "socket=/s,name=a\nb"}), "control character");
  expect_part(refusal({"--port", "socket=/s,name=a", "--port", "socket=/t,name=a"}), "'a' is given twice");
  expect_part(refusal({"--port", "socket=/s", "--port", "socket=/s"}), "/s is given twice");
  expect_part(refusal({"--port", "output=-,input=", "--serial", "input=off"}), "port input");
}

TEST(RunOptions, NetDevices) {
  const auto options = parse(
      {"--net", "tap=tap0", "--net", "fd=7,mac=52:54:00:12:34:5E,mtu=9000,offload=off,rx_bytes=1000000,tx_packets=20"});
  ASSERT_TRUE(options) << to_string(options.error());
  const auto& nets = options->config.net;
  ASSERT_EQ(nets.size(), 2u);
  EXPECT_EQ(nets[0].tap, "tap0");
  EXPECT_EQ(nets[0].queues, 1u);
  EXPECT_TRUE(nets[0].offload);
  EXPECT_EQ(nets[1].fd, 7u);
  EXPECT_EQ(nets[1].mac, "52:54:00:12:34:5E");
  EXPECT_EQ(nets[1].mtu, 9000u);
  EXPECT_FALSE(nets[1].offload);
  EXPECT_EQ(nets[1].rx_bytes, 1000000u);
  EXPECT_EQ(nets[1].tx_packets, 20u);
  EXPECT_FALSE(nets[1].rss);
  EXPECT_TRUE(parse({"--net", "tap=t,queues=2,rss=on"})->config.net[0].rss);
  EXPECT_EQ(parse({"--net", "tap=t,queues=16"})->config.net[0].queues, 16u);

  expect_part(refusal({"--net", "mtu=1500"}), "tap");
  expect_part(refusal({"--net", "tap=t,fd=7"}), "not both");
  expect_part(refusal({"--net", "fd=2"}), "net fd");
  expect_part(refusal({"--net", "fd=7,queues=2"}), "queues");
  expect_part(refusal({"--net", "tap=0123456789abcdef"}), "0123456789abcdef");
  expect_part(refusal({"--net", "tap=../t"}), "../t");
  expect_part(refusal({"--net", "tap=t,queues=0"}), "queues");
  expect_part(refusal({"--net", "tap=t,queues=17"}), "16");
  expect_part(refusal({"--net", "tap=t,mtu=67"}), "mtu");
  expect_part(refusal({"--net", "tap=t,mtu=65536"}), "mtu");
  expect_part(refusal({"--net", "tap=t,tx_bytes=1099511627777"}), "tx_bytes");
  for (const char* mac : {"52:54:00:12:34", "52:54:00:12:34:56:78", "52-54-00-12-34-56", "g2:54:00:12:34:56",
                          "52:54:00:12:34:5", "01:00:5e:00:00:01", "00:00:00:00:00:00"}) {
    expect_part(refusal({"--net", ("tap=t,mac=" + std::string(mac)).c_str()}), mac);
  }
  expect_part(refusal({"--net", "tap=t", "--net", "tap=t"}), "twice");
  expect_part(refusal({"--net", "fd=7", "--net", "fd=7"}), "twice");
  expect_part(refusal({"--net", "tap=a,mac=52:54:00:00:00:aa", "--net", "tap=b,mac=52:54:00:00:00:AA"}), "twice");
}

TEST(RunOptions, TooManyDevicesOfAKind) {
  std::vector<std::string> arguments;
  for (int i = 0; i < 17; ++i) arguments.insert(arguments.end(), {"--rng", ""});
  const auto options = parse_run_options(arguments);
  ASSERT_FALSE(options);
  expect_part(to_string(options.error()), "rng");
}

TEST(RunOptions, ARefusalNamesTheOptionAsItWasWritten) {
  expect_part(refusal({"--nosuch"}), "unrecognised option '--nosuch'");
  expect_part(refusal({"--nosuch=1"}), "'--nosuch=1'");
  expect_part(refusal({"--stats=1"}), "option '--stats' does not take any arguments");
  expect_part(refusal({"--%canonical_option%"}), "unrecognised option '--%canonical_option%'");
  expect_part(refusal({"-%canonical_option%"}), "unrecognised option '-%canonical_option%'");
}

TEST(RunOptions, HelpListsEveryOption) {
  EXPECT_TRUE(parse({"--help"})->help);
  const auto text = run_options_help();
  for (const auto& option : option_infos()) EXPECT_NE(text.find("--" + option.name), std::string::npos);
  EXPECT_NE(text.find("--block path=,read_only="), std::string::npos);
}

TEST(RunOptions, FileFirstThenOptionsOnTop) {
  const std::string_view document =
      R"({"memory": {"size_mib": 64}, "vcpu": {"num": 3}, "kernel": {"path": "/k", "cmdline": "c"},
          "block": [{"path": "/one", "read_only": true}]})";
  const test::TempFile file(std::as_bytes(std::span(document)));
  const auto options = parse({"--vcpu", "num=4", "--block", "path=/two", "--config", file.path().c_str()});
  ASSERT_TRUE(options) << to_string(options.error());
  EXPECT_EQ(options->config.memory.size_mib, 64u);
  EXPECT_EQ(options->config.vcpu.num, 4u);
  EXPECT_EQ(options->config.kernel.path, "/k");
  ASSERT_EQ(options->config.block.size(), 2u);
  EXPECT_TRUE(options->config.block[0].read_only);
  EXPECT_EQ(options->config.block[1].path, "/two");
}

TEST(RunOptions, ABadFileIsNamed) {
  expect_part(refusal({"--config", "/nowhere/none.json"}), "/nowhere/none.json");
  const std::string_view torn = R"({"memory": {"size_mib": 1)";
  const test::TempFile file(std::as_bytes(std::span(torn)));
  expect_part(refusal({"--config", file.path().c_str()}), file.path());
  expect_part(refusal({"--config", "/tmp"}), "/tmp");
}

TEST(ConfigJson, WrongThingsAreNamedByTheirPath) {
  expect_part(json_refusal(R"({"memory": {"size_mob": 1}})"), "/memory/size_mob");
  expect_part(json_refusal(R"({"memory": {"size_mib": "1"}})"), "/memory/size_mib: must be a whole number");
  expect_part(json_refusal(R"({"memory": {"size_mib": 1.5}})"), "/memory/size_mib");
  expect_part(json_refusal(R"({"memory": {"size_mib": -1}})"), "negative");
  expect_part(json_refusal(R"({"vcpu": {"num": 4294967296}})"), "/vcpu/num");
  expect_part(json_refusal(R"({"vcpu": {"num": null}})"), "/vcpu/num");
  expect_part(json_refusal(R"({"memory": 5})"), "/memory: must be an object");
  expect_part(json_refusal(R"({"block": {"path": "/d"}})"), "/block: must be a list");
  expect_part(json_refusal(R"({"block": [{"path": "/d"}, {"path": 7}]})"), "/block/1/path: must be a string");
  expect_part(json_refusal(R"({"block": [{"path": "/d", "read_only": "on"}]})"), "/block/0/read_only");
  expect_part(json_refusal(R"({"kernel": {"path": "a\u0000b"}})"), "NUL");
  expect_part(json_refusal(R"({"colour": "red"})"), "/colour");
  expect_part(json_refusal("[]"), "must be an object");
  expect_part(json_refusal(""), "not JSON");
  expect_part(json_refusal("{} {}"), "not JSON");
  expect_part(json_refusal(std::string(40, '[')), "not JSON");
  expect_part(json_refusal(std::string((1 << 20) + 1, ' ')), "1 MiB");
}

TEST(ConfigJson, ListsAreBounded) {
  std::string document = R"({"rng": [)";
  for (int i = 0; i < 65; ++i) document += i == 0 ? "{}" : ",{}";
  expect_part(json_refusal(document + "]}"), "/rng");
}

TEST(ConfigJson, SharesItsValidationWithTheCommandLine) {
  EXPECT_EQ(json_refusal(R"({"vcpu": {"num": 255}})"), refusal({"--vcpu", "num=255"}));
  EXPECT_EQ(json_refusal(R"({"net": [{"tap": "t", "mtu": 1}]})"), refusal({"--net", "tap=t,mtu=1"}));
}

TEST(ConfigOption, NamesAnOptionThatIsNone) {
  Config config;
  EXPECT_EQ(apply_option(config, "nosuch", "").error().code(), Errc::not_found);
}

}  // namespace
}  // namespace trivet::vmm
