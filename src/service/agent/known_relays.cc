#include "service/agent/known_relays.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "base/bytes.h"
#include "crypto/key_file.h"

namespace adit::service {

namespace {

constexpr std::size_t kFileBytesMax = std::size_t{1} << 20;

Error file_error(int code, const std::string& path) { return errno_error(code, path); }

// Writes, syncs and renames; on any failure the temporary file is gone and the old one whole.
Status write_atomically(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".new";
  std::FILE* file = std::fopen(temporary.c_str(), "we");
  if (file == nullptr) return file_error(errno, temporary);
  static_cast<void>(::fchmod(::fileno(file), 0600));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
                       std::fflush(file) == 0 && ::fsync(::fileno(file)) == 0;
  const int code = errno;
  const bool closed = std::fclose(file) == 0;
  if (written && closed && std::rename(temporary.c_str(), path.c_str()) == 0) return {};
  const int reason = written ? errno : code;
  static_cast<void>(::unlink(temporary.c_str()));
  return file_error(reason, path);
}

}  // namespace

KnownRelays KnownRelays::parse(std::string_view text) {
  KnownRelays out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text = end == text.npos ? std::string_view() : text.substr(end + 1);
    const std::size_t blank = line.find(' ');
    const bool comment = line.empty() || line.starts_with('#');
    if (!comment && blank != line.npos) {
      const std::string_view what = line.substr(blank + 1);
      if (what == kWebPki || what.starts_with("sha256/")) {
        out.entries_[std::string(line.substr(0, blank))] = what;
        continue;
      }
    }
    if (!line.empty()) out.other_lines_ += std::string(line) + "\n";
  }
  return out;
}

std::string KnownRelays::text() const {
  std::string out = other_lines_;
  for (const auto& [relay, what] : entries_) out += relay + " " + what + "\n";
  return out;
}

std::optional<std::string> KnownRelays::find(std::string_view relay) const {
  const auto found = entries_.find(relay);
  if (found == entries_.end()) return std::nullopt;
  return found->second;
}

void KnownRelays::remember(std::string_view relay, std::string_view what) {
  entries_[std::string(relay)] = what;
}

Result<KnownRelays> KnownRelaysFile::read() const {
  auto text = crypto::read_file(path_, kFileBytesMax);
  if (text) return KnownRelays::parse(*text);
  if (text.error().code == ENOENT) return KnownRelays();
  return std::move(text).error();
}

Status KnownRelaysFile::remember(std::string_view relay, std::string_view what) const {
  auto known = read();
  if (!known) return std::move(known).error();
  known->remember(relay, what);
  return write_atomically(path_, known->text());
}

}  // namespace adit::service
