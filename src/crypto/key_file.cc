#include "crypto/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "crypto/digest.h"
#include "crypto/random.h"

namespace adit::crypto {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kKeyFileBytesMax = 64 * 1024;

// Files of start-up and reload only, so not the loop's Socket.
class File {
 public:
  explicit File(int raw) : raw_(raw) {}
  File(File&& o) noexcept : raw_(std::exchange(o.raw_, -1)) {}
  File& operator=(File&&) = delete;
  ~File() {
    if (raw_ >= 0) ::close(raw_);
  }
  int raw() const { return raw_; }

 private:
  int raw_;
};

Error system_error(const fs::path& path, std::string_view call) {
  const int code = errno;
  return errno_error(code, call).with(path.string());
}

Result<File> open_file(const fs::path& path, int flags, mode_t mode = 0) {
  const int raw = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (raw < 0) return system_error(path, "open");
  return File(raw);
}

Result<std::string> read_all(const File& file, const fs::path& path, std::size_t bytes_max) {
  std::string out;
  std::array<char, 16 * 1024> buffer;
  for (;;) {
    const ssize_t n = ::read(file.raw(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(path, "read");
    if (n == 0) return out;
    if (out.size() + static_cast<std::size_t>(n) > bytes_max) {
      return Error{EFBIG, path.string() + ": larger than " + std::to_string(bytes_max) + " bytes"};
    }
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

Status write_all(const File& file, const fs::path& path, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(file.raw(), text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return system_error(path, "write");
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::fsync(file.raw()) != 0) return system_error(path, "fsync");
  return {};
}

Status check_mode(const File& file, const fs::path& path) {
  struct stat about;
  if (::fstat(file.raw(), &about) != 0) return system_error(path, "stat");
  if (!S_ISREG(about.st_mode)) return Error{EINVAL, path.string() + ": not a regular file"};
  if ((about.st_mode & 077) != 0) {
    return Error{EPERM, path.string() + ": a private key that others may access; fix it with: " +
                            "chmod 600 " + path.string()};
  }
  return {};
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

Status make_folder(const fs::path& folder) {
  if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return system_error(folder, "mkdir");
}

Status sync_folder(const fs::path& folder) {
  auto opened = open_file(folder, O_RDONLY | O_DIRECTORY);
  if (!opened) return std::move(opened).error();
  if (::fsync(opened->raw()) != 0) return system_error(folder, "fsync");
  return {};
}

// True where `path` is new; false where somebody else's file got there first.
Result<bool> publish(const fs::path& path, std::string_view text) {
  std::array<std::uint8_t, 8> suffix;
  random_bytes(suffix);
  const fs::path temporary = path.string() + "." + hex_encode(suffix) + ".tmp";
  // O_EXCL: never somebody's symbolic link. The mode does not depend on the umask being lax.
  auto file = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!file) return std::move(file).error();
  Status written = write_all(*file, temporary, text);
  bool ours = false;
  if (written) {
    // A rename that does not replace: of two processes at first start the later one must yield.
    ours = ::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0;
    // File systems without that flag (EINVAL) have hard links, which do not replace either.
    if (!ours && errno == EINVAL) ours = ::link(temporary.c_str(), path.c_str()) == 0;
    if (!ours && errno != EEXIST) written = system_error(path, "rename");
  }
  ::unlink(temporary.c_str());  // gone already after a rename
  if (!written) return std::move(written).error();
  return ours;
}

}  // namespace

Result<std::string> read_file(const fs::path& path, std::size_t bytes_max) {
  auto file = open_file(path, O_RDONLY);
  if (!file) return std::move(file).error();
  return read_all(*file, path, bytes_max);
}

Status replace_file(const fs::path& path, std::string_view text) {
  const fs::path folder = folder_of(path);
  if (Status made = make_folder(folder); !made) return made;
  std::array<std::uint8_t, 8> suffix;
  random_bytes(suffix);
  const fs::path temporary = path.string() + "." + hex_encode(suffix) + ".tmp";
  auto file = open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
  if (!file) return std::move(file).error();
  Status done = write_all(*file, temporary, text);
  if (done && ::rename(temporary.c_str(), path.c_str()) != 0) done = system_error(path, "rename");
  if (done) return sync_folder(folder);
  ::unlink(temporary.c_str());
  return done;
}

Result<PrivateKey> load_key(const fs::path& path) {
  // O_NONBLOCK: a FIFO by that name must not hang the start.
  auto file = open_file(path, O_RDONLY | O_NONBLOCK);
  if (!file) return std::move(file).error();
  if (Status mode = check_mode(*file, path); !mode) return std::move(mode).error();
  auto text = read_all(*file, path, kKeyFileBytesMax);
  if (!text) return std::move(text).error();
  auto key = PrivateKey::from_pem(*text).with(path.string());
  wipe({reinterpret_cast<std::uint8_t*>(text->data()), text->size()});
  return key;
}

Result<PrivateKey> load_or_make_key(const fs::path& path) {
  auto present = load_key(path);
  if (present || present.error().code != ENOENT) return present;

  const fs::path folder = folder_of(path);
  if (Status made = make_folder(folder); !made) return std::move(made).error();
  PrivateKey key = PrivateKey::generate();
  std::string text = key.to_pkcs8_pem();
  auto ours = publish(path, text);
  wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
  if (!ours) return std::move(ours).error();
  if (!*ours) return load_key(path);
  if (Status synced = sync_folder(folder); !synced) return std::move(synced).error();
  return key;
}

}  // namespace adit::crypto
