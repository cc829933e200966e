#include "app/allow.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "app/command_line.h"

namespace adit::app {
namespace {

namespace fs = std::filesystem;

const std::string kAlice = "aaaaaaaaaaaaaaaaaaaaaaaaa2";
const std::string kBob = "bbbbbbbbbbbbbbbbbbbbbbbbb3";

TEST(Allow, AddsAndMergesAsATable) {
  const struct {
    const char* what;
    std::string before;
    route::AgentGrant grant;
    std::string after;
  } rows[] = {
      {"into nothing", "", {kAlice, {}, {}, {}, {}}, kAlice + "\n"},
      {"behind a line without an end", "# x", {kAlice, {"a.test"}, {}, {}, {}},
       "# x\n" + kAlice + " names=a.test\n"},
      {"what is there", "# x\n" + kAlice + "   names=a.test  # y\n",
       {kAlice, {"a.test"}, {}, {}, {}}, "# x\n" + kAlice + "   names=a.test  # y\n"},
      {"on top", kAlice + "  names=a.test rate=1K # y\r\n" + kBob,
       {kAlice, {"b.test", "a.test"}, {{1, 2}}, 5, 2000},
       kAlice + " names=a.test,b.test ports=1-2 rate=2000 streams=5 # y\n" + kBob},
  };
  for (const auto& row : rows) {
    const auto after = with_agent(row.before, row.grant);
    ASSERT_TRUE(after) << row.what;
    EXPECT_EQ(*after, row.after) << row.what;
    EXPECT_EQ(*with_agent(*after, row.grant), *after) << row.what << ", again";
  }
}

TEST(Allow, DenyTakesTheLineOnly) {
  const std::string text = "# x\n" + kAlice + " names=a # y\n\n" + kBob + "\n";
  EXPECT_EQ(*without_agent(text, kAlice), "# x\n\n" + kBob + "\n");
  EXPECT_EQ(*without_agent(text, "ccccccccccccccccccccccccc4"), text);
  EXPECT_EQ(*without_agent(kAlice, kAlice), "");
}

TEST(Allow, FaultsInTheFileAreForItsOwner) {
  const std::string text = kBob + "\n" + kAlice + " colour=red\n";
  EXPECT_EQ(with_agent(text, {kBob, {}, {}, {}, {}}).error().what,
            "2:28: unknown key \"colour\"; there are names, ports, rate, streams, flows, from, not "
            "(mend "
            "this line first)");
  EXPECT_FALSE(without_agent(text, kBob));
}

class AllowFile : public testing::Test {
 protected:
  AllowFile() {
    std::string pattern = testing::TempDir() + "adit_allow_" + std::string(6, 'X');
    folder_ = ::mkdtemp(pattern.data());
  }
  ~AllowFile() override { fs::remove_all(folder_); }

  static std::string text_of(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static mode_t mode_of(const std::string& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 07777;
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  std::string folder_;
};

TEST_F(AllowFile, IsMadeAndEdited) {
  const std::string folder = folder_ + "/state";
  const std::string path = folder + "/authorized_agents";
  EXPECT_EQ(*allow_agent(path, {kAlice, {}, {}, {}, {}}), Edit::Changed);
  EXPECT_EQ(mode_of(folder), 0700u);
  EXPECT_EQ(mode_of(path), 0644u);
  EXPECT_EQ(*allow_agent(path, {kAlice, {}, {}, {}, {}}), Edit::Unchanged);
  EXPECT_EQ(*allow_agent(path, {kBob, {"b.test"}, {}, {}, {}}), Edit::Changed);
  EXPECT_EQ(text_of(path), kAlice + "\n" + kBob + " names=b.test\n");
  EXPECT_EQ(*deny_agent(path, kAlice), Edit::Changed);
  EXPECT_EQ(*deny_agent(path, kAlice), Edit::Unchanged);
  EXPECT_EQ(text_of(path), kBob + " names=b.test\n");
}

TEST_F(AllowFile, KeepsModeAndLink) {
  const std::string path = folder_ + "/real";
  std::ofstream(path) << "# mine\n";
  ::chmod(path.c_str(), 0600);
  fs::create_symlink("real", folder_ + "/link");
  EXPECT_EQ(*allow_agent(folder_ + "/link", {kAlice, {}, {}, {}, {}}), Edit::Changed);
  EXPECT_TRUE(fs::is_symlink(folder_ + "/link"));
  EXPECT_EQ(text_of(path), "# mine\n" + kAlice + "\n");
  EXPECT_EQ(mode_of(path), 0600u);
  EXPECT_EQ(files(), 2u);  // and no temporary one
}

TEST_F(AllowFile, RefusesASecondEditor) {
  const std::string path = folder_ + "/authorized_agents";
  const int other = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(other, 0);
  ASSERT_EQ(::flock(other, LOCK_EX | LOCK_NB), 0);
  const auto edit = allow_agent(path, {kAlice, {}, {}, {}, {}});
  ASSERT_FALSE(edit);
  EXPECT_EQ(edit.error().what, path + ": being edited; try again");
  ::close(other);
  EXPECT_TRUE(allow_agent(path, {kAlice, {}, {}, {}, {}}));
}

TEST_F(AllowFile, SaysWhatCannotBeDone) {
  EXPECT_FALSE(deny_agent(folder_ + "/none/authorized_agents", kAlice));
  EXPECT_FALSE(fs::exists(folder_ + "/none"));
  EXPECT_FALSE(allow_agent(folder_, {kAlice, {}, {}, {}, {}}));
  EXPECT_FALSE(allow_agent("/proc/authorized_agents", {kAlice, {}, {}, {}, {}}));

  const std::string path = folder_ + "/authorized_agents";
  std::ofstream(path) << "bad\n";
  const Answer answer = run(AllowCommand{{kAlice, {}, {}, {}, {}}, path});
  EXPECT_EQ(answer.exit_code, exit_code::kConfiguration);
  EXPECT_TRUE(answer.err.starts_with("adit: " + path + ": 1:1: \"bad\" is not an agent's id"))
      << answer.err;
  EXPECT_EQ(text_of(path), "bad\n");
}

TEST_F(AllowFile, CommandsSayWhatTheyDid) {
  const std::string path = folder_ + "/authorized_agents";
  const AllowCommand allow{{kAlice, {}, {}, {}, {}}, path};
  EXPECT_EQ(run(allow).err, kAlice + " is allowed now (" + path + ")\n");
  EXPECT_EQ(run(allow).err, kAlice + " was allowed already (" + path + ")\n");
  EXPECT_EQ(run(DenyCommand{kAlice, path}).err, kAlice + " is no longer allowed (" + path + ")\n");
  EXPECT_EQ(run(DenyCommand{kAlice, path}).err, kAlice + " was not allowed (" + path + ")\n");
}

}  // namespace
}  // namespace adit::app
