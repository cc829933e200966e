#include "flow/quic_link.h"

#include <cerrno>

#include "base/limits_turn.h"

namespace adit::flow {

namespace {
constexpr std::size_t kDatagramsAhead = 32;
}  // namespace

QuicLink::QuicLink(io::Loop& loop, DatagramPort& port, std::unique_ptr<quic::Connection> connection,
                   bool control_opener, Delegate<void(QuicLink&)> after_feed,
                   Delegate<void(QuicLink&)> gone)
    : loop_(loop),
      port_(&port),
      connection_(std::move(connection)),
      control_opener_(control_opener),
      after_feed_(after_feed),
      gone_(gone),
      timer_(loop, Delegate<void()>::to<&QuicLink::on_timer>(this)),
      flush_(Delegate<void()>::to<&QuicLink::flush>(this)) {
  loop_.run_later(flush_);
}

QuicLink::~QuicLink() {
  if (gone_) gone_(*this);
  if (destroyed_ != nullptr) *destroyed_ = true;
}

void QuicLink::feed(const quic::Path& path, std::uint8_t ecn, Bytes bytes,
                    std::size_t segment_bytes) {
  if (segment_bytes == 0) segment_bytes = bytes.size();
  while (!bytes.empty()) {
    const std::size_t n = std::min(segment_bytes, bytes.size());
    connection_->feed(path, ecn, bytes.first(n), loop_.now());
    bytes = bytes.subspan(n);
  }
  loop_.run_later(flush_);
}

Status QuicLink::migrate(DatagramPort& port, const quic::Path& path) {
  port_ = &port;
  give_back(unsent_);
  auto moved = connection_->migrate(path, loop_.now());
  loop_.run_later(flush_);
  return moved;
}

void QuicLink::on_timer() {
  had_turn_ = false;
  connection_->on_deadline(loop_.now());
  loop_.run_later(flush_);
}

// Once a turn: events out, then datagrams out. Events may cause more of both; the task comes again
// then.
void QuicLink::flush() {
  bool destroyed = false;
  destroyed_ = &destroyed;
  if (after_feed_) after_feed_(*this);
  dispatch();
  if (destroyed) return;
  destroyed_ = nullptr;
  // Links take turns, and one has sent its part: the next is not in this turn of the loop, whatever
  // else comes for it.
  if (!had_turn_) had_turn_ = send_all();
  // Sending may have ended the connection: its last event is for now, not for the next timer.
  if (connection_->closed() && !down_) loop_.run_later(flush_);
  if (after_feed_) after_feed_(*this);
  timer_.set(had_turn_ ? loop_.now() : connection_->next_deadline());
}

// A few ahead of what the pacer lets go: what waits here is not dropped for something newer.
void QuicLink::take_datagrams() {
  if (datagrams_ == nullptr || connection_->closed()) return;
  const std::size_t longest = datagram_bytes_max();
  while (longest > 0 && connection_->datagrams_waiting() < kDatagramsAhead) {
    const ByteVector datagram = datagrams_->next_datagram(longest);
    if (datagram.empty() || !connection_->send_datagram(datagram)) return;
  }
}

bool QuicLink::send_all() {
  alignas(64) static thread_local std::uint8_t buffer[64 * 1024];
  std::size_t total = 0;
  for (;;) {
    const bool kept = !unsent_.empty();
    if (!kept) take_datagrams();
    const quic::Outgoing batch = kept ? unsent_batch_ : connection_->drain(buffer, loop_.now());
    if (batch.bytes.empty()) return false;
    auto sent = port_->send(batch);
    // An error (unreachable network, no route) is a lost packet to QUIC: its timers decide.
    const std::size_t n = sent ? *sent : batch.bytes.size();
    if (n < batch.bytes.size()) {
      ByteVector rest(batch.bytes.begin() + static_cast<std::ptrdiff_t>(n), batch.bytes.end());
      unsent_ = std::move(rest);
      unsent_batch_ = batch;
      unsent_batch_.bytes = unsent_;
      port_->wait_writable(*this);
      return false;
    }
    if (kept) give_back(unsent_);
    total += n;
    if (total >= limits::kLinkTurnBytesMax) return true;
  }
}

void QuicLink::dispatch() {
  for (const quic::Event& event : connection_->take_events()) {
    bool* destroyed = destroyed_;
    std::visit([this](const auto& e) { handle(e); }, event);
    if (*destroyed) return;
  }
}

void QuicLink::handle(const quic::HandshakeDone&) {
  if (control_opener_) {
    auto id = connection_->open_stream();
    if (!id) return close(0x2, "the relay allows no control channel");
    control_ = *id;
    connection_->attach(*control_, &control_out_);
  }
  listener_->on_up();
}

void QuicLink::handle(const quic::StreamOpened& e) {
  if (control_opener_) return listener_->on_stream_opened(e.id);
  // The agent opens one stream, the control channel; the rest are opened by the relay.
  if (control_) return close(0x2, "a second stream opened by the agent");
  control_ = e.id;
  connection_->attach(*control_, &control_out_);
}

void QuicLink::handle(const quic::StreamReadable& e) {
  if (control_ == e.id) return read_control();
  listener_->on_stream_readable(e.id);
}

void QuicLink::read_control() {
  bool* destroyed = destroyed_;
  for (;;) {
    const Bytes bytes = connection_->readable(*control_);
    if (bytes.empty()) break;
    // Consumed first: the listener may close or destroy the link. The engine keeps the bytes in
    // place until the credit is used, so a copy is needed.
    const ByteVector copy(bytes.begin(), bytes.end());
    connection_->consume(*control_, copy.size());
    listener_->on_control(copy);
    if (*destroyed || down_) return;
  }
  if (connection_->at_end(*control_)) close(0x2, "the control channel was ended");
}

void QuicLink::handle(const quic::StreamReset& e) {
  if (control_ == e.id) return close(0x2, "the control channel was reset");
  listener_->on_stream_reset(e.id, e.code);
}

void QuicLink::handle(const quic::StreamStopped& e) {
  if (control_ == e.id) return close(0x2, "the control channel was stopped");
  listener_->on_stream_reset(e.id, e.code);
}

void QuicLink::handle(const quic::StreamClosed& e) {
  if (control_ != e.id) listener_->on_stream_closed(e.id);
}

void QuicLink::handle(const quic::PathChanged& e) { listener_->on_path_changed(e.path.peer); }

void QuicLink::handle(const quic::Closed& e) {
  if (down_) return;
  down_ = true;
  // What is left of the connection (the CONNECTION_CLOSE) goes out before the owner may destroy it.
  send_all();
  listener_->on_down(CarrierDown{e.code, e.application, e.by_peer, e.timeout, e.reason});
}

Status QuicLink::send_control(Bytes bytes) {
  if (!control_) return Error{ENOTCONN, "no control channel"};
  if (control_out_.ring.size() + bytes.size() > kControlQueueBytesMax)
    return Error{ENOBUFS, "the peer does not read its control channel"};
  control_out_.ring.append(bytes);
  wake(*control_);
  return {};
}

Result<CarrierStream> QuicLink::open_stream() { return connection_->open_stream(); }

void QuicLink::attach(CarrierStream id, StreamSource* source) {
  connection_->attach(id, source);
  loop_.run_later(flush_);
}

void QuicLink::wake(CarrierStream id) {
  connection_->wake(id);
  loop_.run_later(flush_);
}

void QuicLink::consume(CarrierStream id, std::size_t n) {
  connection_->consume(id, n);
  loop_.run_later(flush_);
}

void QuicLink::reset(CarrierStream id, std::uint64_t code) {
  connection_->reset(id, code);
  connection_->stop_sending(id, code);
  connection_->detach(id);
  loop_.run_later(flush_);
}

CarrierStats QuicLink::stats() const {
  const quic::PathStats s = connection_->stats();
  return {"quic",         connection_->path().peer, s.rtt, s.bytes_sent, s.bytes_received,
          s.packets_lost, s.held_up};
}

void QuicLink::close(std::uint64_t code, std::string_view reason) {
  connection_->close(code, reason, loop_.now());
  loop_.run_later(flush_);
}

}  // namespace adit::flow
