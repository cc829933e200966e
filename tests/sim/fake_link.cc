#include "sim/fake_link.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace adit::sim {

using flow::CarrierStream;

void FakeWire::cut() {
  cut_ = true;
  for (FakeCarrier* end : end_)
    if (end != nullptr && !end->closed_) end->inbox_.clear();
}

void FakeWire::deliver(int to, FakeCarrier::Event event) {
  FakeCarrier* end = end_[to];
  if (cut_ || end == nullptr || end->closed_) return;
  const auto spread = static_cast<std::uint64_t>(options_.delay_max.count());
  Instant at = end->loop_.now() + Duration{static_cast<std::int64_t>(prng_.below(spread))};
  Instant& last = last_[{to, event.kind, event.stream}];
  at = last = std::max(at, last);
  end->inbox_.emplace(at, std::move(event));
  end->arm();
}

FakeCarrier::FakeCarrier(FakeWire& wire, int side, io::Loop& loop)
    : wire_(wire),
      side_(side),
      loop_(loop),
      timer_(loop, Delegate<void()>::to<&FakeCarrier::on_timer>(this)),
      flush_(Delegate<void()>::to<&FakeCarrier::flush>(this)) {
  wire_.end_[side_] = this;
  inbox_.emplace(loop_.now(), Event{Kind::Up});
  arm();
}

FakeCarrier::~FakeCarrier() {
  wire_.end_[side_] = nullptr;
  if (destroyed_ != nullptr) *destroyed_ = true;
}

Prng& FakeCarrier::prng() { return wire_.prng_; }

void FakeCarrier::send(Event event) { wire_.deliver(side_ ^ 1, std::move(event)); }

FakeCarrier::Stream* FakeCarrier::find(CarrierStream id) {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

const FakeCarrier::Stream* FakeCarrier::find(CarrierStream id) const {
  const auto found = streams_.find(id);
  return found == streams_.end() ? nullptr : &found->second;
}

// --- the face ---

Status FakeCarrier::send_control(Bytes bytes) {
  while (!bytes.empty() && !closed_) {
    const std::size_t n = std::min<std::size_t>(
        bytes.size(), 1 + prng().below(wire_.options_.control_chunk_max));
    send({Kind::Control, 0, 0, false,
          ByteVector(bytes.begin(), bytes.begin() + static_cast<int>(n))});
    bytes = bytes.subspan(n);
  }
  return {};
}

Result<CarrierStream> FakeCarrier::open_stream() {
  CHECK(side_ == 0);
  if (closed_) return Error{ENOTCONN, "closed"};
  if (open_ >= wire_.options_.streams_max) return Error{EAGAIN, "the limit of streams"};
  ++open_;
  const CarrierStream id = next_id_++;
  streams_[id].window = wire_.options_.window_bytes;
  return id;
}

void FakeCarrier::attach(CarrierStream id, flow::StreamSource* source) {
  Stream* s = find(id);
  if (s == nullptr || s->closed || closed_) return;
  CHECK(s->source == nullptr);
  s->source = source;
  loop_.run_later(flush_);
}

void FakeCarrier::detach(CarrierStream id) {
  Stream* s = find(id);
  if (s == nullptr) return;
  s->source = nullptr;
  if (!s->in_flight.empty()) reset(id, 0);
}

void FakeCarrier::wake(CarrierStream) { loop_.run_later(flush_); }

Bytes FakeCarrier::readable(CarrierStream id) const {
  const Stream* s = find(id);
  if (s == nullptr) return {};
  return Bytes(s->received);
}

void FakeCarrier::consume(CarrierStream id, std::size_t n) {
  if (n == 0) return;
  Stream* s = find(id);
  CHECK(s != nullptr && n <= s->received.size());
  // Into fresh memory: who still looks at the old bytes is found out.
  s->received = ByteVector(s->received.begin() + static_cast<std::ptrdiff_t>(n), s->received.end());
  s->consumed += n;
  if (!closed_) send({Kind::Window, id, s->consumed + wire_.options_.window_bytes});
  loop_.run_later(flush_);
}

bool FakeCarrier::at_end(CarrierStream id) const {
  const Stream* s = find(id);
  return s != nullptr && s->fin_received && s->received.empty() && !s->reset_by_peer &&
         !s->reset_by_us;
}

void FakeCarrier::reset(CarrierStream id, std::uint64_t code) {
  Stream* s = find(id);
  if (s == nullptr || closed_) return;
  s->source = nullptr;
  s->in_flight.clear();
  s->received.clear();
  if (s->closed || std::exchange(s->reset_by_us, true)) return;
  s->send_shut = true;
  if (!s->reset_by_peer) send({Kind::Reset, id, code});
}

void FakeCarrier::close(std::uint64_t code, std::string_view) {
  if (closed_) return;
  send({Kind::Down, 0, code, true});
  closed_ = true;
  forget_sources();
  inbox_.emplace(loop_.now(), Event{Kind::Down, 0, code});
  arm();
}

void FakeCarrier::lose(Instant at) {
  if (closed_) return;
  inbox_.emplace(at, Event{Kind::Down});
  arm();
}

void FakeCarrier::forget_sources() {
  for (auto& [id, s] : streams_) {
    s.source = nullptr;
    s.in_flight.clear();
  }
}

// --- sending ---

void FakeCarrier::check(const Segment& segment) const {
  EXPECT_EQ(std::memcmp(segment.at, segment.copy.data(), segment.copy.size()), 0)
      << "what was sent has changed before it was acknowledged";
}

void FakeCarrier::flush() {
  if (closed_) return;
  collect();
  for (auto& [id, s] : streams_) {
    send_some(id, s);
    // A packet is lost now and then, and its bytes are read again.
    if (!s.in_flight.empty() && prng().chance(0.2))
      check(s.in_flight[prng().below(s.in_flight.size())]);
  }
}

void FakeCarrier::send_some(CarrierStream id, Stream& s) {
  while (s.source != nullptr && !s.send_shut && !s.fin_sent) {
    const Bytes bytes = s.source->peek(s.sent);
    const std::uint64_t n = std::min<std::uint64_t>(
        {bytes.size(), s.window - s.sent, 1 + prng().below(wire_.options_.segment_bytes_max)});
    const bool fin = s.source->ends_at(s.sent + n);
    if (n == 0 && !fin) return;
    const ByteVector copy(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    if (n > 0) s.in_flight.push_back({s.sent, bytes.data(), copy});
    send({Kind::Data, id, s.sent, fin, copy});
    s.sent += n;
    s.fin_sent = fin;
  }
}

// --- receiving ---

void FakeCarrier::arm() {
  timer_.set(inbox_.empty() ? Instant::never() : inbox_.begin()->first);
}

// What is due is taken together, as the events of a datagram are.
void FakeCarrier::on_timer() {
  std::vector<Event> due;
  while (!inbox_.empty() && inbox_.begin()->first <= loop_.now())
    due.push_back(std::move(inbox_.extract(inbox_.begin()).mapped()));
  bool destroyed = false;
  destroyed_ = &destroyed;
  for (Event& event : due) {
    handle(event);
    if (destroyed) return;
    if (down_) break;
  }
  destroyed_ = nullptr;
  // As a QUIC connection does when it is drained, right behind the events.
  flush();
  if (!down_) arm();
}

FakeCarrier::Stream& FakeCarrier::of_peer(CarrierStream id) {
  const auto [at, fresh] = streams_.try_emplace(id);
  if (fresh) {
    CHECK(side_ == 1);
    at->second.window = wire_.options_.window_bytes;
    listener_->on_stream_opened(id);
  }
  return at->second;
}

void FakeCarrier::handle(Event& event) {
  switch (event.kind) {
    case Kind::Up: return listener_->on_up();
    case Kind::Control: return listener_->on_control(event.bytes);
    case Kind::Data: return handle_data(event);
    case Kind::Acked: return handle_acked(event);
    case Kind::Window:
      if (Stream* s = find(event.stream)) s->window = std::max(s->window, event.number);
      return;
    case Kind::Reset: return handle_reset(event);
    case Kind::Credit: --open_; return;
    case Kind::Down:
      closed_ = down_ = true;
      forget_sources();
      return listener_->on_down(
          flow::CarrierDown{event.number, true, event.flag, event.number == 0, "down"});
  }
}

void FakeCarrier::handle_data(Event& event) {
  if (closed_ || forgotten_.contains(event.stream)) return;
  Stream& s = of_peer(event.stream);
  if (closed_ || s.reset_by_peer || s.reset_by_us) return;
  CHECK(event.number == s.consumed + s.received.size());
  s.received.insert(s.received.end(), event.bytes.begin(), event.bytes.end());
  CHECK(s.received.size() <= wire_.options_.window_bytes);
  s.fin_received |= event.flag;
  send({Kind::Acked, event.stream, event.number + event.bytes.size(), event.flag});
  bool* destroyed = destroyed_;
  listener_->on_stream_readable(event.stream);
  if (!*destroyed) close_if_done(event.stream);
}

void FakeCarrier::handle_acked(Event& event) {
  Stream* s = find(event.stream);
  if (s == nullptr || s->send_shut || closed_) return;
  std::erase_if(s->in_flight, [this, &event](const Segment& segment) {
    if (segment.offset + segment.copy.size() > event.number) return false;
    check(segment);
    return true;
  });
  if (s->source != nullptr) s->source->acked(event.number);
  s->fin_acked |= event.flag;
  close_if_done(event.stream);
}

void FakeCarrier::handle_reset(Event& event) {
  if (closed_) return;
  // Also where both directions had ended here and the peer does not know yet.
  if (!event.flag) send({Kind::Reset, event.stream, event.number, true});
  if (forgotten_.contains(event.stream)) return;
  Stream& s = of_peer(event.stream);
  if (closed_ || s.closed) return;
  bool* destroyed = destroyed_;
  if (!std::exchange(s.reset_by_peer, true)) {
    s.received.clear();
    s.in_flight.clear();
    s.send_shut = true;
    listener_->on_stream_reset(event.stream, event.number);
  }
  if (!*destroyed) close_if_done(event.stream);
}

void FakeCarrier::close_if_done(CarrierStream id) {
  Stream* s = find(id);
  if (s == nullptr || s->closed || closed_) return;
  if (!s->reset_by_peer && !(s->fin_acked && s->fin_received)) return;
  s->closed = true;
  s->source = nullptr;
  listener_->on_stream_closed(id);
}

void FakeCarrier::collect() {
  for (auto it = streams_.begin(); it != streams_.end();) {
    if (!it->second.closed || !it->second.received.empty()) {
      ++it;
      continue;
    }
    forgotten_.insert(it->first);
    if (side_ == 1) send({Kind::Credit});
    it = streams_.erase(it);
  }
}

}  // namespace adit::sim
