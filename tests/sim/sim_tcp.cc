#include "sim/sim_tcp.h"

#include <cerrno>

#include "base/limits.h"
#include "io/loop.h"
#include "sim/sim_world.h"

namespace adit::sim {

namespace {

bool finished(const TcpEnd& e) {
  if (e.host == nullptr) return true;
  return e.closed && (e.state == TcpEnd::State::Dead || (e.fin_acknowledged && e.fin_received));
}

}  // namespace

TcpConnection* TcpNet::find(TcpId id) {
  auto it = connections_.find(id);
  return it == connections_.end() ? nullptr : it->second.get();
}

TcpEnd& TcpNet::end(TcpId id, std::size_t side) {
  TcpConnection* c = find(id);
  CHECK(c != nullptr);
  return c->end[side];
}

Host* TcpNet::target(const TcpConnection& c) const {
  const TcpEnd& e = c.end[0];
  return is_loopback(e.peer.ip) ? e.host : world_.owner(e.peer.ip);
}

// Packets get through from end `from`: both addresses still are where they were, and the path is
// up.
bool TcpNet::up(const TcpConnection& c, std::size_t from) const {
  const TcpEnd& e = c.end[0];
  Host* other = c.end[1].host != nullptr ? c.end[1].host : target(c);
  if (other == nullptr) return false;
  if (is_loopback(e.peer.ip)) return true;
  if (!e.host->owns(e.local.ip) || world_.owner(e.peer.ip) != other) return false;
  return from == 0 ? world_.up(*e.host, *other) : world_.up(*other, *e.host);
}

Path& TcpNet::path(const TcpConnection& c, std::size_t from) const {
  Host* other = c.end[1].host != nullptr ? c.end[1].host : target(c);
  CHECK(other != nullptr);
  return from == 0 ? world_.path(*c.end[0].host, *other) : world_.path(*other, *c.end[0].host);
}

void TcpNet::touch(TcpEnd& e) {
  if (e.fd >= 0) e.host->touch(e.fd);
}

// --- setting up ---

TcpId TcpNet::connect(Host& host, int fd, const Address& local, const Address& to) {
  auto c = std::make_unique<TcpConnection>();
  const TcpId id = c->id = next_id_++;
  c->started = world_.now();
  TcpEnd& e = c->end[0];
  e.host = &host;
  e.fd = fd;
  e.local = local;
  e.peer = to;
  connections_.emplace(id, std::move(c));
  send_syn(id, 0);
  return id;
}

TcpId TcpNet::pair(Host& host, int fd_0, int fd_1) {
  auto c = std::make_unique<TcpConnection>();
  const TcpId id = c->id = next_id_++;
  c->started = world_.now();
  c->queued = true;
  const Address both{IpAddress::loopback4(), 0};
  for (std::size_t side = 0; side < 2; ++side) {
    TcpEnd& e = c->end[side];
    e.host = &host;
    e.fd = side == 0 ? fd_0 : fd_1;
    e.local = e.peer = both;
    e.state = TcpEnd::State::Open;
    e.window_end = e.window_told = kReceiveBufferBytes;
  }
  connections_.emplace(id, std::move(c));
  return id;
}

void TcpNet::send_syn(TcpId id, unsigned attempt) {
  TcpConnection* c = find(id);
  if (c == nullptr || c->end[0].state != TcpEnd::State::Connecting) return;
  const Instant now = world_.now(), last = c->started + kConnectTimeout;
  if (now >= last) return die(*c, 0, ETIMEDOUT);
  if (up(*c, 0)) {
    Path& p = path(*c, 0);
    if (!world_.prng().chance(p.model.loss))
      world_.schedule(p.send_segment(now, kHeaderBytes, world_.prng()), [this, id] { on_syn(id); });
  }
  // RFC 6298 §2.1: one second, then doubled.
  const Instant again = now + Duration{1s} * (std::int64_t{1} << attempt);
  world_.schedule(std::min(again, last), [this, id, attempt] { send_syn(id, attempt + 1); });
}

void TcpNet::on_syn(TcpId id) {
  TcpConnection* c = find(id);
  if (c == nullptr || c->end[0].state != TcpEnd::State::Connecting || !up(*c, 0)) return;
  TcpEnd& e = c->end[1];
  if (e.host == nullptr) {
    Host* host = target(*c);
    const Address from{host == c->end[0].host ? c->end[0].local.ip
                                              : c->end[0].host->public_ip(c->end[0].local.ip),
                       c->end[0].local.port};
    SimSocket* listener = host->listener_at(c->end[0].peer, from);
    if (listener == nullptr) {
      const Instant at = path(*c, 1).send_segment(world_.now(), kHeaderBytes, world_.prng());
      return world_.schedule(at, [this, id] { on_refused(id); });
    }
    if (listener->waiting.size() >= listener->backlog) return;  // dropped, as Linux does
    e.host = host;
    e.local = c->end[0].peer;
    e.peer = from;
    e.state = TcpEnd::State::Open;
    e.window_end = c->end[0].window_told = kReceiveBufferBytes;
    c->end[0].window_end = e.window_told = kReceiveBufferBytes;
    c->listener = listener->fd;
    world_.trace("syn", *host, id);
  }
  const Instant at = path(*c, 1).send_segment(world_.now(), kHeaderBytes, world_.prng());
  world_.schedule(at, [this, id] { on_syn_ack(id); });
}

void TcpNet::on_syn_ack(TcpId id) {
  TcpConnection* c = find(id);
  if (c == nullptr || c->end[0].state != TcpEnd::State::Connecting || !up(*c, 1)) return;
  TcpEnd& e = c->end[0];
  e.state = TcpEnd::State::Open;
  world_.trace("connected", *e.host, id);
  send_first_ack(id, 0);
  for (std::size_t side = 0; side < 2; ++side)
    keep_alive_later(id, side, limits::kTcpKeepAliveIdle);
  touch(e);
  pump(*c, 0);
}

void TcpNet::on_refused(TcpId id) {
  TcpConnection* c = find(id);
  if (c == nullptr || c->end[0].state != TcpEnd::State::Connecting || !up(*c, 1)) return;
  world_.trace("refused", *c->end[0].host, id);
  die(*c, 0, ECONNREFUSED);
}

// Stands for SYN-ACKs sent again until they are acknowledged, too.
void TcpNet::send_first_ack(TcpId id, unsigned attempt) {
  TcpConnection* c = find(id);
  if (c == nullptr || c->queued || attempt > 20) return;
  if (!up(*c, 0)) {
    return world_.schedule(world_.now() + 1s,
                           [this, id, attempt] { send_first_ack(id, attempt + 1); });
  }
  const Instant at = path(*c, 0).send_segment(world_.now(), kHeaderBytes, world_.prng());
  c->end[0].last_arrival = at;
  world_.schedule(at, [this, id, attempt] {
    TcpConnection* later = find(id);
    if (later == nullptr) return;
    if (up(*later, 0)) return enqueue(*later);
    send_first_ack(id, attempt + 1);
  });
}

void TcpNet::enqueue(TcpConnection& c) {
  if (c.queued) return;
  c.queued = true;
  TcpEnd& e = c.end[1];
  SimSocket* listener = e.host->find(c.listener);
  if (listener == nullptr || listener->kind != SimSocket::Kind::Listener)
    return close(c.id, 1, true);  // it was closed meanwhile
  listener->waiting.push_back(c.id);
  e.host->touch(listener->fd);
}

void TcpNet::accepted(TcpId id, int fd) { end(id, 1).fd = fd; }

// --- keep-alive ---

void TcpNet::keep_alive_later(TcpId id, std::size_t side, Duration wait) {
  world_.schedule(world_.now() + wait, [this, id, side] { keep_alive(id, side); });
}

// A vanished peer is noticed by who has nothing to send, too: a probe goes out after the idle time,
// more after it, and when one more would be due without an answer the connection is over.
void TcpNet::keep_alive(TcpId id, std::size_t side) {
  TcpConnection* c = find(id);
  if (c == nullptr || c->end[side].state != TcpEnd::State::Open) return;
  TcpEnd& e = c->end[side];
  if (!e.tx.empty() || (e.fin_sent && !e.fin_acknowledged)) {  // the other timer's business
    e.probes = 0;
    return keep_alive_later(id, side, limits::kTcpKeepAliveIdle);
  }
  if (up(*c, side) && up(*c, 1 - side)) {
    e.probes = 0;
    if (c->end[1 - side].state == TcpEnd::State::Dead) send_reset(*c, 1 - side);
    return keep_alive_later(id, side, limits::kTcpKeepAliveIdle);
  }
  if (e.probes++ == limits::kTcpKeepAliveProbes) return die(*c, side, ETIMEDOUT);
  keep_alive_later(id, side, limits::kTcpKeepAliveInterval);
}

// --- reading ---

Bytes TcpNet::readable(TcpId id, std::size_t side) {
  const ByteRing& rx = end(id, side).rx;
  return rx.peek(rx.begin());
}

void TcpNet::consume(TcpId id, std::size_t side, std::size_t n) {
  TcpConnection* c = find(id);
  CHECK(c != nullptr);
  TcpEnd& r = c->end[side];
  r.rx.release(r.rx.begin() + n);
  // RFC 9293 §3.8.6.2.2: the window is opened in large steps only.
  const std::uint64_t window = r.rx.begin() + kReceiveBufferBytes;
  if (window - r.window_told >= kReceiveBufferBytes / 4 && r.state == TcpEnd::State::Open)
    acknowledge(*c, 1 - side);
}

bool TcpNet::at_end(TcpId id, std::size_t side) {
  const TcpEnd& e = end(id, side);
  return e.rx.empty() && (e.fin_received || e.state == TcpEnd::State::Dead);
}

int TcpNet::take_error(TcpId id, std::size_t side) { return std::exchange(end(id, side).error, 0); }

int TcpNet::ready(TcpId id, std::size_t side) {
  const TcpConnection* c = find(id);
  CHECK(c != nullptr);
  const TcpEnd& e = c->end[side];
  if (e.state == TcpEnd::State::Dead || (e.fin_received && e.fin_wanted))
    return io::kReadable | io::kWritable;
  if (e.state == TcpEnd::State::Connecting) return 0;
  int bits = 0;
  if (!e.rx.empty() || e.fin_received) bits |= io::kReadable;
  // Linux says writable from a third of the buffer on, so that a writer is not woken for every
  // packet.
  if (buffered(*c, side) <= kSendBufferBytes / 3 * 2) bits |= io::kWritable;
  return bits;
}

// --- ending ---

void TcpNet::shutdown(TcpId id, std::size_t side) {
  TcpConnection* c = find(id);
  CHECK(c != nullptr);
  TcpEnd& e = c->end[side];
  if (e.state != TcpEnd::State::Open || e.fin_wanted) return;
  e.fin_wanted = true;
  if (e.tx.empty()) e.progress_at = world_.now();
  pump(*c, side);
  touch(e);
}

void TcpNet::close(TcpId id, std::size_t side, bool abort) {
  TcpConnection* c = find(id);
  CHECK(c != nullptr);
  TcpEnd& e = c->end[side];
  e.fd = -1;
  e.closed = true;
  if (e.state == TcpEnd::State::Connecting) {
    connections_.erase(id);
    return;
  }
  if (e.state == TcpEnd::State::Open) {
    // RFC 1122 §4.2.2.13: closing with data unread tells the peer that it is lost.
    if (abort || !e.rx.empty()) {
      send_reset(*c, side);
      e.state = TcpEnd::State::Dead;
    } else {
      e.fin_wanted = true;
      pump(*c, side);
    }
  }
  forget_if_finished(*c);
}

void TcpNet::send_reset(TcpConnection& c, std::size_t from) {
  if (!up(c, from)) return;
  TcpEnd& e = c.end[from];
  const Instant at = path(c, from).send_segment(world_.now(), kHeaderBytes, world_.prng());
  e.last_arrival = std::max(at, e.last_arrival);
  world_.schedule(e.last_arrival, [this, id = c.id, from] {
    TcpConnection* later = find(id);
    if (later != nullptr && up(*later, from)) die(*later, 1 - from, ECONNRESET);
  });
}

void TcpNet::reset(TcpId id) {
  for (std::size_t side = 0; side < 2; ++side)
    if (TcpConnection* c = find(id)) die(*c, side, ECONNRESET);
}

void TcpNet::die(TcpConnection& c, std::size_t side, int error) {
  TcpEnd& e = c.end[side];
  if (e.state == TcpEnd::State::Dead || e.host == nullptr) return;
  world_.trace("dead", *e.host, c.id + static_cast<std::uint64_t>(error) * 1'000'000);
  e.state = TcpEnd::State::Dead;
  e.error = error;
  touch(e);
  forget_if_finished(c);
}

void TcpNet::forget_if_finished(TcpConnection& c) {
  // An end that waits in an accept queue is not closed, so it is not finished either.
  if (finished(c.end[0]) && finished(c.end[1])) connections_.erase(c.id);
}

}  // namespace adit::sim
