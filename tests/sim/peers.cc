#include "sim/peers.h"

#include <algorithm>
#include <cerrno>

#include "base/byte_ring.h"
#include "base/limits.h"
#include "base/prng.h"

namespace adit::sim {

namespace {

constexpr std::size_t kChunkBytes = 32 * 1024;

}  // namespace

// --- Pattern ---

std::uint64_t Pattern::word(std::uint64_t index) const {
  return Prng(seed_ * 0x2545f4914f6cdd1du + index).next();
}

std::uint8_t Pattern::at(std::uint64_t offset) const {
  return static_cast<std::uint8_t>(word(offset / 8) >> (offset % 8 * 8));
}

void Pattern::fill(std::uint64_t offset, MutableBytes out) const {
  std::uint64_t w = word(offset / 8);
  for (std::uint8_t& b : out) {
    if (offset % 8 == 0) w = word(offset / 8);
    b = static_cast<std::uint8_t>(w >> (offset % 8 * 8));
    ++offset;
  }
}

std::size_t Pattern::match(std::uint64_t offset, Bytes bytes) const {
  ByteVector right(bytes.size());
  fill(offset, right);
  return static_cast<std::size_t>(std::mismatch(bytes.begin(), bytes.end(), right.begin()).first -
                                  bytes.begin());
}

// --- PatternSender ---

PatternSender::PatternSender(io::Loop& loop, const io::Socket& socket, std::uint64_t seed,
                             std::uint64_t total)
    : loop_(loop),
      socket_(socket),
      pattern_(seed),
      total_(total),
      writable_(io::Op::Handler::to<&PatternSender::on_writable>(this)) {}

void PatternSender::start() { loop_.poll(writable_, socket_.raw(), io::kWritable); }

void PatternSender::on_writable(const io::Completion& c) {
  if (c.result < 0) {
    error_ = -c.result;
    return;
  }
  push();
}

bool PatternSender::send_prefix() {
  while (prefix_sent_ < prefix_.size()) {
    const auto n = loop_.send(socket_, Bytes(prefix_).subspan(prefix_sent_));
    if (!n) return error_ = n.error().code, false;
    if (*n == 0) return false;
    prefix_sent_ += *n;
  }
  return true;
}

void PatternSender::refill() {
  chunk_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(kChunkBytes, total_ - sent_)));
  pattern_.fill(sent_, chunk_);
}

void PatternSender::push() {
  // One socket does not keep the loop from others: it goes on in the next turn.
  for (std::uint64_t budget = limits::kPumpTurnBytesMax; send_prefix() && sent_ < total_;) {
    if (budget < kChunkBytes) return start();
    refill();
    const auto n = loop_.send(socket_, chunk_);
    if (!n) error_ = n.error().code;
    if (!n || *n == 0) break;
    sent_ += *n;
    budget -= *n;
  }
  if (error_ != 0) return;
  if (prefix_sent_ < prefix_.size() || sent_ < total_) return start();
  if (fin_) loop_.shutdown_write(socket_);
  done_ = true;
}

// --- PatternVerifier ---

PatternVerifier::PatternVerifier(io::Loop& loop, const io::Socket& socket, std::uint64_t seed)
    : loop_(loop),
      socket_(socket),
      pattern_(seed),
      receive_(io::Op::Handler::to<&PatternVerifier::on_received>(this)),
      pause_timer_(loop, Delegate<void()>::to<&PatternVerifier::on_pause_over>(this)) {}

void PatternVerifier::start() { loop_.receive(receive_, socket_); }

void PatternVerifier::check(Bytes bytes) {
  const std::size_t n = std::min(bytes.size(), prefix_.size() - prefix_seen_);
  const auto expected = prefix_.begin() + static_cast<std::ptrdiff_t>(prefix_seen_);
  if (!std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n), expected))
    intact_ = false;
  prefix_seen_ += n;
  bytes = bytes.subspan(n);
  const std::size_t right = pattern_.match(received_, bytes);
  if (right < bytes.size()) intact_ = false;
  if (intact_) received_ += right;
}

void PatternVerifier::on_received(const io::Completion& c) {
  if (c.result > 0) {
    last_at_ = loop_.now();
    check(c.data);
    if (pause_ != Duration{}) loop_.cancel(receive_);
  } else if (c.result == 0) {
    eof_ = true;
  } else if (c.result == -ECANCELED && pause_ != Duration{}) {
    pause_timer_.set(loop_.now() + pause_);
  } else {
    error_ = -c.result;
  }
}

void PatternVerifier::on_pause_over() { start(); }

// --- Visitor ---

Visitor::Visitor(io::Loop& loop, const Address& to, VisitorPlan plan)
    : loop_(loop),
      to_(to),
      sender_(loop, socket_, plan.send_seed, plan.send_bytes),
      verifier_(loop, socket_, plan.expect_seed),
      connect_(io::Op::Handler::to<&Visitor::on_connected>(this)) {
  sender_.set_prefix(std::move(plan.prefix));
  if (!plan.fin) sender_.keep_open();
  verifier_.expect_prefix(std::move(plan.expect_prefix));
  verifier_.set_pause(plan.read_pause);
}

void Visitor::start() {
  auto socket = loop_.open_tcp(to_);
  if (!socket) {
    connect_error_ = socket.error().code;
    return;
  }
  socket_ = std::move(*socket);
  loop_.connect(connect_, socket_, to_);
}

void Visitor::on_connected(const io::Completion& c) {
  if (c.result < 0) {
    connect_error_ = -c.result;
    return;
  }
  connected_ = true;
  sender_.start();
  verifier_.start();
}

void Visitor::close() { socket_.reset(); }

void Visitor::abort() {
  if (socket_) loop_.abort_on_close(socket_);
  socket_.reset();
}

bool Visitor::finished(std::uint64_t bytes) const {
  return connected_ && sender_.done() && verifier_.eof() && verifier_.intact() &&
         verifier_.received() == bytes;
}

bool Visitor::failed() const {
  return connect_error_ != 0 || sender_.error() != 0 || verifier_.error() != 0 ||
         !verifier_.intact();
}

// --- Server ---

Server::Server(io::Loop& loop, const Address& at)
    : loop_(loop),
      accept_(io::Op::Handler::to<&Server::on_accept>(this)),
      retry_(loop, Delegate<void()>::to<&Server::on_retry>(this)) {
  auto listener = loop.listen_tcp(at, {.reuse_port = false});
  CHECK(listener);
  listener_ = std::move(*listener);
  loop.accept(accept_, listener_);
}

Server::~Server() = default;

void Server::on_accept(const io::Completion& c) {
  if (c.result >= 0) {
    ++accepted_;
    serve(loop_.adopt(c.result));
  } else {
    ++accept_errors_;
  }
  if (!c.more) retry_.set(loop_.now() + limits::kAcceptPause);
}

void Server::on_retry() { loop_.accept(accept_, listener_); }

// --- EchoServer ---

class EchoServer::Connection {
 public:
  Connection(EchoServer& server, io::Socket socket)
      : server_(server),
        loop_(server.loop_),
        socket_(std::move(socket)),
        receive_(io::Op::Handler::to<&Connection::on_received>(this)),
        writable_(io::Op::Handler::to<&Connection::on_writable>(this)) {
    loop_.receive(receive_, socket_);
  }
  bool ended() const { return !socket_; }

 private:
  void on_received(const io::Completion& c) {
    if (c.result > 0) {
      held_.append(c.data);
      if (held_.size() >= limits::kReceiveBufferBytes * 4) loop_.cancel(receive_);
    } else if (c.result == 0) {
      eof_ = true;
    } else if (c.result != -ECANCELED) {
      return end();
    }
    push();
  }
  void on_writable(const io::Completion& c) {
    if (c.result < 0) return end();
    push();
  }
  void push() {
    if (writable_.armed()) return;
    while (!held_.empty()) {
      const auto n = loop_.send(socket_, held_.peek(held_.begin()));
      if (!n) return end();
      if (*n == 0) return loop_.poll(writable_, socket_.raw(), io::kWritable);
      held_.release(held_.begin() + *n);
      server_.echoed_ += *n;
    }
    if (eof_) {
      loop_.shutdown_write(socket_);
      return end();
    }
    if (!receive_.armed()) loop_.receive(receive_, socket_);
  }
  void end() { socket_.reset(); }

  EchoServer& server_;
  io::Loop& loop_;
  io::Socket socket_;
  ByteRing held_;
  bool eof_ = false;
  io::Op receive_, writable_;
};

EchoServer::EchoServer(io::Loop& loop, const Address& at) : Server(loop, at) {}
EchoServer::~EchoServer() = default;

std::size_t EchoServer::open() const {
  return static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(),
                                                [](const auto& c) { return !c->ended(); }));
}

void EchoServer::serve(io::Socket socket) {
  std::erase_if(connections_, [](const auto& c) { return c->ended(); });
  connections_.push_back(std::make_unique<Connection>(*this, std::move(socket)));
}

// --- PatternServer ---

PatternServer::Connection::Connection(io::Loop& loop, io::Socket s, const VisitorPlan& plan)
    : socket(std::move(s)),
      sender(loop, socket, plan.send_seed, plan.send_bytes),
      verifier(loop, socket, plan.expect_seed) {
  sender.set_prefix(plan.prefix);
  if (!plan.fin) sender.keep_open();
  verifier.expect_prefix(plan.expect_prefix);
  verifier.set_pause(plan.read_pause);
  sender.start();
  verifier.start();
}

PatternServer::PatternServer(io::Loop& loop, const Address& at, VisitorPlan plan)
    : Server(loop, at), plan_(std::move(plan)) {}

void PatternServer::serve(io::Socket socket) {
  connections_.push_back(std::make_unique<Connection>(loop_, std::move(socket), plan_));
  ++plan_.send_seed;
}

}  // namespace adit::sim
