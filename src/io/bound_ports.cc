#include "io/bound_ports.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/limits.h"

namespace adit::io {

namespace {

constexpr int kDatagramsDrainedMax = 100'000;

// A socket filter that lets nothing in: of each packet 0 bytes are kept (socket(7)).
Status deafen(int fd) {
  std::array<sock_filter, 1> drop{{{BPF_RET | BPF_K, 0, 0, 0}}};
  const sock_fprog program{drop.size(), drop.data()};
  if (::setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    return errno_error(errno, "SO_ATTACH_FILTER");
  // What came before it was there.
  std::array<char, 1> byte;
  for (int i = 0; i < kDatagramsDrainedMax; ++i)
    if (::recv(fd, byte.data(), byte.size(), MSG_DONTWAIT) < 0) break;
  return {};
}

// Listens no more, and stays bound: the kernel keeps a port that was asked for by its number.
void stop_listening(int fd) { ::shutdown(fd, SHUT_RDWR); }

}  // namespace

Status BoundPorts::bind(Loop& loop, const Address& at, Transport transport) {
  const bool tcp = transport == Transport::Tcp;
  UdpOptions options;
  options.fragment = true;  // as public ports have it
  auto socket = tcp ? loop.listen_tcp(at, ListenOptions{false, limits::kListenBacklog})
                    : loop.open_udp(at, options);
  if (!socket) return std::move(socket).error();
  Fd fd(socket->release());
  if (tcp) {
    stop_listening(fd.get());
  } else if (auto ok = deafen(fd.get()); !ok) {
    return ok;
  }
  ports_.emplace_back(at, transport, std::move(fd));
  return {};
}

bool BoundPorts::has(const Address& at, Transport transport) const {
  return std::ranges::any_of(
      ports_, [&](const Port& p) { return p.at == at && p.transport == transport; });
}

Result<std::pair<Socket, BoundPorts::Lease>> BoundPorts::take(Loop& loop, const Address& at,
                                                              Transport transport) {
  const auto port = std::ranges::find_if(
      ports_, [&](const Port& p) { return p.at == at && p.transport == transport; });
  CHECK(port != ports_.end());
  if (port->lent.exchange(true)) return errno_error(EADDRINUSE, "bind");
  Lease lease;  // from here on whatever fails gives it back
  lease.port_ = &*port;
  Fd mine(::fcntl(port->fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!mine) return errno_error(errno, "dup");
  if (transport == Transport::Tcp) {
    if (::listen(mine.get(), limits::kListenBacklog) != 0) return errno_error(errno, "listen");
  } else {
    const int unused = 0;
    if (::setsockopt(mine.get(), SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused) != 0)
      return errno_error(errno, "SO_DETACH_FILTER");
  }
  return std::pair(loop.adopt(mine.release()), std::move(lease));
}

void BoundPorts::give_back(Port& port) {
  if (port.transport == Transport::Tcp) {
    stop_listening(port.fd.get());
  } else {
    static_cast<void>(deafen(port.fd.get()));  // it was attached before
  }
  port.lent = false;
}

}  // namespace adit::io
