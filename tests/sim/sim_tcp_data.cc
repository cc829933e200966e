// TcpNet: data, acknowledgements and the retransmission timer.
#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "io/loop.h"
#include "sim/sim_tcp.h"
#include "sim/sim_world.h"

namespace adit::sim {

namespace {

constexpr std::size_t kSegmentBytesMax = 16 * 1024;  // several packets in one step
constexpr Duration kRetryMin = 200ms, kRetryMax = 4s;

}  // namespace

Result<std::size_t> TcpNet::send(TcpId id, std::size_t side, Bytes bytes) {
  TcpConnection* c = find(id);
  CHECK(c != nullptr);
  TcpEnd& e = c->end[side];
  if (const int error = take_error(id, side)) return errno_error(error, "send");
  if (e.state == TcpEnd::State::Dead || e.fin_wanted) return errno_error(EPIPE, "send");
  if (e.state == TcpEnd::State::Connecting) return std::size_t{0};
  std::size_t n = std::min(bytes.size(), kSendBufferBytes - buffered(*c, side));
  if (n > 1 && world_.prng().chance(e.host->faults.short_send)) n = 1 + world_.prng().below(n);
  if (n < bytes.size()) e.was_full = true;
  if (e.tx.empty()) e.progress_at = world_.now();
  e.tx.append(bytes.first(n));
  pump(*c, side);
  return n;
}

// What fills the send buffer. Within a host a segment is the receiver's at once.
std::size_t TcpNet::buffered(const TcpConnection& c, std::size_t side) const {
  const TcpEnd& e = c.end[side];
  if (c.end[0].host != c.end[1].host) return e.tx.size();
  return static_cast<std::size_t>(e.tx.end() - e.next);
}

void TcpNet::pump(TcpConnection& c, std::size_t side) {
  TcpEnd& s = c.end[side];
  if (s.state != TcpEnd::State::Open || c.end[1 - side].host == nullptr) return;
  if (!s.timer_armed) s.progress_at = world_.now();
  if (up(c, side)) {
    while (send_some(c, side)) {
    }
    if (s.fin_wanted && !s.fin_sent && s.next == s.tx.end()) {
      s.fin_sent = true;
      send_segment(c, {c.id, side, s.next, s.next, true});
    }
  }
  arm_timer(c, side);
}

bool TcpNet::send_some(TcpConnection& c, std::size_t side) {
  TcpEnd& s = c.end[side];
  const std::uint64_t most = std::min(s.tx.end(), s.window_end);
  if (s.next >= most) return false;
  Path& p = path(c, side);
  if (p.queued(world_.now()) > p.model.queue_bytes / 2) {
    // Half of the queue stays for others: TCP would have felt the losses and slowed down.
    pump_later(c, side, world_.now() + (p.busy_until() - world_.now()) / 2);
    return false;
  }
  const std::uint64_t n = std::min(most - s.next, 1 + world_.prng().below(kSegmentBytesMax));
  send_segment(c, {c.id, side, s.next, s.next + n, false});
  s.next += n;
  return true;
}

void TcpNet::send_segment(TcpConnection& c, const Segment& s) {
  TcpEnd& e = c.end[s.side];
  const std::size_t bytes = static_cast<std::size_t>(s.to - s.from) + kHeaderBytes;
  const Instant at = path(c, s.side).send_segment(world_.now(), bytes, world_.prng());
  e.last_arrival = std::max(at, e.last_arrival);
  world_.schedule(e.last_arrival, [this, s] { on_segment(s); });
}

void TcpNet::pump_later(TcpConnection& c, std::size_t side, Instant at) {
  if (c.end[side].pump_armed) return;
  c.end[side].pump_armed = true;
  world_.schedule(at, [this, id = c.id, side] {
    TcpConnection* later = find(id);
    if (later == nullptr) return;
    later->end[side].pump_armed = false;
    pump(*later, side);
  });
}

// Whether a segment's end is there to take it; else RST goes back.
bool TcpNet::accepts(TcpConnection& c, const Segment& s) {
  TcpEnd& r = c.end[1 - s.side];
  const bool unwanted = r.closed && s.to > r.rx.end();
  if (r.state == TcpEnd::State::Open && !unwanted) return true;
  send_reset(c, 1 - s.side);
  r.state = TcpEnd::State::Dead;
  return false;
}

void TcpNet::on_segment(const Segment& s) {
  TcpConnection* c = find(s.id);
  if (c == nullptr || !up(*c, s.side)) return;
  TcpEnd& from = c->end[s.side];
  TcpEnd& r = c->end[1 - s.side];
  if (!accepts(*c, s)) return forget_if_finished(*c);
  if (world_.prng().chance(r.host->faults.tcp_reset)) return reset(s.id);
  if (s.from > r.rx.end()) return;  // what came before fell into a blackout: all is sent again
  if (s.side == 0) enqueue(*c);
  if (r.state != TcpEnd::State::Open) return;
  while (s.to > r.rx.end()) {
    const Bytes run = from.tx.peek(r.rx.end());
    const auto wanted = static_cast<std::size_t>(s.to - r.rx.end());
    const Bytes piece = run.first(std::min(run.size(), wanted));
    CHECK(!piece.empty());
    world_.trace("segment", *r.host, s.id, piece);
    r.rx.append(piece);
  }
  if (s.fin && s.to == r.rx.end()) r.fin_received = true;
  touch(r);
  acknowledge(*c, s.side);
  forget_if_finished(*c);
}

void TcpNet::acknowledge(TcpConnection& c, std::size_t sender) {
  TcpEnd& r = c.end[1 - sender];
  r.window_told = r.rx.begin() + kReceiveBufferBytes;
  if (!up(c, 1 - sender)) return;
  const Acknowledgement a{c.id, sender, r.rx.end(), r.window_told, r.fin_received};
  const Instant at = path(c, 1 - sender).send_segment(world_.now(), kHeaderBytes, world_.prng());
  world_.schedule(at, [this, a] { on_acknowledgement(a); });
}

void TcpNet::on_acknowledgement(const Acknowledgement& a) {
  TcpConnection* c = find(a.id);
  if (c == nullptr || !up(*c, 1 - a.side)) return;
  TcpEnd& s = c->end[a.side];
  if (s.state != TcpEnd::State::Open) return;
  if (a.received > s.tx.begin() || a.window_end > s.window_end || (a.fin && s.fin_sent)) {
    s.progress_at = world_.now();
    s.backoff = 0;
  }
  s.tx.release(a.received);
  s.next = std::max(s.next, a.received);
  s.window_end = std::max(s.window_end, a.window_end);
  if (a.fin && s.fin_sent) s.fin_acknowledged = true;
  pump(*c, a.side);
  if (s.was_full && (ready(a.id, a.side) & io::kWritable) != 0) {
    s.was_full = false;
    touch(s);
  }
  forget_if_finished(*c);
}

void TcpNet::arm_timer(TcpConnection& c, std::size_t side) {
  TcpEnd& s = c.end[side];
  const bool outstanding = s.tx.size() > 0 || (s.fin_wanted && !s.fin_acknowledged);
  if (s.timer_armed || !outstanding || s.state != TcpEnd::State::Open) return;
  s.timer_armed = true;
  const std::int64_t doubled = std::int64_t{1} << std::min(s.backoff, 8u);
  const Duration wait = std::min(kRetryMin * doubled, kRetryMax);
  const Duration random{static_cast<std::int64_t>(world_.prng().below(50'000'000))};
  const Instant answered = std::max(world_.now(), s.last_arrival) + answer_time(c, side);
  world_.schedule(answered + wait + random, [this, id = c.id, side] { on_timer(id, side); });
}

// What an answer may take after the last segment has arrived.
Duration TcpNet::answer_time(const TcpConnection& c, std::size_t side) const {
  const LinkModel& back = path(c, 1 - side).model;
  return 4 * (back.delay + back.jitter);
}

void TcpNet::on_timer(TcpId id, std::size_t side) {
  TcpConnection* c = find(id);
  if (c == nullptr) return;
  TcpEnd& s = c->end[side];
  s.timer_armed = false;
  if (s.state != TcpEnd::State::Open) return;
  const bool outstanding = s.tx.size() > 0 || (s.fin_wanted && !s.fin_acknowledged);
  if (!outstanding) return;
  const Duration quiet = world_.now() - s.progress_at;
  if (quiet >= kRetransmitTimeout) return die(*c, side, ETIMEDOUT);
  if (quiet >= kRetryMin && world_.now() >= s.last_arrival + answer_time(*c, side)) {
    ++s.backoff;
    s.next = s.tx.begin();
    s.fin_sent = s.fin_acknowledged;
    if (s.next >= s.window_end) probe(*c, side);
  }
  s.timer_armed = true;  // else pump takes this for a new start
  pump(*c, side);
  s.timer_armed = false;
  arm_timer(*c, side);
}

// A window of zero is probed; the answer tells what an update that got lost would have told.
void TcpNet::probe(TcpConnection& c, std::size_t side) {
  if (!up(c, side)) return;
  if (c.end[1 - side].state == TcpEnd::State::Open) {
    if (up(c, 1 - side)) c.end[side].progress_at = world_.now();
    acknowledge(c, side);
  } else {
    send_reset(c, 1 - side);
  }
}

}  // namespace adit::sim
