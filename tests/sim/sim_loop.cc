#include "sim/sim_loop.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "base/limits.h"
#include "sim/sim_tcp.h"
#include "sim/sim_world.h"

namespace adit::sim {

namespace {

// From something being ready to the turn that sees it: a busy machine, and time for more to come.
constexpr std::uint64_t kWakeUpNsMax = 20'000;
constexpr std::size_t kCompletionsPerTurn = 64;
constexpr std::size_t kSegmentsMax = 64;  // what Linux coalesces at most, as what it sends

}  // namespace

SimLoop::SimLoop(World& world, Host& host) : world_(world), host_(host) { set_now(world.now()); }

SimLoop::~SimLoop() = default;

WallTime SimLoop::wall_time() const { return world_.wall_time(); }

// --- turns ---

Instant SimLoop::due() const {
  return std::max(std::min(turn_at_, wake_at(Instant::never())), world_.now());
}

void SimLoop::catch_up() { set_now(world_.now()); }

void SimLoop::turn(Instant until) {
  CHECK(!in_turn_);
  // A turn that does not wait takes time all the same: else who asks again and again would stop the
  // clock.
  if (until <= world_.now()) until = world_.now() + 1us;
  const std::uint64_t before = turns_;
  if (world_.run_until_instant([&] { return turns_ != before; }, until)) return;
  if (until == Instant::never()) {
    std::fprintf(stderr, "sim: %s waits for ever: nothing is left to happen\n",
                 host_.name().c_str());
    CHECK(until != Instant::never());
  }
  if (!host_.paused()) run_turn();
}

void SimLoop::run_turn() {
  in_turn_ = true;
  sent_ = 0;
  ++turns_;
  turn_at_ = Instant::never();
  set_now(world_.now());

  // What becomes ready from here on is for the next turn.
  std::deque<Entry> batch;
  batch.swap(ready_);
  for (const Entry& e : batch)
    if (alive(e)) ops_[e.slot].queued = false;
  for (std::size_t n = 0; n < kCompletionsPerTurn && !batch.empty(); ++n) {
    const Entry e = batch.front();
    batch.pop_front();
    if (step(e)) batch.push_back(e);
  }
  for (const Entry& e : batch)
    if (alive(e)) queue(e.slot);

  for (std::size_t n = mailbox_.size(); n > 0; --n) {
    const std::unique_ptr<io::Message> message = std::move(mailbox_.front());
    mailbox_.pop_front();
    message->run();
  }
  run_timers_and_tasks();
  in_turn_ = false;
}

bool SimLoop::post(std::unique_ptr<io::Message> message) {
  if (mailbox_.size() >= limits::kMailboxMessagesMax) return false;
  mailbox_.push_back(std::move(message));
  turn_at_ = std::min(turn_at_, world_.now() + 1us);
  return true;
}

// --- operations ---

bool SimLoop::alive(const Entry& e) const {
  return slot(e.slot).busy && slot(e.slot).generation == e.generation;
}

void SimLoop::queue(std::uint32_t index) {
  OpState& op = ops_[index];
  if (op.queued) return;
  op.queued = true;
  ready_.push_back({index, slot(index).generation});
  const auto wait = static_cast<std::int64_t>(1000 + world_.prng().below(kWakeUpNsMax));
  turn_at_ = std::min(turn_at_, world_.now() + Duration{wait});
}

void SimLoop::touch(std::uint32_t index) { queue(index); }

void SimLoop::descriptor_closed(std::uint32_t index) {
  ops_[index].closed = ops_[index].cancelled = true;
  queue(index);
}

SimLoop::OpState& SimLoop::start(std::uint32_t index, Kind kind, int fd) {
  if (ops_.size() <= index) ops_.resize(index + 1);
  OpState& op = ops_[index] = OpState{};
  op.kind = kind;
  op.fd = fd;
  if (SimSocket* s = host_.find(fd)) {
    s->ops.push_back({this, index});
  } else {
    op.closed = true;
    op.failed = EBADF;
  }
  queue(index);
  return op;
}

void SimLoop::start_accept(std::uint32_t index, int fd) { start(index, Kind::Accept, fd); }
void SimLoop::start_receive(std::uint32_t index, int fd) { start(index, Kind::Receive, fd); }
void SimLoop::start_receive_once(std::uint32_t index, int fd) {
  start(index, Kind::ReceiveOnce, fd);
}
void SimLoop::start_receive_datagrams(std::uint32_t index, int fd) {
  start(index, Kind::Datagrams, fd);
}

void SimLoop::start_poll(std::uint32_t index, int fd, int ready) {
  OpState& op = start(index, Kind::Poll, fd);
  op.wanted = ready;
  op.spurious = world_.prng().chance(host_.faults.spurious_wakeup);
}

void SimLoop::start_connect(std::uint32_t index, int fd, const Address& to) {
  OpState& op = start(index, Kind::Connect, fd);
  SimSocket* s = host_.find(fd);
  if (s == nullptr) return;
  if (s->kind != SimSocket::Kind::Fresh) {
    op.failed = EISCONN;
    return;
  }
  const IpAddress ip = to.ip.is_any() ? IpAddress::loopback4() : to.ip;  // as Linux takes it
  s->kind = SimSocket::Kind::Stream;
  s->local = {host_.source_for(ip), host_.ephemeral_port()};
  s->peer = {ip, to.port};
  s->connection = world_.tcp().connect(host_, fd, s->local, s->peer);
  s->side = 0;
}

void SimLoop::start_cancel(std::uint32_t index) {
  ops_[index].cancelled = true;
  queue(index);
}

void SimLoop::close_raw(int fd) { host_.close(fd); }

// Ends the operation. May destroy anything that a handler may.
bool SimLoop::finish(std::uint32_t index, int result, Bytes data) {
  const OpState& op = ops_[index];
  if (SimSocket* s = op.closed ? nullptr : host_.find(op.fd))
    std::erase_if(s->ops, [&](const auto& ref) { return ref.loop == this && ref.slot == index; });
  return complete(index, {.result = result, .more = false, .data = data});
}

bool SimLoop::step(const Entry& e) {
  if (!alive(e)) return false;
  OpState& op = ops_[e.slot];
  if (op.cancelled || op.failed != 0) {
    const bool late = !op.closed && op.failed == 0 && world_.prng().chance(host_.faults.late_data);
    if (late) attempt(e.slot);
    if (alive(e)) finish(e.slot, ops_[e.slot].failed != 0 ? -ops_[e.slot].failed : -ECANCELED);
    return false;
  }
  return attempt(e.slot) && alive(e) && !ops_[e.slot].queued;
}

bool SimLoop::attempt(std::uint32_t index) {
  SimSocket* s = host_.find(ops_[index].fd);
  CHECK(s != nullptr);  // closing cancels
  switch (ops_[index].kind) {
    case Kind::Accept: return attempt_accept(index, *s);
    case Kind::Connect: return attempt_connect(index, *s);
    case Kind::Receive:
    case Kind::ReceiveOnce: return attempt_receive(index, *s);
    case Kind::Datagrams: return attempt_datagrams(index, *s);
    case Kind::Poll: return attempt_poll(index, *s);
  }
  return false;
}

bool SimLoop::attempt_accept(std::uint32_t index, SimSocket& s) {
  if (s.kind != SimSocket::Kind::Listener) return finish(index, -EINVAL);
  if (s.waiting.empty()) return false;
  if (host_.out_of_descriptors()) return finish(index, -EMFILE);
  const TcpId id = s.waiting.front();
  s.waiting.pop_front();
  const TcpEnd& end = world_.tcp().end(id, 1);
  SimSocket& accepted = host_.open(SimSocket::Kind::Stream);
  accepted.connection = id;
  accepted.side = 1;
  accepted.local = end.local;
  accepted.peer = end.peer;
  const int fd = accepted.fd;
  world_.tcp().accepted(id, fd);
  world_.trace("accept", host_, id);
  if (!complete(index, {.result = fd, .more = true})) host_.close(fd);
  return true;
}

bool SimLoop::attempt_connect(std::uint32_t index, SimSocket& s) {
  switch (world_.tcp().end(s.connection, s.side).state) {
    case TcpEnd::State::Connecting: return false;
    case TcpEnd::State::Open: return finish(index, 0);
    case TcpEnd::State::Dead: break;
  }
  const int error = world_.tcp().take_error(s.connection, s.side);
  return finish(index, error != 0 ? -error : -ECONNABORTED);
}

bool SimLoop::attempt_receive(std::uint32_t index, SimSocket& s) {
  if (s.kind != SimSocket::Kind::Stream) return finish(index, -ENOTCONN);
  TcpNet& tcp = world_.tcp();
  const Bytes there = tcp.readable(s.connection, s.side);
  if (there.empty()) {
    if (const int error = tcp.take_error(s.connection, s.side)) return finish(index, -error);
    return tcp.at_end(s.connection, s.side) && finish(index, 0);
  }
  std::size_t n = std::min(there.size(), limits::kReceiveBufferBytes);
  if (world_.prng().chance(host_.faults.fragment)) {
    // Often tiny: parsers break where their input does.
    n = 1 + world_.prng().below(world_.prng().chance(0.2) ? std::min<std::size_t>(n, 8) : n);
  }
  // A copy of its own size, so that a sanitizer sees who reads it after the handler has returned.
  const ByteVector data(there.begin(), there.begin() + static_cast<std::ptrdiff_t>(n));
  tcp.consume(s.connection, s.side, n);
  if (ops_[index].kind == Kind::ReceiveOnce) return finish(index, static_cast<int>(n), data);
  complete(index, {.result = static_cast<int>(n), .more = true, .data = data});
  return true;
}

// How many of the first datagrams make one completion: equal in size but the last, from one sender.
std::size_t SimLoop::coalesced(const SimSocket& s) {
  const Datagram& first = s.received.front();
  std::size_t n = 1, bytes = first.bytes.size();
  if (bytes == 0 || !world_.prng().chance(host_.faults.coalesce)) return 1;
  const std::size_t most = 1 + world_.prng().below(kSegmentsMax);
  while (n < most && n < s.received.size()) {
    const Datagram& d = s.received[n];
    const std::size_t size = d.bytes.size();
    if (d.from != first.from || d.to != first.to || d.ecn != first.ecn || size == 0 ||
        size > first.bytes.size() || bytes + size > limits::kDatagramBufferBytes - 512)
      break;
    bytes += size;
    ++n;
    if (size < first.bytes.size()) break;
  }
  return n;
}

bool SimLoop::attempt_datagrams(std::uint32_t index, SimSocket& s) {
  if (s.kind != SimSocket::Kind::Datagram) return finish(index, -ENOTSOCK);
  if (const int error = std::exchange(s.error, 0)) return finish(index, -error);
  if (s.received.empty()) return false;
  const std::size_t n = coalesced(s);
  const Datagram first = std::move(s.received.front());
  ByteVector data = first.bytes;
  s.received.pop_front();
  for (std::size_t i = 1; i < n; ++i) {
    const ByteVector& more = s.received.front().bytes;
    data.insert(data.end(), more.begin(), more.end());
    s.received.pop_front();
  }
  s.received_bytes -= data.size();
  const auto segment = static_cast<std::uint16_t>(n > 1 ? first.bytes.size() : 0);
  complete(index, {.result = static_cast<int>(data.size()),
                   .more = true,
                   .data = data,
                   .peer = first.from,
                   .local = first.to,
                   .segment_bytes = segment,
                   .ecn = first.ecn});
  return true;
}

int SimLoop::ready_bits(const SimSocket& s) const {
  switch (s.kind) {
    case SimSocket::Kind::Fresh: return io::kReadable | io::kWritable;  // Linux: hang-up
    case SimSocket::Kind::Listener: return s.waiting.empty() ? 0 : io::kReadable;
    case SimSocket::Kind::Stream: return world_.tcp().ready(s.connection, s.side);
    case SimSocket::Kind::Datagram: break;
  }
  if (s.error != 0) return io::kReadable | io::kWritable;
  return (s.received.empty() ? 0 : io::kReadable) |
         (world_.now() >= s.writable_at ? io::kWritable : 0);
}

bool SimLoop::attempt_poll(std::uint32_t index, SimSocket& s) {
  const OpState& op = ops_[index];
  const int bits = op.spurious ? op.wanted : ready_bits(s) & op.wanted;
  if (bits == 0) return false;
  return finish(index, bits);
}

}  // namespace adit::sim
