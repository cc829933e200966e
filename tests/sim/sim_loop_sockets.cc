// The calls of SimLoop that act at once on a descriptor.
#include <algorithm>
#include <cerrno>

#include "sim/sim_loop.h"
#include "sim/sim_tcp.h"
#include "sim/sim_world.h"

namespace adit::sim {

namespace {

constexpr Duration kDatagramBufferDrain = 200us;

std::size_t payload_max(const Host& host, const SimSocket& s, const Address& to) {
  const std::size_t mtu = s.fragment || is_loopback(to.ip) ? 65535 : host.mtu();
  return mtu - (to.ip.is_v4() ? 28 : 48);
}

}  // namespace

SimSocket& SimLoop::socket(const io::Socket& s) const {
  SimSocket* found = host_.find(s.raw());
  CHECK(found != nullptr);
  return *found;
}

Result<io::Socket> SimLoop::listen_tcp(const Address& at, const io::ListenOptions& options) {
  if (host_.out_of_descriptors()) return errno_error(EMFILE, "socket");
  SimSocket& s = host_.open(SimSocket::Kind::Listener);
  s.reuse_port = options.reuse_port;
  s.backlog = static_cast<std::size_t>(std::max(1, options.backlog));
  if (Status bound = host_.bind(s, at); !bound) {
    s.kind = SimSocket::Kind::Fresh;  // nothing to unbind
    host_.close(s.fd);
    return bound.error();
  }
  return io::Socket(*this, s.fd);
}

Result<io::Socket> SimLoop::open_tcp(const Address&) {
  if (host_.out_of_descriptors()) return errno_error(EMFILE, "socket");
  return io::Socket(*this, host_.open(SimSocket::Kind::Fresh).fd);
}

// Its hosts have no policy routing.
Status SimLoop::bind_foreign(const io::Socket&, const Address&) {
  return errno_error(EPERM, "IP_TRANSPARENT");
}

Result<std::pair<io::Socket, io::Socket>> SimLoop::stream_pair() {
  if (host_.out_of_descriptors()) return errno_error(EMFILE, "socketpair");
  SimSocket* ends[] = {&host_.open(SimSocket::Kind::Stream), &host_.open(SimSocket::Kind::Stream)};
  const TcpId id = world_.tcp().pair(host_, ends[0]->fd, ends[1]->fd);
  for (std::size_t side = 0; side < 2; ++side) {
    ends[side]->connection = id;
    ends[side]->side = side;
  }
  return std::pair(io::Socket(*this, ends[0]->fd), io::Socket(*this, ends[1]->fd));
}

Result<io::Socket> SimLoop::open_udp(const Address& at, const io::UdpOptions& options) {
  if (host_.out_of_descriptors()) return errno_error(EMFILE, "socket");
  if (options.foreign) return errno_error(EPERM, "IP_TRANSPARENT");
  SimSocket& s = host_.open(SimSocket::Kind::Datagram);
  s.reuse_port = options.reuse_port;
  s.received_bytes_max = options.buffer_bytes;
  s.fragment = options.fragment;
  if (Status bound = host_.bind(s, at); !bound) {
    s.kind = SimSocket::Kind::Fresh;
    host_.close(s.fd);
    return bound.error();
  }
  return io::Socket(*this, s.fd);
}

Address SimLoop::local_address(const io::Socket& s) const { return socket(s).local; }
Address SimLoop::peer_address(const io::Socket& s) const { return socket(s).peer; }

void SimLoop::shutdown_write(const io::Socket& s) {
  const SimSocket& found = socket(s);
  if (found.kind == SimSocket::Kind::Stream) world_.tcp().shutdown(found.connection, found.side);
}

void SimLoop::abort_on_close(const io::Socket& s) { socket(s).abort_on_close = true; }

Status SimLoop::connect_udp(const io::Socket& s, const Address& to) {
  SimSocket& found = socket(s);
  if (found.kind != SimSocket::Kind::Datagram) return errno_error(ENOTSOCK, "connect");
  found.peer = to;
  if (found.local.ip.is_any()) found.local.ip = host_.source_for(to.ip);
  return {};
}

Result<std::size_t> SimLoop::send(const io::Socket& s, Bytes bytes) {
  const SimSocket& found = socket(s);
  if (found.kind != SimSocket::Kind::Stream) return errno_error(EPIPE, "send");
  return count_sent(world_.tcp().send(found.connection, found.side, bytes));
}

Result<std::size_t> SimLoop::count_sent(Result<std::size_t> sent) {
  sent_ += sent ? *sent : 0;
  most_sent_ = std::max(most_sent_, sent_);
  return sent;
}

Result<std::size_t> SimLoop::send_datagrams(const io::Socket& s, const io::DatagramBatch& batch) {
  SimSocket& found = socket(s);
  if (found.kind != SimSocket::Kind::Datagram) return errno_error(ENOTSOCK, "sendmsg");
  if (const int error = std::exchange(found.error, 0)) return errno_error(error, "sendmsg");
  const Address to = batch.to.port != 0 ? batch.to : found.peer;
  if (to.port == 0) return errno_error(EDESTADDRREQ, "sendmsg");
  IpAddress source = batch.from.ip;
  if (source.is_any()) source = found.local.ip.is_any() ? host_.source_for(to.ip) : found.local.ip;
  if (!host_.owns(source)) return errno_error(EINVAL, "sendmsg");
  if (world_.now() < found.writable_at) return std::size_t{0};
  return count_sent(send_one_by_one(found, batch, Address{source, found.local.port}, to));
}

Result<std::size_t> SimLoop::send_one_by_one(SimSocket& s, const io::DatagramBatch& batch,
                                             const Address& from, const Address& to) {
  const std::size_t total = batch.bytes.size();
  const std::size_t segment =
      batch.segment_bytes == 0 ? total : std::min(batch.segment_bytes, total);
  if (segment > payload_max(host_, s, to)) return errno_error(EMSGSIZE, "sendmsg");
  std::size_t sent = 0;
  do {
    if (world_.prng().chance(host_.faults.short_send / 8)) {
      s.writable_at = world_.now() + kDatagramBufferDrain;
      world_.schedule(s.writable_at, [&host = host_, fd = s.fd] { host.touch(fd); });
      return sent;
    }
    const std::size_t n = std::min(segment, total - sent);
    const Bytes one = batch.bytes.subspan(sent, n);
    world_.send_datagram(host_, {from, to, {one.begin(), one.end()}, batch.ecn, s.fragment});
    sent += n;
  } while (sent < total);
  return sent;
}

}  // namespace adit::sim
