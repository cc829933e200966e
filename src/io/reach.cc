#include "io/reach.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>

#include "io/sockaddr.h"

namespace adit::io {

namespace {

Instant clock_now() {
  return Instant{std::chrono::steady_clock::now().time_since_epoch().count()};
}

// ETIMEDOUT when it is not ready by then.
Status wait_for(const Fd& fd, short events, Instant until) {
  while (true) {
    const Duration left = until - clock_now();
    if (left <= Duration{0}) return errno_error(ETIMEDOUT, "no answer");
    pollfd one{fd.get(), events, 0};
    const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
    const int n = ::poll(&one, 1, static_cast<int>(std::min<long long>(ms, 60'000)));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return errno_error(errno, "poll");
  }
}

Result<Fd> open_toward(const Address& to, int type) {
  const SockAddr address(to);
  Fd fd(::socket(address.family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return errno_error(errno, "socket");
  if (::connect(fd.get(), &address.any, address.size) != 0 && errno != EINPROGRESS)
    return errno_error(errno, "connect");
  return fd;
}

int pending_error(const Fd& fd) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) != 0 ? errno : error;
}

}  // namespace

Result<TcpConversation> TcpConversation::connect(const Address& to, Duration patience) {
  const Instant deadline = clock_now() + patience;
  auto fd = open_toward(to, SOCK_STREAM);
  if (!fd) return std::move(fd).error().with(to.text());
  if (auto ok = wait_for(*fd, POLLOUT, deadline); !ok)
    return std::move(ok).error().with(to.text());
  if (const int error = pending_error(*fd); error != 0)
    return errno_error(error, "connect").with(to.text());
  return TcpConversation(std::move(*fd), deadline);
}

Status TcpConversation::send(Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n >= 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      if (auto ok = wait_for(fd_, POLLOUT, deadline_); !ok) return ok;
    } else if (errno != EINTR) {
      return errno_error(errno, "send");
    }
  }
  return {};
}

Result<ByteVector> TcpConversation::receive(std::size_t bytes_max) {
  ByteVector out(bytes_max);
  while (true) {
    const ssize_t n = ::recv(fd_.get(), out.data(), out.size(), 0);
    if (n >= 0) {
      out.resize(static_cast<std::size_t>(n));
      return out;
    }
    if (errno == EAGAIN) {
      if (auto ok = wait_for(fd_, POLLIN, deadline_); !ok) return std::move(ok).error();
    } else if (errno != EINTR) {
      return errno_error(errno, "recv");
    }
  }
}

Result<DatagramAnswer> ask_by_datagram(const Address& to, Bytes question, Duration patience,
                                       unsigned tries) {
  auto fd = open_toward(to, SOCK_DGRAM);
  if (!fd) return std::move(fd).error().with(to.text());
  const Instant begin = clock_now();
  Error last = errno_error(ETIMEDOUT, "no answer");
  for (unsigned i = 0; i < tries; ++i) {
    if (::send(fd->get(), question.data(), question.size(), MSG_NOSIGNAL) < 0)
      last = errno_error(errno, "send");
    const Instant until = clock_now() + patience;
    ByteVector answer(2048);
    // A try ends with its patience, or with a message that nothing listens there.
    while (wait_for(*fd, POLLIN, until)) {
      const ssize_t n = ::recv(fd->get(), answer.data(), answer.size(), 0);
      if (n > 0) {
        answer.resize(static_cast<std::size_t>(n));
        return DatagramAnswer{std::move(answer), clock_now() - begin};
      }
      if (n < 0 && errno != EAGAIN && errno != EINTR) {
        last = errno_error(errno, "recv");
        break;
      }
    }
  }
  return std::move(last).with(to.text());
}

std::int64_t clock_seconds() { return std::time(nullptr); }

}  // namespace adit::io
