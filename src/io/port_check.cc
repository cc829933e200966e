#include "io/port_check.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "io/fd.h"
#include "io/sockaddr.h"

namespace adit::io {

namespace {

constexpr int kTries = 40;
constexpr int kPauseMs = 50;

// 0 or the errno.
int try_bind(const Address& at, PortKind kind) {
  const int type = kind == PortKind::Tcp ? SOCK_STREAM : SOCK_DGRAM;
  const int family = at.ip.is_v4() ? AF_INET : AF_INET6;
  const Fd fd(::socket(family, type | SOCK_CLOEXEC, 0));
  if (!fd) return errno;
  // Connections of an earlier run in TIME_WAIT do not count; a listener does, with this option too.
  const int on = 1;
  if (kind == PortKind::Tcp) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const int off = 0;  // as the listener will be: IPv4 as well
  if (family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  const SockAddr name(at);
  return ::bind(fd.get(), &name.any, name.size) == 0 ? 0 : errno;
}

}  // namespace

bool has_ipv6() { return try_bind(Address{IpAddress::any6(), 0}, PortKind::Udp) == 0; }

Status check_port_free(const Address& at, PortKind kind) {
  if (at.port == 0) return {};
  int error = 0;
  for (int i = 0; i < kTries; ++i) {
    error = try_bind(at, kind);
    if (error != EADDRINUSE) break;
    ::poll(nullptr, 0, kPauseMs);
  }
  if (error == 0) return {};
  return errno_error(error, "bind").with((kind == PortKind::Tcp ? "tcp " : "udp ") + at.text());
}

}  // namespace adit::io
