#include "flow/h2_link.h"

#include <cerrno>

#include "base/limits_turn.h"

namespace adit::flow {

namespace {
constexpr std::string_view kControlPath = "/.adit/control", kStreamPath = "/.adit/stream";
constexpr std::size_t kDrainBytes = 64 * 1024;
constexpr Duration kLeaveDeadline = 1s;
// How a TLS alert is reported by QUIC (RFC 9001 §4.8), and by this carrier too.
constexpr std::uint64_t kAlertBase = 0x100;
constexpr std::uint8_t kNoApplicationProtocol = 120;  // RFC 7301 §3.2
constexpr std::uint64_t kProtocolViolation = 0x2;     // link::CloseCode::Protocol
}  // namespace

H2Link::H2Link(io::Loop& loop, std::unique_ptr<TlsStream> stream, std::string_view name,
               const Address& peer, h2::Connection::Role role, const h2::Settings& settings,
               std::string_view authority)
    : loop_(loop),
      stream_(std::move(stream)),
      name_(name),
      peer_(peer),
      role_(role),
      engine_(role, settings, authority, loop.now()),
      timer_(loop, Delegate<void()>::to<&H2Link::on_timer>(this)),
      flush_(Delegate<void()>::to<&H2Link::flush>(this)) {
  stream_->set_listener(this);
  stream_->start();
  loop_.run_later(flush_);  // what TLS does not take yet makes it say when it does
}

H2Link::~H2Link() {
  Witness::tell(witness_);
  stream_->set_listener(nullptr);
}

// --- from the stream -----------------------------------------------------------------------------

// A WebPKI client may not speak before it knows whom it speaks to; both ends wait for TLS.
bool H2Link::handshake_done() {
  if (state_ != State::Handshake) return true;
  if (!stream_->session().handshake_done()) return false;
  if (stream_->session().alpn() != kH2LinkAlpn) {
    down_ = {kAlertBase + kNoApplicationProtocol, false, false, false, "the peer speaks no adit"};
    go_down();
    return false;
  }
  state_ = State::Up;
  if (role_ == h2::Connection::Role::Server) return true;  // up when the relay has said so
  if (auto id = engine_.open_stream(kControlPath); id) {
    control_ = *id;
    engine_.attach(*id, &control_out_);
  }
  Witness witness(witness_);
  listener_->on_up();
  return !witness.destroyed();
}

void H2Link::on_readable() {
  if (!handshake_done()) return;
  for (Bytes bytes = stream_->readable(); !bytes.empty(); bytes = stream_->readable()) {
    bytes_received_ += bytes.size();
    if (state_ == State::Up) engine_.feed(bytes, loop_.now());
    stream_->consume(bytes.size());
  }
  loop_.run_later(flush_);
}

void H2Link::on_writable() {
  if (handshake_done()) loop_.run_later(flush_);
}

void H2Link::on_failed(const Error& error) {
  if (state_ == State::Up || state_ == State::Handshake) {
    down_ = {};
    down_.reason = error.what;
    down_.timeout = error.code == ETIMEDOUT;
    if (const auto alert = stream_->session().alert_sent(); alert && *alert != 0) {
      down_.code = kAlertBase + *alert;
    } else if (const auto theirs = stream_->session().alert_received(); theirs && *theirs != 0) {
      down_.code = kAlertBase + *theirs;
      down_.by_peer = true;
    }
  }
  go_down();
}

// --- a turn --------------------------------------------------------------------------------------

void H2Link::on_timer() {
  if (state_ == State::Leaving) return go_down();
  if (state_ == State::Up) engine_.on_deadline(loop_.now());
  had_turn_ = false;
  loop_.run_later(flush_);
}

void H2Link::flush() {
  if (state_ == State::Down) return;
  {
    Witness witness(witness_);
    dispatch(witness);
    if (witness.destroyed()) return;
  }
  // Links take turns, and one has sent its part: the next is not in this turn of the loop, whatever
  // else comes for it.
  if (!had_turn_) had_turn_ = send_all();
  if (state_ == State::Leaving) {
    // All is with TLS, and the end behind it; or it will not be.
    if (rest_.empty()) stream_->finish();
    if (stream_->at_end()) return go_down();
  } else if (state_ == State::Up && stream_->at_end()) {
    down_ = {0, false, true, false, "closed without a goodbye"};
    return go_down();
  }
  set_timer();
}

void H2Link::set_timer() {
  switch (state_) {
    case State::Handshake: return;  // the owner's deadline
    case State::Up: return timer_.set(had_turn_ ? loop_.now() : engine_.next_deadline());
    case State::Leaving: return timer_.set(leave_at_);
    case State::Down: return timer_.stop();
  }
}

// False: TLS is full, and says when it is not.
bool H2Link::write_rest() {
  const std::size_t n = stream_->write(Bytes(rest_).subspan(rest_at_));
  bytes_sent_ += n;
  rest_at_ += n;
  if (rest_at_ < rest_.size()) return false;
  give_back(rest_);
  rest_at_ = 0;
  return true;
}

// True: more could be sent, but others should run first.
bool H2Link::send_all() {
  std::size_t total = 0;
  if (!rest_.empty() && !write_rest()) return false;
  while (total < limits::kLinkTurnBytesMax) {
    const Bytes bytes = engine_.drain(kDrainBytes, loop_.now());
    if (bytes.empty()) break;
    total += bytes.size();
    const std::size_t n = stream_->write(bytes);
    bytes_sent_ += n;
    if (n == bytes.size()) continue;
    rest_.assign(bytes.begin() + static_cast<std::ptrdiff_t>(n), bytes.end());
    break;
  }
  // Draining may have ended the connection: its last event is for now.
  if (engine_.closed() && state_ == State::Up) loop_.run_later(flush_);
  if (total < limits::kLinkTurnBytesMax || !rest_.empty()) return false;
  if (state_ == State::Up) return true;
  loop_.run_later(flush_);  // the last of a link that leaves; its timer is for that
  return false;
}

void H2Link::dispatch(const Witness& witness) {
  for (const h2::Event& event : engine_.take_events()) {
    if (const auto* readable = std::get_if<h2::StreamReadable>(&event);
        readable != nullptr && control_ == readable->id) {
      read_control(witness);
    } else {
      std::visit([this](const auto& e) { handle(e); }, event);
    }
    if (witness.destroyed() || state_ != State::Up) return;
  }
}

void H2Link::handle(const h2::StreamOpened& e) {
  if (e.path == kStreamPath && control_) return listener_->on_stream_opened(e.id);
  if (e.path != kControlPath || control_) return engine_.reset(e.id, kProtocolViolation);
  control_ = e.id;
  engine_.attach(e.id, &control_out_);
  listener_->on_up();
}

void H2Link::handle(const h2::StreamReadable& e) { listener_->on_stream_readable(e.id); }

void H2Link::read_control(const Witness& witness) {
  for (Bytes bytes = engine_.readable(*control_); !bytes.empty();
       bytes = engine_.readable(*control_)) {
    // Consumed first: the listener may close or destroy the link.
    const ByteVector copy(bytes.begin(), bytes.end());
    engine_.consume(*control_, copy.size());
    listener_->on_control(copy);
    if (witness.destroyed() || state_ != State::Up || engine_.closed()) return;
  }
  if (engine_.at_end(*control_)) close(kProtocolViolation, "the control channel was ended");
}

void H2Link::handle(const h2::StreamReset& e) {
  if (control_ == e.id) return close(kProtocolViolation, "the control channel was reset");
  listener_->on_stream_reset(e.id, e.code);
}

void H2Link::handle(const h2::StreamClosed& e) {
  if (control_ != e.id) listener_->on_stream_closed(e.id);
}

void H2Link::handle(const h2::Closed& e) {
  down_ = {e.code, e.application, e.by_peer, e.timeout, e.reason};
  if (e.timeout) {
    stream_->abort();
    return go_down();
  }
  if (e.by_peer) return go_down();
  state_ = State::Leaving;
  had_turn_ = false;  // the goodbye waits for nobody's turn, and the timer has another meaning now
  leave_at_ = loop_.now() + kLeaveDeadline;
}

void H2Link::go_down() {
  if (state_ == State::Down) return;
  state_ = State::Down;
  timer_.stop();
  listener_->on_down(down_);  // destroys this
}

// --- from the owner ------------------------------------------------------------------------------

Status H2Link::send_control(Bytes bytes) {
  if (!control_) return Error{ENOTCONN, "no control channel"};
  if (control_out_.ring.size() + bytes.size() > kControlQueueBytesMax)
    return Error{ENOBUFS, "the peer does not read its control channel"};
  control_out_.ring.append(bytes);
  wake(*control_);
  return {};
}

Result<CarrierStream> H2Link::open_stream() {
  auto id = engine_.open_stream(kStreamPath);
  if (!id && id.error().code == EOVERFLOW) close(0x0, "stream ids are used up");
  if (id) loop_.run_later(flush_);
  return id;
}

void H2Link::attach(CarrierStream id, StreamSource* source) {
  engine_.attach(id, source);
  loop_.run_later(flush_);
}

void H2Link::detach(CarrierStream id) {
  engine_.detach(id);
  loop_.run_later(flush_);
}

void H2Link::wake(CarrierStream id) {
  engine_.wake(id);
  loop_.run_later(flush_);
}

void H2Link::consume(CarrierStream id, std::size_t n) {
  engine_.consume(id, n);
  loop_.run_later(flush_);
}

void H2Link::reset(CarrierStream id, std::uint64_t code) {
  engine_.reset(id, code);
  loop_.run_later(flush_);
}

void H2Link::forget_handshake(std::string_view label, std::size_t n) {
  auto kept = export_keying_material(label, n);
  if (kept) {
    kept_label_ = label;
    kept_ = std::move(*kept);
  }
  stream_->forget_keying_material();
}

CarrierStats H2Link::stats() const {
  return {name_, peer_, engine_.rtt(), bytes_sent_, bytes_received_, 0, false};
}

void H2Link::close(std::uint64_t code, std::string_view reason) {
  if (state_ == State::Handshake) {
    // There is nobody to say it to.
    down_ = {code, true, false, false, std::string(reason)};
    stream_->abort();
    state_ = State::Leaving;
    leave_at_ = loop_.now();
    return timer_.set(leave_at_);
  }
  engine_.close(code, reason);
  loop_.run_later(flush_);
}

}  // namespace adit::flow
