#include "app/allow.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

namespace adit::app {

namespace {

constexpr std::size_t kFileBytesMax = std::size_t{64} << 20;

// The line of the agent, with its end, as a part of `text`.
struct LineOf {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string comment;  // " # ..." behind the grant
  route::AgentGrant grant;
};

Status check_text(std::string_view text) {
  const auto parsed = route::parse_authorized_agents(text);
  if (parsed.errors.empty()) return {};
  return Error{0, parsed.errors.front().text() + " (mend this line first)"};
}

std::optional<LineOf> find_line(std::string_view text, std::string_view id) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t newline = text.find('\n', begin);
    const std::size_t end = newline == text.npos ? text.size() : newline + 1;
    const std::string_view line = text.substr(begin, end - begin);
    const auto parsed = route::parse_authorized_agents(line);
    if (!parsed.agents.empty() && parsed.agents.front().id == id) {
      LineOf out{begin, end, {}, parsed.agents.front()};
      const std::size_t hash = line.find('#');
      if (hash != line.npos)
        out.comment = " " + std::string(line.substr(hash, line.find_first_of("\r\n") - hash));
      return out;
    }
    begin = end;
  }
  return std::nullopt;
}

template <class T>
void add_missing(std::vector<T>& to, const std::vector<T>& from) {
  for (const T& value : from)
    if (std::find(to.begin(), to.end(), value) == to.end()) to.push_back(value);
}

}  // namespace

Result<std::string> with_agent(std::string_view text, const route::AgentGrant& grant) {
  if (auto status = check_text(text); !status) return std::move(status).error();
  const auto line = find_line(text, grant.id);
  if (!line) {
    std::string out(text);
    if (!out.empty() && !out.ends_with('\n')) out += '\n';
    return out + route::format(grant) + "\n";
  }
  route::AgentGrant merged = line->grant;
  add_missing(merged.names, grant.names);
  add_missing(merged.ports, grant.ports);
  if (grant.rate) merged.rate = grant.rate;
  if (grant.streams_max) merged.streams_max = grant.streams_max;
  if (grant.flows_max) merged.flows_max = grant.flows_max;
  if (merged == line->grant) return std::string(text);
  std::string out(text.substr(0, line->begin));
  out += route::format(merged) + line->comment + "\n";
  out += text.substr(line->end);
  if (auto status = check_text(out); !status) return Error{0, "the agent would have too much"};
  return out;
}

Result<std::string> without_agent(std::string_view text, std::string_view id) {
  if (auto status = check_text(text); !status) return std::move(status).error();
  const auto line = find_line(text, id);
  if (!line) return std::string(text);
  return std::string(text.substr(0, line->begin)) + std::string(text.substr(line->end));
}

namespace {

namespace fs = std::filesystem;

// A descriptor for the length of an edit.
class Descriptor {
 public:
  explicit Descriptor(int raw) : raw_(raw) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (raw_ >= 0) ::close(raw_);
  }
  int raw() const { return raw_; }
  explicit operator bool() const { return raw_ >= 0; }

 private:
  int raw_;
};

struct OldFile {
  bool exists = false;
  std::string text;
  mode_t mode = 0644;
  uid_t owner = static_cast<uid_t>(-1);  // chown's "as it is"
  gid_t group = static_cast<gid_t>(-1);
};

Result<OldFile> read_old(const std::string& path) {
  OldFile out;
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    if (errno == ENOENT) return out;
    return errno_error(errno, "open").with(path);
  }
  struct stat status{};
  if (::fstat(file.raw(), &status) != 0) return errno_error(errno, "stat").with(path);
  if (!S_ISREG(status.st_mode)) return Error{0, path + ": not a regular file"};
  out.exists = true;
  out.mode = status.st_mode & 07777;
  out.owner = status.st_uid;
  out.group = status.st_gid;
  char buffer[16 * 1024];
  while (out.text.size() <= kFileBytesMax) {
    const ssize_t n = ::read(file.raw(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "read").with(path);
    if (n == 0) return out;
    out.text.append(buffer, static_cast<std::size_t>(n));
  }
  return Error{0, path + ": too large"};
}

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "write");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(fd) != 0) return errno_error(errno, "fsync");
  return {};
}

Status replace(const Descriptor& folder, const std::string& path, const OldFile& old,
               std::string_view text) {
  std::string temporary = path + "." + std::string(6, 'X');  // mkostemp(3) fills them in
  const Descriptor file(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!file) return errno_error(errno, "create").with(temporary);
  Status status = write_all(file.raw(), text);
  // Edited by root, it stays readable for the relay's own user. Before the mode, which chown cuts.
  if (status && ::geteuid() == 0 && ::fchown(file.raw(), old.owner, old.group) != 0)
    status = errno_error(errno, "chown");
  if (status && ::fchmod(file.raw(), old.mode) != 0) status = errno_error(errno, "chmod");
  if (status && ::rename(temporary.c_str(), path.c_str()) != 0)
    status = errno_error(errno, "rename");
  if (!status) {
    ::unlink(temporary.c_str());
    return std::move(status).with(path);
  }
  // The new name must outlive a power cut as well as the bytes do.
  if (::fsync(folder.raw()) != 0) return errno_error(errno, "fsync of the folder").with(path);
  return {};
}

// Behind a symbolic link the file it leads to is edited, and the link stays.
std::string real_path(const std::string& file) {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(file, error);
  return error ? file : real.string();
}

template <class Change>
Result<Edit> edit(const std::string& file, bool make_folder, const Change& change) {
  const std::string path = real_path(file);
  const fs::path folder_path = fs::path(path).parent_path();
  std::error_code error;
  if (make_folder && fs::create_directories(folder_path, error)) {
    // The state directory will hold keys.
    fs::permissions(folder_path, fs::perms::owner_all, error);
  }
  if (error) return errno_error(error.value(), folder_path.string());
  const Descriptor folder(
      ::open(folder_path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return errno_error(errno, folder_path.string());
  if (::flock(folder.raw(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Error{EWOULDBLOCK, path + ": being edited; try again"};
    return errno_error(errno, "lock").with(folder_path.string());
  }
  auto old = read_old(path);
  if (!old) return std::move(old).error();
  Result<std::string> text = change(old->text);
  if (!text) return std::move(text).error().with(path);
  if (*text == old->text) return Edit::Unchanged;
  if (auto status = replace(folder, path, *old, *text); !status) return std::move(status).error();
  return Edit::Changed;
}

}  // namespace

Result<Edit> allow_agent(const std::string& file, const route::AgentGrant& grant) {
  return edit(file, true, [&](std::string_view text) { return with_agent(text, grant); });
}

Result<Edit> deny_agent(const std::string& file, std::string_view id) {
  return edit(file, false, [&](std::string_view text) { return without_agent(text, id); });
}

}  // namespace adit::app
