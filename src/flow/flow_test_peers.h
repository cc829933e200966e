// For the tests of this room: what stands at the far ends of a pump, and two pairs of sockets with
// a pump between them.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "flow/pump.h"
#include "flow/tcp_stream.h"
#include "io/loop_conformance.h"

namespace adit::flow {

inline std::uint8_t pattern_byte(std::uint64_t seed, std::uint64_t at) {
  return static_cast<std::uint8_t>(((at + 1) * 2654435761u + (at >> 8) * 40503u + seed * 97) >> 11);
}

// The far end of a socket: sends so many bytes of a pattern and checks those of another.
class Peer {
 public:
  Peer(io::Loop& loop, io::Socket s, std::uint64_t send_seed, std::uint64_t expect_seed)
      : socket(std::move(s)), loop_(loop), send_seed_(send_seed), expect_seed_(expect_seed) {}

  void send(std::uint64_t n) {
    total_ += n;
    if (!writable_.armed()) push();
  }
  void finish_after() {
    fin_ = true;
    if (!writable_.armed()) push();
  }
  void read() {
    reading_ = true;
    if (!receive_.armed()) loop_.receive(receive_, socket);
  }
  void pause() {
    reading_ = false;
    loop_.cancel(receive_);
  }
  void abort() {
    loop_.abort_on_close(socket);
    socket.reset();
  }

  io::Socket socket;
  std::uint64_t sent = 0, received = 0;
  bool intact = true, eof = false;
  int error = 0, send_error = 0;
  bool ended() const { return eof || error != 0; }
  bool blocked() const { return writable_.armed(); }

 private:
  void push() {
    while (sent < total_ && send_error == 0) {
      std::uint8_t chunk[16 * 1024];
      const std::size_t n = std::min<std::uint64_t>(sizeof chunk, total_ - sent);
      for (std::size_t i = 0; i < n; ++i) chunk[i] = pattern_byte(send_seed_, sent + i);
      const auto taken = loop_.send(socket, {chunk, n});
      if (!taken) {
        send_error = taken.error().code;
        return;
      }
      sent += *taken;
      if (*taken < n) return loop_.poll(writable_, socket.raw(), io::kWritable);
    }
    if (fin_ && sent == total_) loop_.shutdown_write(socket);
  }
  void on_writable(const io::Completion& c) {
    if (c.result > 0 && socket) push();
  }
  void on_receive(const io::Completion& c) {
    for (const std::uint8_t b : c.data) intact &= b == pattern_byte(expect_seed_, received++);
    if (c.result == 0) eof = true;
    if (c.result < 0 && c.result != -ECANCELED) error = -c.result;
    if (c.result == -ECANCELED && reading_ && socket) loop_.receive(receive_, socket);
  }

  io::Loop& loop_;
  std::uint64_t send_seed_, expect_seed_, total_ = 0;
  bool fin_ = false, reading_ = false;
  io::Op writable_{io::Op::Handler::to<&Peer::on_writable>(this)};
  io::Op receive_{io::Op::Handler::to<&Peer::on_receive>(this)};
};

// An end that does not say that it is a plain socket, so that nothing is spliced.
class CopyOnly final : public Duplex, private DuplexListener {
 public:
  explicit CopyOnly(std::unique_ptr<Duplex> inner) : inner_(std::move(inner)) {
    inner_->set_listener(this);
  }
  void start() override { inner_->start(); }
  Bytes readable() override { return inner_->readable(); }
  void consume(std::size_t n) override { inner_->consume(n); }
  bool at_end() const override { return inner_->at_end(); }
  std::size_t write(Bytes bytes) override { return inner_->write(bytes); }
  void finish() override { inner_->finish(); }
  bool flushed() const override { return inner_->flushed(); }
  void abort() override { inner_->abort(); }

 private:
  void on_readable() override {
    if (listener_ != nullptr) listener_->on_readable();
  }
  void on_writable() override {
    if (listener_ != nullptr) listener_->on_writable();
  }
  void on_failed(const Error& error) override {
    if (listener_ != nullptr) listener_->on_failed(error);
  }
  std::unique_ptr<Duplex> inner_;
};

struct JoinOptions {
  ByteVector early = {};
  PumpLimits limits{10min, 5min};
  bool copy_only = false;
};

// a -- [ pump ] -- b; a sends pattern 1, b pattern 2.
class Joined {
 public:
  using Pairs = std::pair<io::Socket, io::Socket>;  // the peer's, the pump's

  Joined(io::Loop& loop, BulkQueue& bulk, Pairs left, Pairs right, JoinOptions options)
      : a(loop, std::move(left.first), 1, 2),
        b(loop, std::move(right.first), 2, 1),
        limits_(options.limits) {
    auto near = std::make_unique<TcpStream>(loop, std::move(left.second), std::move(options.early));
    auto far = std::make_unique<TcpStream>(loop, std::move(right.second));
    near_stream = near.get();
    far_stream = far.get();
    std::unique_ptr<Duplex> ends[2] = {std::move(near), std::move(far)};
    if (options.copy_only)
      for (auto& e : ends) e = std::make_unique<CopyOnly>(std::move(e));
    pump = std::make_unique<Pump>(loop, bulk, limits_, std::move(ends[0]), std::move(ends[1]),
                                  Pump::Done::to<&Joined::on_done>(this));
  }

  Peer a, b;
  TcpStream *near_stream, *far_stream;  // of the pump; a's and b's sides
  std::unique_ptr<Pump> pump;
  std::optional<PumpEnd> end;
  std::uint64_t forward = 0, backward = 0;

 private:
  void on_done(PumpEnd e) {
    EXPECT_FALSE(end) << "the end is said once";
    end = e;
    forward = pump->forward_bytes();
    backward = pump->backward_bytes();
    pump.reset();
  }
  PumpLimits limits_;
};

class FlowTest : public io::LoopConformance {
 protected:
  void SetUp() override {
    LoopConformance::SetUp();
    if (loop_ != nullptr) bulk = std::make_unique<BulkQueue>(*loop_);
  }
  void TearDown() override { bulk.reset(); }

  std::unique_ptr<Joined> join(JoinOptions options = {}) {
    Pair left = connect_pair();
    Pair right = connect_pair();
    auto out = std::make_unique<Joined>(
        *loop_, *bulk, Joined::Pairs{std::move(left.client), std::move(left.server)},
        Joined::Pairs{std::move(right.server), std::move(right.client)}, std::move(options));
    out->pump->start();
    return out;
  }

  std::unique_ptr<BulkQueue> bulk;
};

}  // namespace adit::flow
