#include "app/users.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>

namespace adit::app {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileBytesMax = std::size_t{4} << 20;
constexpr std::size_t kEntriesMax = 10'000;  // of a state folder; one has a dozen
constexpr int kDepthMax = 4;

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

// A link is never followed.
Status give_entry(int folder, const char* name, const User& user) {
  struct stat s {};
  if (::fstatat(folder, name, &s, AT_SYMLINK_NOFOLLOW) != 0) return {};
  if (s.st_uid != 0 || s.st_nlink == 0) return {};
  const bool single = (S_ISREG(s.st_mode) || S_ISSOCK(s.st_mode)) && s.st_nlink == 1;
  if (!S_ISDIR(s.st_mode) && !single) return {};
  if (::fchownat(folder, name, user.id, user.group, AT_SYMLINK_NOFOLLOW) == 0) return {};
  return errno_error(errno, "chown").with(name);
}

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
  std::error_code error;
  if (path.empty() || !fs::is_directory(path, error)) return {};
  if (auto ok = give_entry(AT_FDCWD, path.c_str(), user); !ok) return ok;
  std::size_t entries = 0;
  fs::recursive_directory_iterator at(path, error);
  for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
    if (++entries > kEntriesMax) return Error{E2BIG, path + ": too many files to hand over"};
    if (at.depth() >= kDepthMax) at.disable_recursion_pending();
    if (auto ok = give_entry(AT_FDCWD, at->path().c_str(), user); !ok) return ok;
  }
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
