#include "flow/tcp_stream.h"

#include <cerrno>

#include "base/limits.h"

namespace adit::flow {

TcpStream::TcpStream(io::Loop& loop, io::Socket socket, ByteVector early)
    : loop_(loop),
      socket_(std::move(socket)),
      receive_(io::Op::Handler::to<&TcpStream::on_receive>(this)),
      write_ready_(io::Op::Handler::to<&TcpStream::on_writable>(this)),
      announce_(Delegate<void()>::to<&TcpStream::announce>(this)),
      held_(std::move(early)) {}

void TcpStream::start() {
  suspended_ = false;
  // Also what came in the completion that is being told, for a listener that takes over in it.
  if (readable_bytes() == 0 && !ended_) return receive_again();
  loop_.run_later(announce_);
}

void TcpStream::announce() {
  if (failed_) return;
  if (errno_ != 0 && ended_ && readable_bytes() == 0) return fail();
  if (listener_ != nullptr) listener_->on_readable();
}

Bytes TcpStream::readable() {
  if (held_at_ < held_.size()) return Bytes(held_).subspan(held_at_);
  return now_;
}

void TcpStream::consume(std::size_t n) {
  if (held_at_ < held_.size()) {
    CHECK(n <= held_.size() - held_at_);
    held_at_ += n;
    if (held_at_ < held_.size()) return;
    held_ = ByteVector();  // gives the memory back: idle connections hold none
    held_at_ = 0;
    if (ended_ && errno_ != 0) loop_.run_later(announce_);
    receive_again();
    return;
  }
  now_ = now_.subspan(n);
}

void TcpStream::receive_again() {
  if (suspended_ || ended_ || failed_ || receive_.armed() || held_at_ < held_.size()) return;
  loop_.receive(receive_, socket_);
}

void TcpStream::on_receive(const io::Completion& c) {
  if (c.result < 0) {
    if (c.result == -ECANCELED) {
      // Paused; whoever waits for quiet() is told by on_readable.
      if (suspended_) return announce();
      return receive_again();
    }
    errno_ = errno_ != 0 ? errno_ : static_cast<std::int16_t>(-c.result);
  }
  if (c.result <= 0) {
    ended_ = true;
  } else {
    count(c.data.size());
    now_ = c.data;
  }
  Witness witness(witness_);
  announce();
  if (witness.destroyed()) return;
  keep_rest();
  if (!c.more) receive_again();
}

// What the listener left is copied, and the socket is not read until it is gone: back-pressure.
void TcpStream::keep_rest() {
  if (!now_.empty()) {
    held_.insert(held_.end(), now_.begin(), now_.end());
    now_ = {};
  }
  if (held_at_ < held_.size()) loop_.cancel(receive_);
}

void TcpStream::count(std::size_t n) {
  if (loop_.now() != turn_) {
    if (turn_bytes_ < limits::kPromoteTurnBytes) bulk_turns_ = 0;
    turn_ = loop_.now();
    turn_bytes_ = 0;
  }
  const std::size_t before = turn_bytes_;
  turn_bytes_ += static_cast<std::uint32_t>(n);
  if (before < limits::kPromoteTurnBytes && turn_bytes_ >= limits::kPromoteTurnBytes) ++bulk_turns_;
}

std::size_t TcpStream::write(Bytes bytes) {
  if (failed_ || errno_ != 0 || bytes.empty()) return 0;
  CHECK(!finished_);
  auto sent = loop_.send(socket_, bytes);
  if (!sent) return send_failed(sent.error().code), 0;
  if (*sent < bytes.size() && !write_ready_.armed())
    loop_.poll(write_ready_, socket_.raw(), io::kWritable);
  return *sent;
}

void TcpStream::on_writable(const io::Completion& c) {
  if (failed_ || finished_) return;
  if (c.result < 0 && c.result != -ECANCELED) return send_failed(-c.result);
  if (listener_ != nullptr) listener_->on_writable();
}

void TcpStream::finish() {
  if (failed_ || finished_) return;
  finished_ = true;
  loop_.shutdown_write(socket_);
}

void TcpStream::abort() {
  if (!socket_) return;
  failed_ = true;
  loop_.cancel(receive_);
  loop_.cancel(write_ready_);
  loop_.abort_on_close(socket_);
  socket_.reset();
}

void TcpStream::fail() {
  failed_ = true;
  const Error error = errno_error(errno_, sending_broke_ ? "send" : "receive");
  if (listener_ != nullptr) listener_->on_failed(error);
}

void TcpStream::set_ended() {
  ended_ = true;
  if (errno_ != 0) loop_.run_later(announce_);
}

void TcpStream::receive_failed(int error) {
  if (errno_ == 0) errno_ = static_cast<std::int16_t>(error);
  set_ended();
}

// A peer that does not take any more may have sent an answer first (an early 413, and then a reset
// because it left our bytes unread). So the failure waits until receiving ends too, which on a dead
// socket is soon; that end would look in order then, because the kernel tells a socket's error only
// once.
void TcpStream::send_failed(int error) {
  if (failed_ || errno_ != 0) return;
  errno_ = static_cast<std::int16_t>(error);
  sending_broke_ = true;
  loop_.run_later(announce_);
}

void TcpStream::suspend() {
  suspended_ = true;
  loop_.cancel(receive_);
}

void TcpStream::resume() {
  suspended_ = false;
  bulk_turns_ = 0;
  if (held_at_ < held_.size()) {
    loop_.run_later(announce_);
  } else {
    receive_again();
  }
}

}  // namespace adit::flow
