#include "service/tunnel/session_stream.h"

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
  const std::size_t before = send_.retained();
  send_.carrier_acked(start_ + (offset - head_.size()));
  session_.retained_ -= before - send_.retained();
  session_.released();
}

StreamEnd::StreamEnd(SessionStream& stream) : stream_(&stream) {
  CHECK(stream.end_ == nullptr);
  stream.end_ = this;
}

StreamEnd::~StreamEnd() {
  if (stream_ == nullptr) return;
  SessionStream& s = *stream_;
  s.end_ = nullptr;
  const bool over = s.send_.finished() && at_end();
  if (!over) {
    s.session_.reset_by_us(s, link::ResetCode::Cancelled);
  } else {
    s.session_.maybe_retire(s);
  }
}

void StreamEnd::start() {
  if (stream_ == nullptr) return;
  stream_->readable_ = true;
  stream_->session_.wait(*stream_);
  stream_->session_.released();
}

Bytes StreamEnd::readable() {
  if (stream_ == nullptr || !stream_->carried_by_) return {};
  return stream_->session_.carrier_->readable(*stream_->carried_by_);
}

void StreamEnd::consume(std::size_t n) {
  if (n == 0) return;
  CHECK(stream_ != nullptr && stream_->carried_by_);
  SessionStream& s = *stream_;
  s.session_.carrier_->consume(*s.carried_by_, n);
  s.receive_.handed(n);
  s.session_.ack_due(s, false);
}

bool StreamEnd::at_end() const {
  if (stream_ == nullptr) return false;
  const SessionStream& s = *stream_;
  return s.receive_.complete() ||
         (s.carried_by_ && s.session_.carrier_->at_end(*s.carried_by_));
}

std::size_t StreamEnd::write(Bytes bytes) {
  if (stream_ == nullptr || stream_->dead_) return 0;
  SessionStream& s = *stream_;
  Session& session = s.session_;
  const std::size_t session_room =
      session.limits_.retain_session_bytes - std::min(session.retained_,
                                                      session.limits_.retain_session_bytes);
  const std::size_t n =
      std::min({bytes.size(), s.send_.room(session.limits_.retain_stream_bytes), session_room});
  if (n < bytes.size()) {
    s.blocked_ = true;
    session.wait(s);
  }
  if (n == 0) return 0;
  s.send_.write(bytes.first(n));
  session.retained_ += n;
  if (s.carried_by_) session.carrier_->wake(*s.carried_by_);
  return n;
}

void StreamEnd::finish() {
  if (stream_ == nullptr || stream_->dead_) return;
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
