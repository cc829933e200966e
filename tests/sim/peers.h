// TCP peers for scenarios: visitors and local services that send and check pseudo-random bytes.
// They use nothing but io::Loop, so they run on every loop. None of them ever waits for another by
// itself: a test asks them what they have seen.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "io/loop.h"

namespace adit::sim {

// Bytes by position: every byte of a stream is known from the seed, so a lost, doubled or swapped
// one shows.
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed) : seed_(seed) {}
  std::uint8_t at(std::uint64_t offset) const;
  void fill(std::uint64_t offset, MutableBytes out) const;
  // How many of `bytes` are right, from the first on.
  std::size_t match(std::uint64_t offset, Bytes bytes) const;

 private:
  std::uint64_t word(std::uint64_t index) const;
  std::uint64_t seed_;
};

// Sends `prefix`, then `total` bytes of the pattern, then FIN. Borrows the socket.
class PatternSender {
 public:
  PatternSender(io::Loop& loop, const io::Socket& socket, std::uint64_t seed, std::uint64_t total);
  void set_prefix(ByteVector prefix) { prefix_ = std::move(prefix); }
  // Leave the direction open at the end.
  void keep_open() { fin_ = false; }
  void start();

  bool done() const { return done_; }      // all is with the kernel, and FIN
  int error() const { return error_; }     // errno, 0: none
  std::uint64_t sent() const { return sent_; }  // of the pattern

 private:
  void on_writable(const io::Completion& c);
  void push();
  bool send_prefix();
  void refill();

  io::Loop& loop_;
  const io::Socket& socket_;
  Pattern pattern_;
  std::uint64_t total_, sent_ = 0;
  ByteVector prefix_, chunk_;
  std::size_t prefix_sent_ = 0;
  bool fin_ = true, done_ = false;
  int error_ = 0;
  io::Op writable_;
};

// Receives until the end and checks every byte. Borrows the socket.
class PatternVerifier {
 public:
  PatternVerifier(io::Loop& loop, const io::Socket& socket, std::uint64_t seed);
  // These come first; they are checked as well.
  void expect_prefix(ByteVector prefix) { prefix_ = std::move(prefix); }
  // After every completion nothing is received for `pause`: a slow reader.
  void set_pause(Duration pause) { pause_ = pause; }
  void start();

  std::uint64_t received() const { return received_; }  // of the pattern, and right
  bool intact() const { return intact_; }
  bool eof() const { return eof_; }
  int error() const { return error_; }  // errno, ECONNRESET for a reset; 0: none
  bool ended() const { return eof_ || error_ != 0; }
  Instant last_at() const { return last_at_; }  // when something last came

 private:
  void on_received(const io::Completion& c);
  void on_pause_over();
  void check(Bytes bytes);

  io::Loop& loop_;
  const io::Socket& socket_;
  Pattern pattern_;
  ByteVector prefix_;
  std::size_t prefix_seen_ = 0;
  std::uint64_t received_ = 0;
  bool intact_ = true, eof_ = false;
  int error_ = 0;
  Duration pause_{};
  Instant last_at_;
  io::Op receive_;
  io::Timer pause_timer_;
};

struct VisitorPlan {
  std::uint64_t send_seed = 1, send_bytes = 0;
  std::uint64_t expect_seed = 1;    // of what comes back: an echo has the same seed
  ByteVector prefix{};              // sent first: a ClientHello, say
  ByteVector expect_prefix{};       // comes first
  bool fin = true;                  // after what is sent
  Duration read_pause{};            // reads slowly
};

// Connects, sends, checks what comes.
class Visitor {
 public:
  Visitor(io::Loop& loop, const Address& to, VisitorPlan plan);
  void start();
  void close();
  void abort();  // RST

  bool connected() const { return connected_; }
  int connect_error() const { return connect_error_; }  // errno
  const PatternSender& sender() const { return sender_; }
  const PatternVerifier& verifier() const { return verifier_; }
  // Sent all, got `bytes` back intact, and the end.
  bool finished(std::uint64_t bytes) const;
  bool failed() const;
  Address local_address() const { return loop_.local_address(socket_); }

 private:
  void on_connected(const io::Completion& c);

  io::Loop& loop_;
  Address to_;
  bool connected_ = false;
  int connect_error_ = 0;
  io::Socket socket_;
  PatternSender sender_;
  PatternVerifier verifier_;
  io::Op connect_;
};

// Listens; what is done with each connection is the derived class's.
class Server {
 public:
  Server(io::Loop& loop, const Address& at);
  virtual ~Server();

  Address address() const { return loop_.local_address(listener_); }
  std::size_t accepted() const { return accepted_; }
  std::size_t accept_errors() const { return accept_errors_; }

 protected:
  virtual void serve(io::Socket socket) = 0;
  io::Loop& loop_;

 private:
  void on_accept(const io::Completion& c);
  void on_retry();

  io::Socket listener_;
  std::size_t accepted_ = 0, accept_errors_ = 0;
  io::Op accept_;
  io::Timer retry_;
};

// Sends back what it gets; FIN for FIN. Stops reading while its peer does not take what it sends.
class EchoServer final : public Server {
 public:
  EchoServer(io::Loop& loop, const Address& at);
  ~EchoServer() override;
  std::size_t open() const;  // connections not ended yet
  std::uint64_t echoed() const { return echoed_; }

 private:
  class Connection;
  void serve(io::Socket socket) override;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::uint64_t echoed_ = 0;
};

// Sends a pattern to everyone and checks what comes: connection i (from 0) sends with seed
// send_seed + i.
class PatternServer final : public Server {
 public:
  struct Connection {
    Connection(io::Loop& loop, io::Socket s, const VisitorPlan& plan);
    io::Socket socket;
    PatternSender sender;
    PatternVerifier verifier;
  };
  PatternServer(io::Loop& loop, const Address& at, VisitorPlan plan);
  const std::vector<std::unique_ptr<Connection>>& connections() const { return connections_; }

 private:
  void serve(io::Socket socket) override;
  VisitorPlan plan_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

// Accepts and never reads.
class SinkThatNeverReads final : public Server {
 public:
  using Server::Server;
  // Closes all it has: RST, since nothing was read.
  void close_all() { sockets_.clear(); }

 private:
  void serve(io::Socket socket) override { sockets_.push_back(std::move(socket)); }
  std::vector<io::Socket> sockets_;
};

}  // namespace adit::sim
