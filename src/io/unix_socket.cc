#include "io/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>

namespace adit::io {
namespace {

// An operator's socket: a client that finds the queue full waits in connect().
constexpr int kBacklog = 64;
// What the lock is held for takes microseconds; whoever holds it this long is no program of ours.
constexpr int kLockTries = 200;
constexpr int kLockPauseMs = 10;

struct UnixAddress {
  sockaddr_un un{};
  socklen_t size = sizeof un;
  const sockaddr* any() const { return reinterpret_cast<const sockaddr*>(&un); }
};

Result<UnixAddress> address_of(const std::string& path) {
  UnixAddress out;
  out.un.sun_family = AF_UNIX;
  // An empty name would be bound to a random abstract one; the array's last byte stays zero.
  if (path.empty() || path.find('\0') != std::string::npos) return Error{EINVAL, "no path"};
  if (path.size() >= sizeof out.un.sun_path) {
    return Error{ENAMETOOLONG, path + ": the path of a socket has at most " +
                                   std::to_string(sizeof out.un.sun_path - 1) + " bytes"};
  }
  std::ranges::copy(path, out.un.sun_path);
  return out;
}

Result<Fd> open_unix(int flags) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd) return errno_error(errno, "socket");
  return fd;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Of two programs that start at once, one must not remove what the other has just bound: they take
// turns. None where there are no such locks (a network file system, a folder that cannot be read);
// then the last to start wins.
Result<Fd> lock_folder(const std::string& path) {
  const std::string folder = folder_of(path);
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == EACCES) return Fd();
  if (!fd) return errno_error(errno, "open").with(folder);
  for (int i = 0; i < kLockTries; ++i) {
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return fd;
    ::poll(nullptr, 0, kLockPauseMs);
  }
  return Error{EAGAIN, folder + ": another program keeps this folder locked"};
}

// The kernel takes the files of a killed program's io_uring down some time after the program: until
// then its listener takes connections that nobody will answer.
bool listener_lives(const Fd& connected) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(connected.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return true;
  // 0: a process that this namespace does not see.
  return peer.pid == 0 || ::kill(peer.pid, 0) == 0 || errno != ESRCH;
}

// Removes what a dead program left. Errors: see listen_unix.
Status clear_stale(const std::string& path, const UnixAddress& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return errno_error(errno, "stat").with(path);
  }
  if (!S_ISSOCK(found.st_mode)) return Error{EEXIST, path + ": there is a file that is no socket"};
  auto probe = open_unix(SOCK_NONBLOCK);
  if (!probe) return std::move(probe).error();
  // EAGAIN: its queue is full, so it is there. EPROTOTYPE: a socket of another kind.
  const bool connected = ::connect(probe->get(), address.any(), address.size) == 0;
  const int reason = connected ? 0 : errno;
  if ((connected && listener_lives(*probe)) || reason == EAGAIN || reason == EPROTOTYPE) {
    return Error{EADDRINUSE, path + ": another program answers on this socket"};
  }
  if (reason == ENOENT) return {};
  if (!connected && reason != ECONNREFUSED) return errno_error(reason, "connect").with(path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return errno_error(errno, "unlink").with(path);
  }
  return {};
}

Instant clock_now() {
  timespec t{};
  CHECK(::clock_gettime(CLOCK_MONOTONIC, &t) == 0);
  return Instant{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

// False when the deadline passes first.
Result<bool> wait_for(int fd, short events, Deadline deadline) {
  for (;;) {
    const Instant now = clock_now();
    if (deadline.expired(now)) return false;
    const Duration left = deadline.instant() - now;
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(ms, 60'000)));
    if (n > 0) return true;
    if (n < 0 && errno != EINTR) return errno_error(errno, "poll");
  }
}

Error too_late() { return {ETIMEDOUT, "no answer in time"}; }

Status send_all(int fd, std::string_view text, Deadline deadline) {
  while (!text.empty()) {
    auto ready = wait_for(fd, POLLOUT, deadline);
    if (!ready) return std::move(ready).error();
    if (!*ready) return too_late();
    const ssize_t n = ::send(fd, text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EPIPE) {
      return {};  // it may have answered before it read everything
    } else if (errno != EAGAIN && errno != EINTR) {
      return errno_error(errno, "send");
    }
  }
  return {};
}

Result<std::string> receive_all(int fd, std::size_t bytes_max, Deadline deadline) {
  std::string out;
  std::array<char, 16 * 1024> buffer;
  for (;;) {
    auto ready = wait_for(fd, POLLIN, deadline);
    if (!ready) return std::move(ready).error();
    if (!*ready) return too_late();
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
    // ECONNRESET: it closed without reading all of the question. What it said came before that.
    if (n == 0 || (n < 0 && errno == ECONNRESET)) return out;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (n < 0) return errno_error(errno, "recv");
    if (out.size() + static_cast<std::size_t>(n) > bytes_max) {
      return Error{EMSGSIZE, "an answer of more than " + std::to_string(bytes_max) + " bytes"};
    }
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace

SocketFile::~SocketFile() {
  struct stat now {};
  if (path_.empty() || ::lstat(path_.c_str(), &now) != 0) return;
  // A folder that does not let us (any more) keeps a stale file, which the next start replaces.
  if (now.st_dev == device_ && now.st_ino == inode_) ::unlink(path_.c_str());
}

Result<UnixListener> listen_unix(Loop& loop, const std::string& path, unsigned mode) {
  CHECK(loop.real_descriptors());
  auto address = address_of(path);
  if (!address) return std::move(address).error();
  auto fd = open_unix(SOCK_NONBLOCK);
  if (!fd) return std::move(fd).error();
  auto lock = lock_folder(path);
  if (!lock) return std::move(lock).error();
  if (auto cleared = clear_stale(path, *address); !cleared) return std::move(cleared).error();
  if (::bind(fd->get(), address->any(), address->size) != 0) {
    return errno_error(errno, "bind").with(path);
  }
  struct stat made {};
  if (::lstat(path.c_str(), &made) != 0) return errno_error(errno, "stat").with(path);
  SocketFile file(path, made.st_dev, made.st_ino);
  // Nobody connects before listen(), so there is no moment with the umask's mode.
  if (::chmod(path.c_str(), static_cast<mode_t>(mode)) != 0) {
    return errno_error(errno, "chmod").with(path);
  }
  if (::listen(fd->get(), kBacklog) != 0) return errno_error(errno, "listen").with(path);
  return UnixListener{loop.adopt(fd->release()), std::move(file)};
}

Result<Fd> connect_unix(const std::string& path, Duration patience) {
  auto address = address_of(path);
  if (!address) return std::move(address).error();
  auto fd = open_unix(0);
  if (!fd) return std::move(fd).error();
  const auto us = std::chrono::ceil<std::chrono::microseconds>(patience).count();
  timeval limit{};
  limit.tv_sec = us / 1'000'000;
  limit.tv_usec = us % 1'000'000;
  // Bounds connect(), which waits while the listener's queue is full.
  if (::setsockopt(fd->get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0) {
    return errno_error(errno, "SO_SNDTIMEO");
  }
  const Deadline deadline = Deadline::after(clock_now(), patience);
  while (::connect(fd->get(), address->any(), address->size) != 0) {
    if (errno == EINTR && !deadline.expired(clock_now())) continue;
    return errno_error(errno == EINTR ? EAGAIN : errno, "connect").with(path);
  }
  return fd;
}

Result<std::string> ask_unix(const std::string& path, std::string_view question,
                             const AskLimits& limits) {
  const Deadline deadline = Deadline::after(clock_now(), limits.patience);
  auto fd = connect_unix(path, limits.patience);
  if (!fd) return std::move(fd).error();
  if (auto sent = send_all(fd->get(), question, deadline); !sent) {
    return std::move(sent).error().with(path);
  }
  return receive_all(fd->get(), limits.answer_bytes_max, deadline).with(path);
}

}  // namespace adit::io
