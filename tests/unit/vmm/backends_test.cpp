// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include <trivet/vmm/backends.hpp>

namespace trivet::vmm {
namespace {

class UnusableBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "unusable"; }
  [[nodiscard]] int priority() const noexcept override { return 1; }
  [[nodiscard]] Probe probe() const override { return {false, "no \"device\" here; make one"}; }
  Result<std::unique_ptr<Hypervisor>> open() const override { return Error::unsupported("open", "nothing"); }
};

/// Its probe is more hopeful than its open.
class FailingBackend final : public Backend {
 public:
  [[nodiscard]] std::string_view name() const noexcept override { return "failing"; }
  [[nodiscard]] int priority() const noexcept override { return 2; }
  [[nodiscard]] Probe probe() const override { return {true, "looks good"}; }
  Result<std::unique_ptr<Hypervisor>> open() const override { return Error::unsupported("open", "the thing"); }
};

TEST(Backends, JsonHasEachWithItsReason) {
  BackendRegistry registry;
  ASSERT_TRUE(registry.add(std::make_unique<UnusableBackend>()));
  ASSERT_TRUE(registry.add(std::make_unique<FailingBackend>()));
  const auto document = boost::json::parse(backends_json(registry));
  const auto& list = document.at("backends").as_array();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].at("name").as_string(), "failing");
  EXPECT_FALSE(list[0].at("usable").as_bool());
  EXPECT_NE(list[0].at("reason").as_string().find("the thing"), boost::json::string::npos);
  EXPECT_EQ(list[1].at("reason").as_string(), "no \"device\" here; make one");
  EXPECT_FALSE(list[1].as_object().contains("capabilities"));
}

TEST(Backends, TableSaysWhyNot) {
  BackendRegistry registry;
  EXPECT_EQ(backends_table(registry), "no backend is built in or found\n");
  ASSERT_TRUE(registry.add(std::make_unique<UnusableBackend>()));
  EXPECT_EQ(backends_table(registry), "unusable  not usable: no \"device\" here; make one\n");
}

TEST(Backends, WhatIsLinkedInIsListedWithAllItCan) {
  const auto registry = find_backends();
  const auto document = boost::json::parse(backends_json(registry));
  for (const auto& entry : document.at("backends").as_array()) {
    EXPECT_FALSE(entry.at("reason").as_string().empty());
    if (!entry.at("usable").as_bool()) continue;
    EXPECT_EQ(entry.at("capabilities").as_object().size(), all_caps().size());
    EXPECT_EQ(entry.at("limits").as_object().size(), all_limits().size());
  }
}

TEST(Backends, APluginThatDoesNotLoadIsListedWithTheReason) {
  auto folder = (std::filesystem::temp_directory_path() / "trivet-backends-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  std::ofstream(folder + "/libtrivet-backend-broken.so") << "not an object";
  ::setenv("TRIVET_BACKEND_PATH", (":/nowhere:" + folder + ":").c_str(), 1);
  const auto registry = find_backends();
  ::unsetenv("TRIVET_BACKEND_PATH");
  std::filesystem::remove_all(folder);
  const auto* broken = registry.find("broken");
  ASSERT_NE(broken, nullptr);
  EXPECT_FALSE(broken->probe().usable);
  EXPECT_NE(broken->probe().reason.find("libtrivet-backend-broken.so"), std::string::npos);
}

}  // namespace
}  // namespace trivet::vmm
