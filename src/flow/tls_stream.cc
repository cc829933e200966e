#include "flow/tls_stream.h"

#include <algorithm>
#include <cerrno>
#include <utility>

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
  Witness::tell(witness_);
  inner_->set_listener(nullptr);
}

void TlsStream::start() {
  inner_->start();
  loop_.run_later(task_);  // a client speaks first
}

// The one step, whatever woke us: takes records, shows plaintext, sends records, and says what is
// owed. Called by the inner end and by the task, so never from inside a call into this object.
void TlsStream::advance() {
  if (failed_) return;
  push();  // first: reading stops while output is at its bound
  const Status taken = take_input();
  push();  // also after an error: the alert that says why
  if (!taken) {
    alerted_ = session_.alert_sent().has_value() && session_.output().empty();
    return fail(taken.error());
  }
  Witness witness(witness_);
  if (listener_ != nullptr && (has_plain() || at_end())) listener_->on_readable();
  if (witness.destroyed() || failed_ || listener_ == nullptr) return;
  const bool room = blocked_ && session_.handshake_done() && session_.output().empty();
  const bool flushed_now = !flush_told_ && flushed();
  if (room) blocked_ = false;
  if (flushed_now) flush_told_ = true;
  if (room || flushed_now) listener_->on_writable();
}

// Takes ciphertext until a record is decrypted, so that what the listener does not read stays on
// the inner end and stops its peer.
Status TlsStream::take_input() {
  if (has_plain()) return {};
  for (;;) {
    if (Status s = decrypt(); !s) return s;
    if (has_plain() || session_.peer_closed() || !session_.wants_input()) break;
    const Bytes bytes = inner_->readable();
    if (bytes.empty()) break;
    const Bytes piece = bytes.first(std::min(bytes.size(), kRecordPlainBytes));
    const Status fed = session_.feed(piece);
    inner_->consume(piece.size());
    if (!fed) return fed;
  }
  if (has_plain() || session_.peer_closed() || !inner_->at_end()) return {};
  if (!session_.truncated()) {
    if (Status s = session_.feed_eof(); !s) return s;
  }
  return decrypt();
}

Status TlsStream::decrypt() {
  if (!session_.handshake_done()) return {};
  if (plain_ == nullptr) plain_ = std::make_unique_for_overwrite<std::uint8_t[]>(kRecordPlainBytes);
  plain_at_ = plain_size_ = 0;
  auto n = session_.read({plain_.get(), kRecordPlainBytes});
  if (!n) return std::move(n).error();
  plain_size_ = *n;
  if (plain_size_ == 0) plain_.reset();  // idle connections hold none
  return {};
}

void TlsStream::consume(std::size_t n) {
  plain_at_ += n;
  CHECK(plain_at_ <= plain_size_);
  // The next record is announced outside of the caller's call.
  if (!has_plain() && n > 0) loop_.run_later(task_);
}

std::size_t TlsStream::write(Bytes bytes) {
  if (failed_) return 0;
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    auto n = session_.write(bytes.subspan(taken));
    if (!n) {
      loop_.run_later(task_);  // final: reading says the same
      break;
    }
    if (*n == 0) break;
    taken += *n;
    push();
    if (!session_.output().empty()) break;  // the inner end is full
  }
  if (taken < bytes.size()) blocked_ = true;
  return taken;
}

// Moves records to the inner end; behind the last one its direction ends too.
void TlsStream::push() {
  // Ended during the handshake, the direction ends behind it: a peer would take the alert for a
  // refusal.
  const bool ending = finished_ && session_.handshake_done();
  if (ending) session_.close_notify();  // once
  while (!session_.output().empty()) {
    const Bytes output = session_.output();
    // An alert for what the peer sent after our end: nobody takes it any more.
    const std::size_t n = inner_finished_ ? output.size() : inner_->write(output);
    if (n == 0) return;
    session_.consume_output(n);
  }
  if (!ending || inner_finished_) return;
  inner_finished_ = true;
  inner_->finish();
  loop_.run_later(task_);  // flushed() may have turned true
}

void TlsStream::finish() {
  if (failed_ || finished_) return;
  finished_ = true;
  push();
}

void TlsStream::abort() {
  failed_ = true;
  if (!alerted_) return inner_->abort();
  // The inner end has our alert, which tells the peer more than a reset, and would lose it to one.
  if (!std::exchange(inner_finished_, true)) inner_->finish();
}

void TlsStream::fail(const Error& error) {
  if (failed_) return;
  failed_ = true;
  if (listener_ != nullptr) listener_->on_failed(error);
}

}  // namespace adit::flow
