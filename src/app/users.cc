#include "app/users.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

namespace adit::app {

namespace {

constexpr std::size_t kFileBytesMax = std::size_t{4} << 20;
constexpr std::size_t kEntriesMax = 10'000;  // of a state folder; one has a dozen
constexpr int kDepthMax = 4;
constexpr int kPathPartsMax = 100;  // with those of links

std::string text_of(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::string text(kFileBytesMax, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

// "a:b:c" of each line, in order, until `each` says true.
template <class Each>
void for_lines(std::string_view text, const Each& each) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    std::vector<std::string_view> fields;
    for (std::string_view rest = line;;) {
      fields.push_back(rest.substr(0, rest.find(':')));
      if (fields.back().size() == rest.size()) break;
      rest.remove_prefix(fields.back().size() + 1);
    }
    if (each(fields)) return;
  }
}

std::optional<unsigned> number(std::string_view text) {
  unsigned out = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) return std::nullopt;
  return out;
}

bool is_member(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const std::string_view one = list.substr(0, list.find(','));
    if (one == name) return true;
    list.remove_prefix(std::min(list.size(), one.size() + 1));
  }
  return false;
}

struct Descriptor {
  explicit Descriptor(int fd) : raw(fd) {}
  Descriptor(Descriptor&& o) noexcept : raw(std::exchange(o.raw, -1)) {}
  Descriptor& operator=(Descriptor&& o) noexcept {
    std::swap(raw, o.raw);
    return *this;
  }
  ~Descriptor() {
    if (raw >= 0) ::close(raw);
  }
  int raw;
};

// A folder by an absolute path, as root: links on the way are followed where only root can have
// made them. Whoever may write in a folder above could lead us to another place.
Result<Descriptor> open_folder(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  std::vector<fs::path> left;  // the next one last
  const auto put = [&left](const fs::path& more) {
    const std::vector<fs::path> parts(more.begin(), more.end());
    left.insert(left.end(), parts.rbegin(), parts.rend());
  };
  put(fs::absolute(path, error));
  Descriptor at(::open("/", O_PATH | O_CLOEXEC));
  for (int steps = 0; !left.empty(); ++steps) {
    if (steps == kPathPartsMax) return Error{ELOOP, "too many folders and links"};
    const std::string part = left.back().string();
    left.pop_back();
    if (part == "/") {
      at = Descriptor(::open("/", O_PATH | O_CLOEXEC));
      continue;
    }
    if (part.empty() || part == ".") continue;
    struct stat above {}, s {};
    if (::fstat(at.raw, &above) != 0 ||
        ::fstatat(at.raw, part.c_str(), &s, AT_SYMLINK_NOFOLLOW) != 0)
      return errno_error(errno, "stat");
    if (S_ISLNK(s.st_mode)) {
      const bool others = (above.st_mode & (S_IWGRP | S_IWOTH)) != 0;
      if (s.st_uid != 0 || above.st_uid != 0 || others)
        return Error{EPERM, part + " is a link that others than root may change"};
      char to[PATH_MAX];
      const ssize_t n = ::readlinkat(at.raw, part.c_str(), to, sizeof to);
      if (n < 0) return errno_error(errno, "readlink");
      put(fs::path(std::string(to, static_cast<std::size_t>(n))));
      continue;
    }
    Descriptor next(::openat(at.raw, part.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (next.raw < 0) return errno_error(errno, "open");
    at = std::move(next);
  }
  Descriptor out(::openat(at.raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (out.raw < 0) return errno_error(errno, "open");
  return out;
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

// What is handed over step by step by descriptors, never by a path: who owns a folder already might
// put a link into its place meanwhile.
struct HandOver {
  const User& user;
  std::size_t entries = 0;

  // The folder itself and what is in it; takes the descriptor.
  Status folder(int fd, int depth) {
    const std::unique_ptr<DIR, CloseFolder> open(::fdopendir(fd));
    if (open == nullptr) {
      const int error = errno;
      ::close(fd);
      return errno_error(error, "fdopendir");
    }
    struct stat s {};
    if (::fstat(fd, &s) != 0) return errno_error(errno, "fstat");
    if (s.st_uid == 0 && ::fchown(fd, user.id, user.group) != 0) return errno_error(errno, "chown");
    while (const dirent* each = ::readdir(open.get())) {
      const std::string_view name = each->d_name;
      if (name == "." || name == "..") continue;
      if (++entries > kEntriesMax) return Error{E2BIG, "too many files to hand over"};
      if (auto ok = entry(fd, each->d_name, depth); !ok) return std::move(ok).with(each->d_name);
    }
    return {};
  }

  // A link is never followed.
  Status entry(int in, const char* name, int depth) {
    struct stat s {};
    if (::fstatat(in, name, &s, AT_SYMLINK_NOFOLLOW) != 0) return {};
    if (S_ISDIR(s.st_mode)) {
      if (depth >= kDepthMax) return {};
      const int fd = ::openat(in, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      return fd < 0 ? Status{} : folder(fd, depth + 1);  // it has just gone
    }
    const Descriptor file(::openat(in, name, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    if (file.raw < 0 || ::fstat(file.raw, &s) != 0) return {};
    const bool single = (S_ISREG(s.st_mode) || S_ISSOCK(s.st_mode)) && s.st_nlink == 1;
    if (s.st_uid != 0 || !single) return {};
    if (::fchownat(file.raw, "", user.id, user.group, AT_EMPTY_PATH) == 0) return {};
    return errno_error(errno, "chown");
  }
};

}  // namespace

Result<User> find_user(std::string_view name, std::string_view passwd, std::string_view group) {
  User out;
  const auto wanted = number(name);
  bool found = false;
  for_lines(passwd, [&](const std::vector<std::string_view>& f) {
    if (f.size() < 4) return false;
    const auto id = number(f[2]), of = number(f[3]);
    if (!id || !of || (f[0] != name && (!wanted || *id != *wanted))) return false;
    out = {std::string(f[0]), *id, *of, {}};
    return found = true;
  });
  if (!found) return Error{ENOENT, "there is no user \"" + std::string(name) + "\""};
  for_lines(group, [&](const std::vector<std::string_view>& f) {
    if (f.size() < 4 || !is_member(f[3], out.name)) return false;
    if (const auto id = number(f[2]); id && *id != out.group) out.groups.push_back(*id);
    return false;
  });
  return out;
}

Result<User> find_user(std::string_view name) {
  return find_user(name, text_of("/etc/passwd"), text_of("/etc/group"));
}

std::string user_name(uid_t id) {
  auto user = find_user(std::to_string(id));
  return user ? user->name : std::to_string(id);
}

Status give_folder(const std::string& path, const User& user) {
  if (path.empty()) return {};
  auto folder = open_folder(path);
  if (!folder && (folder.error().code == ENOENT || folder.error().code == ENOTDIR)) return {};
  if (!folder) return std::move(folder).error().with(path);
  const int fd = ::dup(folder->raw);
  if (fd < 0) return errno_error(errno, "dup");
  if (auto ok = HandOver{user}.folder(fd, 0); !ok) return std::move(ok).with(path);
  return {};
}

Status become(const User& user) {
  std::vector<gid_t> groups = user.groups;
  groups.push_back(user.group);
  if (::setgroups(groups.size(), groups.data()) != 0) return errno_error(errno, "setgroups");
  if (::setresgid(user.group, user.group, user.group) != 0) return errno_error(errno, "setresgid");
  if (::setresuid(user.id, user.id, user.id) != 0) return errno_error(errno, "setresuid");
  return {};
}

}  // namespace adit::app
