// Local (Unix) stream sockets, by which an operator reaches a running program. Real loops only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "io/fd.h"
#include "io/loop.h"

namespace adit::io {

// The file by which a listener is reached. Removed with this object, unless another stands there by
// then.
class [[nodiscard]] SocketFile {
 public:
  SocketFile() = default;
  SocketFile(std::string path, std::uint64_t device, std::uint64_t inode)
      : path_(std::move(path)), device_(device), inode_(inode) {}
  SocketFile(SocketFile&& o) noexcept
      : path_(std::exchange(o.path_, {})), device_(o.device_), inode_(o.inode_) {}
  SocketFile& operator=(SocketFile&& o) noexcept {
    std::swap(path_, o.path_);
    std::swap(device_, o.device_);
    std::swap(inode_, o.inode_);
    return *this;
  }
  ~SocketFile();

  const std::string& path() const { return path_; }

 private:
  std::string path_;  // empty: none
  std::uint64_t device_ = 0, inode_ = 0;
};

struct UnixListener {
  Socket socket;
  // Destroyed first: the open socket keeps the inode's number from being given to another file.
  SocketFile file;
};

// The file gets `mode` before anybody can connect. One that a dead program left behind is replaced.
// EADDRINUSE: somebody answers on it; EEXIST: what is there is no socket; ENOENT: no such folder.
Result<UnixListener> listen_unix(Loop& loop, const std::string& path, unsigned mode = 0600);

// --- blocking, for short-lived programs without a loop ---

// ENOENT and ECONNREFUSED: nobody listens; EACCES: not for this user; EAGAIN: the listener's queue
// was full for `patience`.
Result<Fd> connect_unix(const std::string& path, Duration patience);

struct AskLimits {
  Duration patience;             // for the whole conversation
  std::size_t answer_bytes_max;  // EMSGSIZE beyond it
};
// Connects, sends `question`, and returns what is said until the other side closes, in whatever
// way: whether that is all, the words have to say. ETIMEDOUT: it took longer than `patience`.
Result<std::string> ask_unix(const std::string& path, std::string_view question,
                             const AskLimits& limits);

}  // namespace adit::io
