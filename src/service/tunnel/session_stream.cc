#include "service/tunnel/session_stream.h"

#include <algorithm>
#include <utility>

#include "service/tunnel/session.h"

namespace adit::service {

Bytes SessionStream::peek(std::uint64_t offset) const {
  if (offset < head_.size()) return Bytes(head_).subspan(static_cast<std::size_t>(offset));
  return send_.peek(start_ + (offset - head_.size()));
}

bool SessionStream::ends_at(std::uint64_t offset) const {
  return offset >= head_.size() && send_.ends_at(start_ + (offset - head_.size()));
}

void SessionStream::acked(std::uint64_t offset) {
  if (offset <= head_.size()) return;
  {
    const Session::Recount recount(*this);
    send_.carrier_acked(start_ + (offset - head_.size()));
  }
  session_.released();
}

StreamEnd::StreamEnd(io::Loop& loop, SessionStream& stream)
    : loop_(loop),
      stream_(&stream),
      announce_(Delegate<void()>::to<&StreamEnd::announce>(this)) {
  CHECK(stream.end_ == nullptr);
  stream.end_ = this;
}

StreamEnd::~StreamEnd() {
  if (stream_ == nullptr) return;
  SessionStream& s = *stream_;
  s.end_ = nullptr;
  if (!s.send_.finished()) {
    s.session_.reset_by_us(s, link::ResetCode::Cancelled);
  } else if (s.receive_.complete()) {
    s.session_.maybe_retire(s);
  } else {
    s.session_.discard(s);
  }
}

void StreamEnd::start() {
  if (stream_ == nullptr) return loop_.run_later(announce_);
  stream_->readable_ = true;
  stream_->session_.wait(*stream_);
  stream_->session_.released();
}

void StreamEnd::leave(bool ended) {
  stream_ = nullptr;
  ended_ = ended;
}

void StreamEnd::fail(const Error& error) {
  if (listener_ != nullptr) return listener_->on_failed(error);
  failure_ = error;
}

// The stream was over before anybody listened.
void StreamEnd::announce() {
  if (listener_ == nullptr) return;
  const auto failure = std::exchange(failure_, std::nullopt);
  if (failure) {
    listener_->on_failed(*failure);
  } else if (ended_) {
    listener_->on_readable();
  }
}

Bytes StreamEnd::readable() {
  if (stream_ == nullptr || !stream_->carried_by_) return {};
  Session& session = stream_->session_;
  const Bytes bytes = session.carrier_->readable(*stream_->carried_by_);
  const std::size_t allowed = session.allowed(session.rate_in_);
  if (allowed > 0 || bytes.empty()) return bytes.first(std::min(bytes.size(), allowed));
  stream_->readable_ = true;
  session.wait_for(session.rate_in_, *stream_);
  return {};
}

void StreamEnd::consume(std::size_t n) {
  if (n == 0) return;
  CHECK(stream_ != nullptr && stream_->carried_by_);
  SessionStream& s = *stream_;
  s.session_.rate_in_.take(n);
  s.session_.bytes_in_ += n;
  s.session_.carrier_->consume(*s.carried_by_, n);
  s.receive_.handed(n);
  s.session_.handed_here_ += n;
  s.session_.ack_due(s, false);
  s.session_.note_end(s);
}

// The session notes the end as soon as the carrier knows of it, so this outlives links.
bool StreamEnd::at_end() const {
  return stream_ != nullptr ? stream_->receive_.complete() : ended_;
}

std::size_t StreamEnd::write(Bytes bytes) {
  if (stream_ == nullptr) return 0;
  SessionStream& s = *stream_;
  Session& session = s.session_;
  const std::size_t allowed = session.allowed(session.rate_out_);
  const std::size_t n = std::min({bytes.size(), session.room(s), allowed});
  if (n < bytes.size()) {
    s.blocked_ = true;
    session.wait(s);
    if (n == allowed) session.wait_for(session.rate_out_, s);
  }
  if (n == 0) return 0;
  session.rate_out_.take(n);
  session.bytes_out_ += n;
  {
    const Session::Recount recount(s);
    s.send_.write(bytes.first(n));
  }
  if (s.carried_by_) session.carrier_->wake(*s.carried_by_);
  return n;
}

void StreamEnd::finish() {
  if (stream_ == nullptr) return;
  stream_->send_.finish();
  if (stream_->carried_by_) stream_->session_.carrier_->wake(*stream_->carried_by_);
}

void StreamEnd::abort() {
  if (stream_ == nullptr) return;
  SessionStream& s = *stream_;
  s.end_ = nullptr;
  stream_ = nullptr;
  s.session_.reset_by_us(s, link::ResetCode::Cancelled);
}

}  // namespace adit::service
