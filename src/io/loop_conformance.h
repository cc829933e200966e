// One suite for every loop: what the interface promises, run on io_uring, epoll and the simulation.
// The tests are in loop_conformance_{core,tcp,cancel,udp}.h; a test program includes those and
// instantiates LoopConformance with a LoopCase per loop.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "io/loop.h"

namespace adit::io {

class LoopHarness {
 public:
  virtual ~LoopHarness() = default;
  virtual Loop& loop() = 0;
};

struct LoopCase {
  std::string name;
  std::function<std::unique_ptr<LoopHarness>()> make;
};

inline void PrintTo(const LoopCase& c, std::ostream* out) { *out << c.name; }

// An operation and what it delivered.
class Recorder {
 public:
  Op op{Op::Handler::to<&Recorder::on_completion>(this)};
  std::vector<int> results;
  ByteVector bytes;
  bool ended = false;
  // Called last, so that it may destroy the recorder.
  std::function<void(const Completion&)> then;

  int last() const { return results.empty() ? INT32_MIN : results.back(); }

 private:
  void on_completion(const Completion& c) {
    EXPECT_FALSE(ended) << "a completion after the last one";
    EXPECT_EQ(op.armed(), c.more);
    results.push_back(c.result);
    bytes.insert(bytes.end(), c.data.begin(), c.data.end());
    ended = !c.more;
    if (then) then(c);
  }
};

inline ByteVector pattern(std::size_t n, std::uint32_t seed = 1) {
  ByteVector out(n);
  std::uint32_t x = seed * 2654435761u + 1;
  for (std::uint8_t& b : out) {
    x = x * 1664525u + 1013904223u;
    b = static_cast<std::uint8_t>(x >> 24);
  }
  return out;
}

// Sends all of `bytes`, waiting where the socket is full.
class Sender {
 public:
  Sender(Loop& loop, const Socket& socket, ByteVector bytes)
      : loop_(loop), socket_(socket), bytes_(std::move(bytes)) {
    go_on();
  }
  bool done() const { return sent_ == bytes_.size(); }
  bool blocked() const { return writable_.armed(); }
  std::size_t sent() const { return sent_; }
  int error() const { return error_; }

 private:
  void go_on() {
    while (!done()) {
      const auto n = loop_.send(socket_, Bytes(bytes_).subspan(sent_));
      if (!n) {
        error_ = n.error().code;
        return;
      }
      if (*n == 0) return loop_.poll(writable_, socket_.raw(), kWritable);
      sent_ += *n;
    }
  }
  void on_writable(const Completion& c) {
    EXPECT_NE(c.result & kWritable, 0);
    go_on();
  }

  Loop& loop_;
  const Socket& socket_;
  ByteVector bytes_;
  std::size_t sent_ = 0;
  int error_ = 0;
  Op writable_{Op::Handler::to<&Sender::on_writable>(this)};
};

class LoopConformance : public testing::TestWithParam<LoopCase> {
 protected:
  struct Pair {
    Socket client, server;
  };

  void SetUp() override {
    harness_ = GetParam().make();
    if (!harness_) GTEST_SKIP() << GetParam().name << " is refused here";
    loop_ = &harness_->loop();
  }

  // Turns until `done`; false after `limit`.
  bool until(const std::function<bool()>& done, Duration limit = 10s) {
    const Instant deadline = loop_->now() + limit;
    while (!done()) {
      if (loop_->now() >= deadline) return false;
      loop_->turn(deadline);
    }
    return true;
  }
  // Gives what is on its way the time to arrive, where nothing may.
  void quiet(Duration d = 20ms) {
    until([] { return false; }, d);
  }

  Socket listen() {
    auto s = loop_->listen_tcp({IpAddress::loopback4(), 0}, {});
    EXPECT_TRUE(s) << s.error().what;
    return std::move(*s);
  }
  Socket open() {
    auto s = loop_->open_tcp({IpAddress::loopback4(), 0});
    EXPECT_TRUE(s) << s.error().what;
    return std::move(*s);
  }
  Socket udp(const Address& at = {IpAddress::loopback4(), 0}) {
    auto s = loop_->open_udp(at, {});
    EXPECT_TRUE(s) << s.error().what;
    return std::move(*s);
  }

  Pair connect_pair() {
    Socket listener = listen();
    Pair pair{open(), {}};
    Recorder accepted, connected;
    accepted.then = [&](const Completion& c) {
      if (c.result >= 0) pair.server = loop_->adopt(c.result);
    };
    loop_->accept(accepted.op, listener);
    loop_->connect(connected.op, pair.client, loop_->local_address(listener));
    EXPECT_TRUE(until([&] { return connected.ended && pair.server; }));
    EXPECT_EQ(connected.last(), 0);
    return pair;
  }

  std::unique_ptr<LoopHarness> harness_;
  Loop* loop_ = nullptr;
};

}  // namespace adit::io
