// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <memory>
#include <string>

#include <trivet/core/backend_registry.hpp>

#include "test_backend.hpp"

namespace trivet {
namespace {

std::unique_ptr<Backend> make(const std::string& name, int priority, bool usable, const std::string& reason = "") {
  return std::make_unique<TestBackend>(name, priority, Probe{usable, reason});
}

class PluginFolder : public testing::Test {
 protected:
  PluginFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "trivet-plugins-XXXXXX").string();
    folder = ::mkdtemp(name.data());
  }
  ~PluginFolder() override { std::filesystem::remove_all(folder); }

  std::filesystem::path folder;
};

TEST(BackendRegistry, ListsByPriorityAndKeepsTheFirstOfAName) {
  BackendRegistry registry;
  ASSERT_TRUE(registry.add(make("low", 1, true)));
  ASSERT_TRUE(registry.add(make("high", 9, true)));
  const auto again = registry.add(make("low", 20, true));
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code(), Errc::already_exists);
  ASSERT_EQ(registry.backends().size(), 2U);
  EXPECT_EQ(registry.backends()[0]->name(), "high");
  EXPECT_EQ(registry.find("low")->priority(), 1);
  EXPECT_EQ(registry.find("none"), nullptr);
}

TEST(BackendRegistry, AutoTakesTheUsableOneOfHighestPriority) {
  BackendRegistry registry;
  ASSERT_TRUE(registry.add(make("best", 9, false, "/dev/best: no such device")));
  ASSERT_TRUE(registry.add(make("good", 5, true)));
  ASSERT_TRUE(registry.add(make("fair", 1, true)));
  EXPECT_EQ((*registry.select("auto"))->name(), "good");
  EXPECT_EQ((*registry.select("best"))->name(), "best")
      << "asked for by name it is taken; opening it says what is wrong";
}

TEST(BackendRegistry, SaysForEachWhyNoneIsUsable) {
  BackendRegistry registry;
  EXPECT_EQ(registry.select("auto").error().code(), Errc::not_found);
  ASSERT_TRUE(registry.add(make("a", 2, false, "no device")));
  ASSERT_TRUE(registry.add(make("b", 1, false, "no permission")));
  const auto chosen = registry.select("auto");
  ASSERT_FALSE(chosen);
  EXPECT_EQ(chosen.error().detail(), "none is usable: a: no device; b: no permission");
  EXPECT_EQ(registry.select("c").error().detail(), "there is no backend 'c'; known: auto, a, b");
}

TEST(BackendRegistry, LoadsAPlugin) {
  BackendRegistry registry;
  ASSERT_TRUE(kick_signal::install()) << "as a linked backend does; the plugin installs it too";
  ASSERT_TRUE(registry.load(TRIVET_TEST_PLUGIN));
  ASSERT_NE(registry.find("test"), nullptr);
  EXPECT_EQ(registry.find("test")->probe().reason, "loaded");
  EXPECT_EQ(registry.load(TRIVET_TEST_PLUGIN).error().code(), Errc::already_exists);
}

TEST(BackendRegistry, RefusesAPluginBuiltForAnotherVersion) {
  BackendRegistry registry;
  const auto loaded = registry.load(TRIVET_TEST_PLUGIN_OLD);
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code(), Errc::malformed);
  EXPECT_NE(loaded.error().detail().find("rebuild"), std::string_view::npos) << loaded.error().detail();
  EXPECT_EQ(registry.load("/nonexistent/libtrivet-backend-x.so").error().code(), Errc::not_found);
}

TEST_F(PluginFolder, ListsABackendThatDoesNotLoadWithTheReason) {
  std::ofstream(folder / "libtrivet-backend-torn.so") << "not an object";
  std::ofstream(folder / "libtrivet-backend-.so") << "nameless";
  std::ofstream(folder / "notes.txt") << "nothing of ours";
  std::filesystem::copy_file(TRIVET_TEST_PLUGIN, folder / "libtrivet-backend-test.so");
  BackendRegistry registry;
  registry.load_all(folder);
  ASSERT_EQ(registry.backends().size(), 2U);
  EXPECT_TRUE(registry.find("test")->probe().usable);
  const auto torn = registry.find("torn")->probe();
  EXPECT_FALSE(torn.usable);
  EXPECT_NE(torn.reason.find("libtrivet-backend-torn.so"), std::string::npos) << torn.reason;
  EXPECT_FALSE(registry.find("torn")->open());
  EXPECT_EQ((*registry.select("auto"))->name(), "test");
}

TEST_F(PluginFolder, TellsOfAFolderThatCannotBeRead) {
  const auto file = folder / "not-a-folder";
  std::ofstream(file) << "a file";
  BackendRegistry registry;
  registry.load_all(folder / "missing");
  EXPECT_EQ(registry.select("auto").error().detail().find("not seen"), std::string_view::npos);
  registry.load_all(file);
  for (const auto* name : {"auto", "xen"}) {
    const auto selected = registry.select(name);
    ASSERT_FALSE(selected);
    EXPECT_NE(selected.error().detail().find("not-a-folder are not seen: Not a directory"), std::string_view::npos)
        << selected.error().detail();
  }
}

TEST_F(PluginFolder, ALinkedInBackendStaysBeforeAPluginOfItsName) {
  std::filesystem::copy_file(TRIVET_TEST_PLUGIN, folder / "libtrivet-backend-test.so");
  BackendRegistry registry;
  ASSERT_TRUE(registry.add(make("test", 3, false, "linked in")));
  registry.load_all(folder);
  EXPECT_EQ(registry.find("test")->probe().reason, "linked in");
  registry.load_all(folder / "missing");
  EXPECT_EQ(registry.backends().size(), 1U);
}

}  // namespace
}  // namespace trivet
