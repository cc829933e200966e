#include "flow/tcp_stream.h"

#include <unistd.h>

#include <cerrno>
#include <functional>

#include "flow/flow_test_peers.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

// Takes what comes, as much at a time as it is told.
class Taker final : public DuplexListener {
 public:
  explicit Taker(std::unique_ptr<Duplex> e) : end(std::move(e)) {
    end->set_listener(this);
    end->start();
  }
  void take(std::size_t n) {
    while (n > 0 && end != nullptr) {
      const Bytes bytes = end->readable();
      if (bytes.empty()) return;
      const std::size_t part = std::min(n, bytes.size());
      for (std::size_t i = 0; i < part; ++i) intact &= bytes[i] == pattern_byte(2, received++);
      end->consume(part);
      n -= part;
    }
  }

  std::unique_ptr<Duplex> end;
  std::uint64_t received = 0;
  std::size_t at_once = SIZE_MAX;
  bool intact = true, ended = false, die_on_readable = false, die_on_failed = false;
  int failures = 0, error = 0, writable = 0;

 private:
  void on_readable() override {
    EXPECT_EQ(failures, 0);
    if (die_on_readable) return end.reset();
    take(at_once);
    ended = end->at_end();
  }
  void on_writable() override { ++writable; }
  void on_failed(const Error& e) override {
    ++failures;
    error = e.code;
    if (die_on_failed) end.reset();
  }
};

class TcpStreamTest : public FlowTest {
 protected:
  // The far end, and ours.
  std::unique_ptr<Peer> peer;
  std::unique_ptr<Taker> taker;
  void open() {
    taker.reset();
    Pair pair = connect_pair();
    peer = std::make_unique<Peer>(*loop_, std::move(pair.client), 2, 1);
    taker = std::make_unique<Taker>(std::make_unique<TcpStream>(*loop_, std::move(pair.server)));
  }
  // Turns without blocking, as nobody tells who left bytes that they are still there.
  bool taking(std::size_t n, const std::function<bool()>& done) {
    const Instant deadline = loop_->now() + 60s;
    while (!done() && loop_->now() < deadline) {
      taker->take(n);
      loop_->turn(loop_->now() + 1ms);
    }
    return done();
  }
  void TearDown() override {
    taker.reset();
    peer.reset();
    FlowTest::TearDown();
  }
};
INSTANTIATE_TEST_SUITE_P(Real, TcpStreamTest, io::real_cases(), io::case_name);

TEST_P(TcpStreamTest, KeepsWhatIsLeftAndStopsReading) {
  open();
  taker->at_once = 0;
  peer->send(100'000'000);
  std::uint64_t before = UINT64_MAX;
  while (before != peer->sent) {
    before = peer->sent;
    quiet(100ms);
  }
  EXPECT_TRUE(peer->blocked());
  EXPECT_FALSE(taker->end->readable().empty());
  // Taken outside of a callback, in odd pieces, it goes on by itself.
  taker->at_once = 10'007;
  ASSERT_TRUE(taking(10'007, [&] { return taker->received == 100'000'000; }));
  EXPECT_TRUE(taker->intact);
}

TEST_P(TcpStreamTest, EndIsSeenBehindTheLastByte) {
  open();
  taker->at_once = 100;
  peer->send(1000);
  peer->finish_after();
  ASSERT_TRUE(until([&] { return taker->received >= 100; }));
  quiet();
  while (taker->received < 1000) {
    EXPECT_FALSE(taker->end->at_end());
    taker->take(100);
  }
  ASSERT_TRUE(until([&] { return taker->end->at_end(); }));
  EXPECT_EQ(taker->failures, 0);
}

// Who takes over while something is being told hears of it as well.
TEST_P(TcpStreamTest, AListenerMayTakeOverInACallback) {
  struct First final : DuplexListener {
    std::unique_ptr<Duplex> end;
    std::unique_ptr<Taker> second;
    void on_readable() override {
      end->consume(1);
      second = std::make_unique<Taker>(std::move(end));
    }
    void on_writable() override {}
    void on_failed(const Error&) override {}
  } first;
  Pair pair = connect_pair();
  Peer far(*loop_, std::move(pair.client), 2, 1);
  first.end = std::make_unique<TcpStream>(*loop_, std::move(pair.server));
  first.end->set_listener(&first);
  first.end->start();
  far.send(6);
  ASSERT_TRUE(until([&] { return first.second != nullptr && first.second->received == 5; }));
}

TEST_P(TcpStreamTest, DiesInACallback) {
  open();
  taker->die_on_readable = true;
  peer->send(100'000);
  ASSERT_TRUE(until([&] { return taker->end == nullptr; }));
  open();
  taker->die_on_readable = true;
  peer->finish_after();
  ASSERT_TRUE(until([&] { return taker->end == nullptr; }));
  open();
  taker->die_on_failed = true;
  peer->abort();
  ASSERT_TRUE(until([&] { return taker->end == nullptr; }));
  EXPECT_EQ(taker->failures, 1);
}

TEST_P(TcpStreamTest, FailsOnceAndBehindWhatCameAhead) {
  for (const std::size_t at_once : {SIZE_MAX, std::size_t{100}}) {
    open();
    taker->at_once = at_once;
    ASSERT_GT(taker->end->write(as_bytes("never read")), 0u);
    peer->send(50'000);
    quiet();  // our bytes are there
    if (at_once == SIZE_MAX) {
      EXPECT_EQ(taker->received, 50'000u);
    }
    peer->send(1000);
    ::close(peer->socket.release());  // now, and with bytes unread: RST
    // Writing notices first, before what came was received.
    bool refused = false;
    for (int i = 0; i < 3 && !refused; ++i) refused = taker->end->write(as_bytes("more")) == 0;
    EXPECT_TRUE(refused);
    EXPECT_EQ(taker->failures, 0);
    EXPECT_FALSE(taker->end->at_end());
    ASSERT_TRUE(taking(1000, [&] { return taker->failures > 0; }));
    quiet();
    EXPECT_EQ(taker->received, 51'000u);
    EXPECT_TRUE(taker->intact && !taker->ended);
    EXPECT_EQ(taker->failures, 1);
    EXPECT_EQ(taker->end->write(as_bytes("x")), 0u);
  }
}

TEST_P(TcpStreamTest, AShortWriteIsFollowedByOnWritable) {
  open();
  const ByteVector chunk(1 << 20);
  std::size_t total = 0;
  for (int i = 0; i < 200; ++i) {
    const std::size_t n = taker->end->write(chunk);
    total += n;
    if (n < chunk.size()) break;
  }
  EXPECT_LT(total, 200u << 20);
  quiet();
  EXPECT_EQ(taker->writable, 0);
  peer->read();
  ASSERT_TRUE(until([&] { return taker->writable > 0; }));
}

TEST_P(TcpStreamTest, AbortSendsReset) {
  open();
  peer->read();
  taker->end->abort();
  ASSERT_TRUE(until([&] { return peer->ended(); }));
  EXPECT_EQ(peer->error, ECONNRESET);
  quiet();
  EXPECT_EQ(taker->failures, 0);
}

TEST_P(TcpStreamTest, SuspendsAndResumes) {
  open();
  auto& stream = static_cast<TcpStream&>(*taker->end);
  peer->send(1000);
  ASSERT_TRUE(until([&] { return taker->received == 1000; }));
  stream.suspend();
  ASSERT_TRUE(until([&] { return stream.quiet(); }));
  peer->send(1000);
  quiet();
  EXPECT_EQ(taker->received, 1000u);
  stream.resume();
  ASSERT_TRUE(until([&] { return taker->received == 2000; }));
  stream.suspend();  // and at once back
  stream.resume();
  peer->send(1000);
  ASSERT_TRUE(until([&] { return taker->received == 3000; }));
  EXPECT_TRUE(taker->intact);
}

}  // namespace
}  // namespace adit::flow
