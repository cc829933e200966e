#include "app/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "app/users.h"

namespace adit::app {
namespace {

namespace fs = std::filesystem;

class Sandbox : public ::testing::Test {
 protected:
  Sandbox() {
    std::string name =
        (fs::temp_directory_path() / "adit-sandbox-").string() + std::string(6, 'X');
    folder_ = ::mkdtemp(name.data());
    fs::create_directory(folder_ / "state");
    fs::create_directory(folder_ / "other");
    std::ofstream(folder_ / "other/secret") << "s";
    std::ofstream(folder_ / "state/known") << "k";
    plan_.state_dir = folder_ / "state";
    plan_.files = {{folder_ / "state", io::FileAccess::Write}};
  }
  ~Sandbox() override { fs::remove_all(folder_); }

  // Inside, in a process of its own: what `work` returns, or 1000 and the signal that ended it.
  int inside(const std::function<int(const SandboxFacts&)>& work) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work(enter_sandbox(plan_)));
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  // The errno with which it ended; 0: it did not fail.
  int refusal(const std::function<long()>& call) {
    return inside([&call](const SandboxFacts&) { return call() < 0 ? errno : 0; });
  }
  int open_error(const fs::path& path, int flags) {
    return refusal([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0600); });
  }

  fs::path folder_;
  SandboxPlan plan_;
};

TEST_F(Sandbox, SaysWhatItDid) {
  const int code = inside([](const SandboxFacts& facts) {
    return (facts.on ? 1 : 0) + (facts.capabilities == "none" ? 2 : 0) +
           (facts.no_new_privileges ? 4 : 0) + (facts.calls == "filtered" ? 8 : 0);
  });
  EXPECT_EQ(code, 15);
  plan_.on = false;
  EXPECT_EQ(inside([](const SandboxFacts& f) { return f.on || f.calls != "off" ? 1 : 0; }), 0);
  EXPECT_EQ(sandbox_text({true, "adit", "none", true, "filtered", "Landlock 7"}),
            "user adit, capabilities none, no_new_privs, system calls filtered, files Landlock 7");
}

TEST_F(Sandbox, ReachesItsOwnFilesOnly) {
  EXPECT_EQ(open_error(folder_ / "state/known", O_RDONLY), 0);
  EXPECT_EQ(open_error(folder_ / "state/new", O_WRONLY | O_CREAT), 0);
  EXPECT_EQ(refusal([&] {
              return ::rename((folder_ / "state/new").c_str(), (folder_ / "state/known").c_str());
            }), 0);
  if (io::landlock_version() == 0) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_EQ(open_error(folder_ / "other/secret", O_RDONLY), EACCES);
  EXPECT_EQ(open_error(folder_ / "other/new", O_WRONLY | O_CREAT), EACCES);
  EXPECT_EQ(open_error("/etc/passwd", O_RDONLY), EACCES);
  EXPECT_EQ(open_error("/", O_RDONLY | O_DIRECTORY), EACCES);
}

// A folder may be read in which a file is replaced; one to read may not be written.
TEST_F(Sandbox, FilesOfTheConfigurationMayBeReplaced) {
  RelayConfig config;
  config.state_dir = folder_ / "state";
  config.admin = config.state_dir + "/admin.sock";
  fs::create_symlink(folder_ / "other/secret", folder_ / "key.pem");
  config.key = folder_ / "key.pem";
  plan_ = make_sandbox_plan(config, ConfigSources{folder_ / "relay.toml", {}});
  std::ofstream(folder_ / "later") << "l";  // made after the plan, as by an editor
  EXPECT_EQ(open_error(folder_ / "later", O_RDONLY), 0);
  EXPECT_EQ(open_error(folder_ / "other/secret", O_RDONLY), 0);
  EXPECT_EQ(open_error("/proc/self/statm", O_RDONLY), 0);
  EXPECT_EQ(open_error("/etc/hosts", O_RDONLY), 0);
  if (io::landlock_version() == 0) GTEST_SKIP() << "this kernel has no Landlock";
  EXPECT_EQ(open_error(folder_ / "later", O_WRONLY), EACCES);
  EXPECT_EQ(open_error("/usr/bin/env", O_RDONLY), EACCES);
}

TEST_F(Sandbox, RefusesCalls) {
  EXPECT_EQ(refusal([] { return ::syscall(SYS_personality, 0); }), EPERM);
  EXPECT_EQ(refusal([] { return ::prctl(PR_SET_DUMPABLE, 1); }), EPERM);
  EXPECT_EQ(refusal([] { return ::socket(AF_PACKET, SOCK_RAW, 0); }), EPERM);
  EXPECT_EQ(refusal([] { return ::syscall(SYS_clone, 0, 0, 0, 0, 0); }), EPERM);
  EXPECT_EQ(refusal([] { return ::syscall(435, 0, 0); }), ENOSYS);
  const auto map = [](int protection) {
    return reinterpret_cast<long>(
        ::mmap(nullptr, 4096, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  };
  EXPECT_EQ(refusal([&] { return map(PROT_READ | PROT_EXEC); }), EPERM);
  EXPECT_EQ(refusal([&] { return map(PROT_READ | PROT_WRITE) < 0 ? -1 : 0; }), 0);
  EXPECT_EQ(refusal([] { return ::socket(AF_INET6, SOCK_DGRAM, 0); }), 0);
}

TEST_F(Sandbox, KillsWhoIsTakenOver) {
  char path[] = "/bin/true";
  char* const arguments[] = {path, nullptr};
  EXPECT_EQ(inside([&](const SandboxFacts&) { return ::execv(path, arguments); }), 1000 + SIGSYS);
  EXPECT_EQ(inside([](const SandboxFacts&) {
              return static_cast<int>(::syscall(SYS_ptrace, 0, 0, 0, 0));
            }), 1000 + SIGSYS);
  EXPECT_EQ(inside([](const SandboxFacts&) { return ::unshare(CLONE_NEWUSER); }), 1000 + SIGSYS);
}

TEST_F(Sandbox, ThreadsMayBeStarted) {
  EXPECT_EQ(inside([](const SandboxFacts&) {
              int out = 0;
              std::thread([&out] { out = ::access("/etc", F_OK) == 0 ? 3 : 4; }).join();
              return out;
            }), 3);
}

TEST_F(Sandbox, HookProgramsRunWhereTheyAreConfigured) {
  plan_.programs = {"/bin/true"};
  char path[] = "/bin/true";
  char* const arguments[] = {path, nullptr};
  EXPECT_EQ(inside([&](const SandboxFacts&) { return ::execv(path, arguments); }), 0);
  EXPECT_EQ(inside([](const SandboxFacts&) {
              return static_cast<int>(::syscall(SYS_ptrace, 0, 0, 0, 0));
            }), 1000 + SIGSYS);
}

TEST_F(Sandbox, KeepsCapabilitiesThatArePlanned) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root has capabilities to keep";
  plan_.kept_capabilities = {12};  // CAP_NET_ADMIN
  EXPECT_EQ(
      inside([](const SandboxFacts& f) { return f.capabilities == "cap_net_admin" ? 0 : 1; }), 0);
}

// --- users ---

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/bash\n"
    "broken line\n"
    "adit:x:990:980:Tunnel:/var/lib/adit:/usr/sbin/nologin\n"
    "1234:x:5:5::/:\n";
constexpr std::string_view kGroup =
    "root:x:0:\ncerts:x:70:other,adit\nadit:x:980:adit\nno:x:71:ad\n";

TEST(Users, AreFoundByNameAndNumber) {
  auto user = find_user("adit", kPasswd, kGroup);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->id, 990u);
  EXPECT_EQ(user->group, 980u);
  EXPECT_EQ(user->groups, std::vector<gid_t>{70});
  EXPECT_EQ(find_user("990", kPasswd, kGroup)->name, "adit");
  EXPECT_EQ(find_user("1234", kPasswd, kGroup)->id, 5u);
  EXPECT_EQ(find_user("nobody", kPasswd, kGroup).error().what, "there is no user \"nobody\"");
  EXPECT_EQ(find_user("", kPasswd, kGroup).error().code, ENOENT);
}

TEST_F(Sandbox, TheStateFolderBecomesTheUsers) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  const User user{"somebody", 4321, 4322, {}};
  fs::create_symlink(folder_ / "other/secret", folder_ / "state/link");
  fs::create_hard_link(folder_ / "other/secret", folder_ / "state/second");
  fs::create_directory_symlink(folder_ / "other", folder_ / "state/folder");
  fs::create_directories(folder_ / "state/a/b");
  ASSERT_TRUE(give_folder(folder_ / "state", user));
  const auto owner = [&](const char* path) {
    struct stat s {};
    EXPECT_EQ(::lstat((folder_ / path).c_str(), &s), 0);
    return s.st_uid;
  };
  EXPECT_EQ(owner("state"), 4321u);
  EXPECT_EQ(owner("state/known"), 4321u);
  EXPECT_EQ(owner("state/a/b"), 4321u);
  EXPECT_EQ(owner("other/secret"), 0u);  // neither by a link nor by its second name
  EXPECT_TRUE(give_folder(folder_ / "absent", user));
}

// Whoever owns the folder above could have put a link to any folder there.
TEST_F(Sandbox, AStateFolderThatIsALinkOfOthersIsNotGivenAway) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  const User user{"somebody", 4321, 4322, {}};
  fs::create_directory(folder_ / "home");
  fs::create_directory_symlink(folder_ / "other", folder_ / "home/adit");
  ASSERT_EQ(::lchown((folder_ / "home").c_str(), 4321, 4322), 0);
  EXPECT_FALSE(give_folder(folder_ / "home/adit", user));
  struct stat s {};
  EXPECT_EQ(::stat((folder_ / "other/secret").c_str(), &s), 0);
  EXPECT_EQ(s.st_uid, 0u);
  // Root's own link in root's own folder is what an administrator wants.
  fs::create_directory_symlink(folder_ / "state", folder_ / "by_root");
  EXPECT_TRUE(give_folder(folder_ / "by_root", user));
  EXPECT_EQ(::stat((folder_ / "state").c_str(), &s), 0);
  EXPECT_EQ(s.st_uid, 4321u);
}

TEST_F(Sandbox, BecomesAUser) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  const pid_t child = ::fork();
  if (child == 0) {
    const bool ok = static_cast<bool>(become({"somebody", 4321, 4322, {4323}}));
    ::_exit(ok && ::getuid() == 4321 && ::getegid() == 4322 && ::setuid(0) != 0 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  plan_.user = "no such user";
  EXPECT_FALSE(change_user(plan_));
}

}  // namespace
}  // namespace adit::app
