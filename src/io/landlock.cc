#include "io/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "io/fd.h"

namespace adit::io {

namespace {

// landlock_ruleset_attr as of version 6; a kernel takes as many of its bytes as it knows.
struct Ruleset {
  std::uint64_t files = 0;
  std::uint64_t network = 0;  // since 4
  std::uint64_t scoped = 0;   // since 6
};
constexpr std::uint64_t kTruncate = 1ULL << 14;      // since 3
constexpr std::uint64_t kDeviceControl = 1ULL << 15;  // since 5
// Neither signals to, nor abstract sockets of, programs outside.
constexpr std::uint64_t kScopes = 0b11;  // since 6

constexpr std::uint64_t kFileRights = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                      LANDLOCK_ACCESS_FS_READ_FILE | kTruncate | kDeviceControl;

std::uint64_t handled(int version) {
  std::uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;  // version 1
  if (version >= 2) all |= LANDLOCK_ACCESS_FS_REFER;
  if (version >= 3) all |= kTruncate;
  if (version >= 5) all |= kDeviceControl;
  return all;
}

std::uint64_t rights(FileAccess access) {
  constexpr std::uint64_t kList = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  switch (access) {
    case FileAccess::Read: return LANDLOCK_ACCESS_FS_READ_FILE;
    case FileAccess::List: return kList;
    case FileAccess::Write:
      return kList | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
             LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
             LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
             LANDLOCK_ACCESS_FS_REFER | kTruncate;
    case FileAccess::Remove: return LANDLOCK_ACCESS_FS_REMOVE_FILE;
    case FileAccess::Execute: return kList | LANDLOCK_ACCESS_FS_EXECUTE;
  }
  return 0;
}

Status add(const Fd& ruleset, const FileRule& rule, std::uint64_t known) {
  const Fd path(::open(rule.path.c_str(), O_PATH | O_CLOEXEC));
  if (!path) return {};  // not there, or not for us: nothing to allow
  struct stat s {};
  if (::fstat(path.get(), &s) != 0) return errno_error(errno, "stat").with(rule.path);
  landlock_path_beneath_attr beneath{};
  beneath.allowed_access = rights(rule.access) & known;
  // The kernel refuses rights of folders for what is none.
  if (!S_ISDIR(s.st_mode)) beneath.allowed_access &= kFileRights;
  beneath.parent_fd = path.get();
  if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) != 0)
    return errno_error(errno, "landlock_add_rule").with(rule.path);
  return {};
}

}  // namespace

int landlock_version() {
  const long version = ::syscall(SYS_landlock_create_ruleset, nullptr, 0,
                                 LANDLOCK_CREATE_RULESET_VERSION);
  return version < 0 ? 0 : static_cast<int>(version);
}

Status restrict_files(const std::vector<FileRule>& rules) {
  const int version = landlock_version();
  if (version == 0) return Error{ENOSYS, "this kernel has no Landlock"};
  Ruleset wanted{handled(version), 0, version >= 6 ? kScopes : 0};
  const std::size_t known_bytes = version >= 6 ? sizeof wanted : sizeof wanted.files;
  const Fd ruleset(
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &wanted, known_bytes, 0)));
  if (!ruleset) return errno_error(errno, "landlock_create_ruleset");
  for (const FileRule& rule : rules)
    if (auto ok = add(ruleset, rule, wanted.files); !ok) return ok;
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0)
    return errno_error(errno, "landlock_restrict_self");
  return {};
}

}  // namespace adit::io
