#include "io/posix_loop.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <csignal>
#include <ctime>

#include "base/limits.h"
#include "io/answer_routing.h"
#include "io/sockaddr.h"
#include "io/steering.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef TCP_RTO_MAX_MS
#define TCP_RTO_MAX_MS 44
#endif

namespace adit::io {
namespace {

bool set_option(int fd, int level, int option, int value) {
  return ::setsockopt(fd, level, option, &value, sizeof value) == 0;
}

Result<Fd> open_socket(const Address& address, int type) {
  const int family = address.ip.is_v4() ? AF_INET : AF_INET6;
  Fd fd(::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return errno_error(errno, "socket");
  return fd;
}

int in_seconds(Duration d) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::seconds>(d).count());
}

// Accepted sockets inherit all of these from their listener (Linux), so that accept costs no
// further call. None is worth failing for: a kernel that refuses one still forwards. Not among
// them: TCP_USER_TIMEOUT, see limits.h.
void set_stream_options(int fd) {
  using std::chrono::duration_cast;
  const auto apart = duration_cast<std::chrono::milliseconds>(limits::kTcpRetransmitIntervalMax);
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, in_seconds(limits::kTcpKeepAliveIdle));
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, in_seconds(limits::kTcpKeepAliveInterval));
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, limits::kTcpKeepAliveProbes);
  set_option(fd, IPPROTO_TCP, TCP_RTO_MAX_MS, static_cast<int>(apart.count()));
}

// The FORCE variant goes beyond net.core.*mem_max and needs CAP_NET_ADMIN.
void set_buffer(int fd, int force_option, int option, std::size_t bytes) {
  const int value = static_cast<int>(bytes);
  if (!set_option(fd, SOL_SOCKET, force_option, value)) set_option(fd, SOL_SOCKET, option, value);
}

void set_datagram_options(int fd, bool v6, const UdpOptions& options) {
  // An IPv6 socket carries IPv4 too (mapped) and then goes by the IPv4 options; its IPV6_PKTINFO
  // covers both.
  set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
  if (v6) {
    set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
  } else {
    set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  }
  set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
  // PROBE sets DF and does not believe ICMP about the path: the QUIC engine finds the MTU itself
  // (RFC 8899).
  const int discover = options.fragment ? IP_PMTUDISC_DONT : IP_PMTUDISC_PROBE;
  set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, discover);
  if (v6) set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, discover);  // the values are the same
  set_buffer(fd, SO_RCVBUFFORCE, SO_RCVBUF, options.buffer_bytes);
  set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF, options.buffer_bytes);
}

Instant read_clock(clockid_t id) {
  timespec t{};
  CHECK(::clock_gettime(id, &t) == 0);
  return Instant{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

}  // namespace

PosixLoop::PosixLoop(std::unique_ptr<Mailbox> mailbox) : mailbox_(std::move(mailbox)) {
  std::signal(SIGPIPE, SIG_IGN);
  set_now(clock());
}

Instant PosixLoop::clock() { return read_clock(CLOCK_MONOTONIC); }

WallTime PosixLoop::wall_time() const { return WallTime{read_clock(CLOCK_REALTIME).ns}; }

void PosixLoop::turn(Instant until) {
  Instant wake = wake_at(until);
  if (wake > now() && !mailbox_->prepare_sleep()) wake = now();
  wait(wake);
  mailbox_->awake();
  set_now(clock());
  run_collected();
  mailbox_->run();
  run_timers_and_tasks();
}

Result<Socket> PosixLoop::listen_tcp(const Address& at, const ListenOptions& options) {
  auto fd = open_socket(at, SOCK_STREAM);
  if (!fd) return std::move(fd).error();
  const int raw = fd->get();
  set_option(raw, SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port && !set_option(raw, SOL_SOCKET, SO_REUSEPORT, 1)) {
    return errno_error(errno, "SO_REUSEPORT");
  }
  if (!at.ip.is_v4()) set_option(raw, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  set_stream_options(raw);
  const SockAddr name(at);
  if (::bind(raw, &name.any, name.size) != 0) return errno_error(errno, "bind");
  if (::listen(raw, options.backlog) != 0) return errno_error(errno, "listen");
  return adopt(fd->release());
}

Result<Socket> PosixLoop::open_tcp(const Address& toward) {
  auto fd = open_socket(toward, SOCK_STREAM);
  if (!fd) return std::move(fd).error();
  // A peer on this machine does not vanish without a word: five calls less for a local upstream.
  if (toward.ip.is_loopback()) {
    set_option(fd->get(), IPPROTO_TCP, TCP_NODELAY, 1);
  } else {
    set_stream_options(fd->get());
  }
  return adopt(fd->release());
}

Status PosixLoop::bind_foreign(const Socket& s, const Address& at) {
  return bind_to_foreign(s.raw(), at, Transport::Tcp);
}

Result<std::pair<Socket, Socket>> PosixLoop::stream_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0)
    return errno_error(errno, "socketpair");
  return std::pair(adopt(fds[0]), adopt(fds[1]));
}

Result<Socket> PosixLoop::open_udp(const Address& at, const UdpOptions& options) {
  auto fd = open_socket(at, SOCK_DGRAM);
  if (!fd) return std::move(fd).error();
  const int raw = fd->get();
  if (options.reuse_port && !set_option(raw, SOL_SOCKET, SO_REUSEPORT, 1)) {
    return errno_error(errno, "SO_REUSEPORT");
  }
  const bool v6 = !at.ip.is_v4();
  if (v6) set_option(raw, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  set_datagram_options(raw, v6, options);
  if (options.foreign) {
    if (auto ok = bind_to_foreign(raw, at, Transport::Udp); !ok) return std::move(ok).error();
    return adopt(fd->release());
  }
  const SockAddr name(at);
  if (::bind(raw, &name.any, name.size) != 0) return errno_error(errno, "bind");
  // Refused (an old kernel, a container): the threads pass packets on to each other.
  if (options.steer_sockets > 1)
    steer_by_connection_id(raw, options.steer_sockets, options.steer_id_bytes);
  return adopt(fd->release());
}

Address PosixLoop::local_address(const Socket& s) const {
  SockAddr name;
  return ::getsockname(s.raw(), &name.any, &name.size) == 0 ? name.address() : Address{};
}

Address PosixLoop::peer_address(const Socket& s) const {
  SockAddr name;
  return ::getpeername(s.raw(), &name.any, &name.size) == 0 ? name.address() : Address{};
}

void PosixLoop::shutdown_write(const Socket& s) {
  // Fails where the peer has reset the connection already; the pending receive says so.
  ::shutdown(s.raw(), SHUT_WR);
}

void PosixLoop::abort_on_close(const Socket& s) {
  const linger at_once{1, 0};
  ::setsockopt(s.raw(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

Status PosixLoop::connect_udp(const Socket& s, const Address& to) {
  const SockAddr name(to);
  if (::connect(s.raw(), &name.any, name.size) != 0) return errno_error(errno, "connect");
  return {};
}

Result<std::size_t> PosixLoop::send(const Socket& s, Bytes bytes) {
  const ssize_t n = ::send(s.raw(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n >= 0) return static_cast<std::size_t>(n);
  if (errno == EAGAIN) return std::size_t{0};
  return errno_error(errno, "send");
}

Result<std::size_t> PosixLoop::send_datagrams(const Socket& s, const DatagramBatch& batch) {
  return datagrams_.send(s.raw(), batch);
}

// The connection failed before it was accepted (accept(2)): not the listener's trouble.
bool PosixLoop::transient_accept_error(int error) {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH: return true;
    default: return false;
  }
}

}  // namespace adit::io
