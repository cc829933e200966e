#include "flow/tls_stream.h"

#include <cerrno>

namespace adit::flow {

namespace {
constexpr std::size_t kRecordPlainBytes = 16 * 1024;  // RFC 8446 §5.1
}  // namespace

TlsStream::TlsStream(io::Loop& loop, std::unique_ptr<Duplex> inner, crypto::TlsSession session)
    : inner_(std::move(inner)),
      session_(std::move(session)),
      loop_(loop),
      task_(Delegate<void()>::to<&TlsStream::run>(this)) {
  inner_->set_listener(this);
}

TlsStream::~TlsStream() {
  if (destroyed_ != nullptr) *destroyed_ = true;
  inner_->set_listener(nullptr);
}

void TlsStream::start() { inner_->start(); }

// Takes ciphertext while there is room for it; false: the session has failed.
bool TlsStream::take_input() {
  while (session_.wants_input()) {
    const Bytes bytes = inner_->readable();
    if (bytes.empty()) break;
    const Bytes piece = bytes.first(std::min(bytes.size(), kRecordPlainBytes));
    auto fed = session_.feed(piece);
    inner_->consume(piece.size());
    if (!fed) return push(), fail(fed.error()), false;
    if (plain_at_ == plain_.size() && !decrypt()) return false;
    if (plain_at_ < plain_.size()) break;  // one record at a time: the rest stays where it is
  }
  if (inner_->at_end() && !session_.peer_closed() && !session_.truncated()) {
    static_cast<void>(session_.feed_eof());
    if (plain_at_ == plain_.size() && !decrypt()) return false;
  }
  return true;
}

bool TlsStream::decrypt() {
  plain_.resize(kRecordPlainBytes);
  plain_at_ = 0;
  auto n = session_.read(plain_);
  plain_.resize(n ? *n : 0);
  if (plain_.empty()) plain_ = ByteVector();
  if (!n) return push(), fail(n.error()), false;
  return true;
}

void TlsStream::pull() {
  if (failed_) return;
  const bool before = session_.handshake_done();
  if (!take_input()) return;
  push();
  bool destroyed = false;
  bool* const outer = destroyed_;
  destroyed_ = &destroyed;
  if (listener_ != nullptr && (plain_at_ < plain_.size() || at_end())) listener_->on_readable();
  if (destroyed) {
    if (outer != nullptr) *outer = true;
    return;
  }
  destroyed_ = outer;
  // The handshake's end makes room for what was written before it.
  if (!before && session_.handshake_done() && blocked_) loop_.run_later(task_);
}

void TlsStream::consume(std::size_t n) {
  plain_at_ += n;
  CHECK(plain_at_ <= plain_.size());
  if (plain_at_ < plain_.size()) return;
  plain_ = ByteVector();
  plain_at_ = 0;
  loop_.run_later(task_);  // the next record, outside of the caller's call
}

void TlsStream::run() {
  if (failed_) return;
  bool destroyed = false;
  bool* const outer = destroyed_;
  destroyed_ = &destroyed;
  if (plain_at_ == plain_.size() && !session_.peer_closed() && session_.handshake_done()) {
    if (!decrypt()) return;
    if (destroyed) return;
  }
  pull();
  if (!destroyed && !failed_ && blocked_ && session_.handshake_done()) {
    blocked_ = false;
    if (listener_ != nullptr) listener_->on_writable();
  }
  if (!destroyed) destroyed_ = outer;
}

std::size_t TlsStream::write(Bytes bytes) {
  if (failed_ || bytes.empty()) return 0;
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    auto n = session_.write(bytes.subspan(taken));
    if (!n || *n == 0) break;
    taken += *n;
    push();
    if (!session_.output().empty()) break;  // the inner end is full
  }
  if (taken < bytes.size()) blocked_ = true;
  return taken;
}

// Moves records to the inner end; behind the last one its direction ends too.
void TlsStream::push() {
  while (!session_.output().empty()) {
    const std::size_t n = inner_->write(session_.output());
    if (n == 0) return;
    session_.consume_output(n);
  }
  if (finished_ && !inner_finished_) {
    inner_finished_ = true;
    inner_->finish();
  }
}

void TlsStream::on_writable() {
  if (failed_) return;
  push();
  if (!session_.output().empty()) return;
  const bool tell = blocked_ || finished_;
  blocked_ = false;
  if (tell && listener_ != nullptr) listener_->on_writable();
}

void TlsStream::finish() {
  if (failed_ || finished_) return;
  finished_ = true;
  session_.close_notify();
  push();
}

void TlsStream::abort() {
  failed_ = true;
  inner_->abort();
}

void TlsStream::fail(const Error& error) {
  if (failed_) return;
  failed_ = true;
  if (listener_ != nullptr) listener_->on_failed(error);
}

}  // namespace adit::flow
