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
  if (held_.empty()) return receive_again();
  loop_.run_later(announce_);
}

void TcpStream::announce() {
  if (failed_) return;
  if (write_errno_ != 0) return fail(errno_error(write_errno_, "send"));
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
    return fail(errno_error(-c.result, "receive"));
  }
  if (c.result == 0) {
    ended_ = true;
  } else {
    count(c.data.size());
    now_ = c.data;
  }
  bool destroyed = false;
  destroyed_ = &destroyed;
  announce();
  if (destroyed) return;
  destroyed_ = nullptr;
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
  if (failed_ || write_errno_ != 0 || bytes.empty()) return 0;
  CHECK(!finished_);
  auto sent = loop_.send(socket_, bytes);
  if (!sent) {
    // The listener learns it at the end of the turn: not from inside its own call, and after what this
    // turn still received (an answer sent ahead of a reset).
    write_errno_ = static_cast<std::int16_t>(sent.error().code);
    loop_.run_later(announce_);
    return 0;
  }
  if (*sent < bytes.size() && !write_ready_.armed())
    loop_.poll(write_ready_, socket_.raw(), io::kWritable);
  return *sent;
}

void TcpStream::on_writable(const io::Completion& c) {
  if (failed_ || finished_) return;
  if (c.result < 0 && c.result != -ECANCELED) return fail(errno_error(-c.result, "send"));
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

void TcpStream::fail(const Error& error) {
  if (failed_) return;
  failed_ = true;
  if (listener_ != nullptr) listener_->on_failed(error);
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
