#include "flow/ws_stream.h"

#include <algorithm>
#include <utility>
#include <variant>

namespace adit::flow {

namespace {
// One message, and what is decoded ahead of the listener: a TLS record and its head, some times.
constexpr std::size_t kMessageBytes = 16 * 1024;
constexpr std::size_t kReceivedBytesMax = 64 * 1024;

ws::Settings settings_of(ws::Role role) {
  ws::Settings s;
  s.role = role;
  return s;
}
}  // namespace

WsStream::WsStream(io::Loop& loop, std::unique_ptr<Duplex> inner, ws::Role role)
    : loop_(loop),
      inner_(std::move(inner)),
      engine_(settings_of(role)),
      task_(Delegate<void()>::to<&WsStream::advance>(this)) {
  inner_->set_listener(this);
}

WsStream::~WsStream() {
  Witness::tell(witness_);
  inner_->set_listener(nullptr);
}

void WsStream::start() {
  inner_->start();
  loop_.run_later(task_);
}

// The one step, whatever woke us; never from inside a call into this object.
void WsStream::advance() {
  if (failed_) return;
  push();
  if (const Status taken = take_input(); !taken) return fail(taken.error());
  push();  // answers to pings
  Witness witness(witness_);
  if (listener_ != nullptr && (!received_.empty() || at_end())) listener_->on_readable();
  if (witness.destroyed() || failed_ || listener_ == nullptr) return;
  const bool room = blocked_ && engine_.output().empty();
  const bool flushed_now = !flush_told_ && flushed();
  if (room) blocked_ = false;
  if (flushed_now) flush_told_ = true;
  if (room || flushed_now) listener_->on_writable();
}

Status WsStream::take_input() {
  while (received_.size() < kReceivedBytesMax && !peer_closed_) {
    const Bytes bytes = inner_->readable();
    if (bytes.empty()) {
      if (!inner_->at_end()) return {};
      return Error{0, "the WebSocket was cut: it ended without a CLOSE"};
    }
    const Bytes piece = bytes.first(std::min(bytes.size(), kMessageBytes));
    engine_.feed(piece);
    inner_->consume(piece.size());
    if (Status ok = take_events(); !ok) return ok;
  }
  return {};
}

Status WsStream::take_events() {
  const auto refuse = [this](ws::CloseCode code, const std::string& why) {
    engine_.close(code, why);
    push();
    return Error{0, "WebSocket: " + why};
  };
  for (const ws::Event& e : engine_.take_events()) {
    if (const auto* m = std::get_if<ws::MessagePiece>(&e)) {
      if (m->kind == ws::Kind::Text)
        return refuse(ws::CloseCode::Unsupported, "a text message in a stream of bytes");
      received_.append(m->bytes);
    } else if (std::holds_alternative<ws::PeerClosed>(e)) {
      peer_closed_ = true;
    } else if (const auto* f = std::get_if<ws::Failed>(&e)) {
      return refuse(f->code, f->reason);
    }
  }
  return {};
}

void WsStream::consume(std::size_t n) {
  received_.release(received_.begin() + n);
  // What waits on the inner end is decoded outside of the caller's call.
  if (n > 0) loop_.run_later(task_);
}

std::size_t WsStream::write(Bytes bytes) {
  if (failed_) return 0;
  std::size_t taken = 0;
  while (taken < bytes.size() && engine_.output().empty()) {
    const Bytes piece = bytes.subspan(taken, std::min(bytes.size() - taken, kMessageBytes));
    engine_.send(ws::Kind::Binary, piece);
    taken += piece.size();
    push();
  }
  if (taken < bytes.size()) blocked_ = true;
  return taken;
}

// Moves frames to the inner end; behind CLOSE its direction ends too.
void WsStream::push() {
  while (!engine_.output().empty()) {
    // An answer to what came behind our CLOSE: nobody takes it.
    const std::size_t n =
        inner_finished_ ? engine_.output().size() : inner_->write(engine_.output());
    if (n == 0) return;
    engine_.consume_output(n);
  }
  if (!engine_.closed() || std::exchange(inner_finished_, true)) return;
  inner_->finish();
  loop_.run_later(task_);  // flushed() may have turned true
}

void WsStream::finish() {
  if (failed_) return;
  engine_.close(ws::CloseCode::Normal, {});
  push();
}

void WsStream::abort() {
  failed_ = true;
  inner_->abort();
}

void WsStream::fail(const Error& error) {
  if (std::exchange(failed_, true)) return;
  if (listener_ != nullptr) listener_->on_failed(error);
}

}  // namespace adit::flow
