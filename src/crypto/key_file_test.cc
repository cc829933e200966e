#include "crypto/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "crypto/test_files.h"

namespace adit::crypto {
namespace {

namespace fs = std::filesystem;

unsigned mode_of(const fs::path& path) {
  struct stat about {};
  EXPECT_EQ(::stat(path.c_str(), &about), 0) << path;
  return about.st_mode & 07777;
}

TEST(KeyFile, MakesOnceThenReads) {
  const TestFolder folder;
  const fs::path path = folder / "state/agent.key";
  const mode_t before = ::umask(0);  // the mode must not be the umask's merit
  auto made = load_or_make_key(path);
  ::umask(before);
  ASSERT_TRUE(made) << made.error().what;
  EXPECT_EQ(mode_of(path), 0600u);
  EXPECT_EQ(mode_of(path.parent_path()), 0700u);
  auto again = load_or_make_key(path);
  ASSERT_TRUE(again) << again.error().what;
  EXPECT_EQ(again->id(), made->id());
  EXPECT_EQ(load_key(path)->id(), made->id());
  // Nothing but the key stays behind.
  EXPECT_EQ(std::distance(fs::directory_iterator(path.parent_path()), fs::directory_iterator{}), 1);
}

TEST(KeyFile, RefusesWhatOthersMayAccess) {
  const TestFolder folder;
  const fs::path path = folder / "agent.key";
  ASSERT_TRUE(load_or_make_key(path));
  for (unsigned mode : {0640u, 0604u, 0660u, 0610u}) {
    ASSERT_EQ(::chmod(path.c_str(), mode), 0);
    auto key = load_or_make_key(path);
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().what, path.string() +
                                    ": a private key that others may access; fix it with: chmod "
                                    "600 " + path.string());
  }
}

TEST(KeyFile, NamesTheFileThatIsNoKey) {
  const TestFolder folder;
  for (const char* text : {"", "not a key\n"}) {
    folder.write("agent.key", text);
    ASSERT_EQ(::chmod((folder / "agent.key").c_str(), 0600), 0);
    auto key = load_or_make_key(folder / "agent.key");
    ASSERT_FALSE(key);
    EXPECT_EQ(key.error().what,
              (folder / "agent.key").string() + ": no PEM block with a private key");
    EXPECT_EQ(folder.read("agent.key"), text);
  }
}

TEST(KeyFile, RefusesWhatIsNoFile) {
  const TestFolder folder;
  ASSERT_EQ(::mkdir((folder / "folder").c_str(), 0700), 0);
  ASSERT_EQ(::mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(load_or_make_key(folder / "folder").error().what,
            (folder / "folder").string() + ": not a regular file");
  EXPECT_EQ(load_or_make_key(folder / "fifo").error().what,
            (folder / "fifo").string() + ": not a regular file");
  EXPECT_EQ(load_key(folder / "absent").error().code, ENOENT);
  // Only the last part of the folder is made.
  EXPECT_EQ(load_or_make_key(folder / "a/b/agent.key").error().code, ENOENT);
}

TEST(KeyFile, ReadsBoundedFiles) {
  const TestFolder folder;
  folder.write("file", std::string(1000, 'x'));
  EXPECT_EQ(read_file(folder / "file", 1000)->size(), 1000u);
  EXPECT_EQ(read_file(folder / "file", 999).error().code, EFBIG);
}

}  // namespace
}  // namespace adit::crypto
