// Streams of a connection: turns, windows, resets, limits, lifetimes.
#include "proto/quic/streams.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "proto/quic/test_link.h"

namespace adit::quic {
namespace {

// Reads everything at `end` as it comes; counts by stream.
void read_all(End& end, std::map<QuicStream, std::uint64_t>& got) {
  end.on_event = [&](const Event& e) {
    const auto* r = std::get_if<StreamReadable>(&e);
    if (r == nullptr) return;
    for (;;) {
      const Bytes in = end.connection->readable(r->id);
      if (in.empty()) return;
      got[r->id] += in.size();
      end.connection->consume(r->id, in.size());
    }
  };
}

QuicStream open(TestLink& link, StreamSource& source) {
  auto id = link.client.connection->open_stream();
  CHECK(id);
  link.client.connection->attach(*id, &source);
  return *id;
}

TEST(QuicStreams, BulkStreamsShareAlike) {
  TestLink link(20);
  ASSERT_TRUE(link.handshake());
  std::map<QuicStream, std::uint64_t> got;
  read_all(link.server, got);
  constexpr std::uint64_t kTotal = 512 << 10;
  std::vector<std::unique_ptr<TestSource>> sources;
  for (std::uint64_t i = 0; i < 16; ++i) {
    sources.push_back(std::make_unique<TestSource>(i, kTotal));
    open(link, *sources.back());
  }
  ASSERT_TRUE(link.run([&] {
    for (auto& [id, n] : got)
      if (n == kTotal) return true;
    return false;
  }));
  ASSERT_EQ(got.size(), 16u);
  for (auto& [id, n] : got) EXPECT_GT(n, kTotal * 3 / 4) << "stream " << id;
}

TEST(QuicStreams, InteractiveStreamPassesBulk) {
  TestLink link(21);
  ASSERT_TRUE(link.handshake());
  std::map<QuicStream, std::uint64_t> got;
  read_all(link.server, got);
  TestSource bulk(1, 64 << 20), small(2, 100);
  const QuicStream b = open(link, bulk);
  ASSERT_TRUE(link.run([&] {
    link.client.connection->wake(b);
    return got[b] > (4 << 20);
  }));
  const Instant asked = link.now;
  const QuicStream s = open(link, small);
  ASSERT_TRUE(link.run([&] {
    link.client.connection->wake(b);
    return got[s] == 100;
  }));
  // One way, and what the congestion window or the pacing held back: not the bulk stream's whole
  // window.
  EXPECT_LE(link.now - asked, 3 * link.faults.delay);
  link.client.connection->reset(b, 1);
  link.client.connection->detach(b);
}

TEST(QuicStreams, ReceiverThatDoesNotReadBoundsTheSender) {
  TestLink link(22);
  Settings narrow = test_settings(8);
  narrow.stream_window_bytes = 64 << 10;
  narrow.connection_window_bytes = 160 << 10;
  link.start(test_settings(7), narrow);
  ASSERT_TRUE(link.handshake());
  TestSource a(1, 1 << 20), b(2, 1 << 20), c(3, 1 << 20);
  open(link, a);
  link.run_for(2s);
  EXPECT_EQ(a.acked_bytes(), 64u << 10);  // the stream's window
  open(link, b);
  open(link, c);
  link.run_for(2s);
  EXPECT_EQ(a.acked_bytes() + b.acked_bytes() + c.acked_bytes(), 160u << 10);  // the connection's
  EXPECT_FALSE(link.client.connection->closed());
  // All goes on once it reads.
  std::map<QuicStream, std::uint64_t> got;
  read_all(link.server, got);
  for (QuicStream id : {0, 4, 8}) link.server.on_event(StreamReadable{id});
  EXPECT_TRUE(link.run([&] {
    for (QuicStream id : {0, 4, 8}) link.client.connection->wake(id);
    return got[0] == 1 << 20 && got[4] == 1 << 20 && got[8] == 1 << 20;
  }));
}

TEST(QuicStreams, DroppedBytesGiveCreditBack) {
  TestLink link(23);
  Settings narrow = test_settings(8);
  narrow.stream_window_bytes = 64 << 10;
  narrow.connection_window_bytes = 64 << 10;
  link.start(test_settings(7), narrow);
  ASSERT_TRUE(link.handshake());
  // Each fills the connection's window; without the credit the second one would starve.
  for (std::uint64_t i = 0; i < 6; ++i) {
    TestSource source(i, 1 << 20);
    const QuicStream id = open(link, source);
    ASSERT_TRUE(link.run([&] { return source.acked_bytes() == 64 << 10; }, 5s)) << i;
    if (i % 2 == 0) {
      link.server.connection->stop_sending(id, 5);
      link.server.connection->reset(id, 5);
    } else {
      link.client.connection->reset(id, 6);
      link.client.connection->stop_sending(id, 6);
    }
    const std::size_t closed = link.client.count<StreamClosed>();
    link.run([&] { return link.client.count<StreamClosed>() > closed; }, 1s);
    link.client.connection->detach(id);
  }
  EXPECT_FALSE(link.client.connection->closed());
}

TEST(QuicStreams, ResetAndStopCarryTheirCodes) {
  TestLink link(24);
  ASSERT_TRUE(link.handshake());
  TestSource a(1, 5000, false), b(2, 8 << 20, false);
  const QuicStream x = open(link, a), y = open(link, b);
  link.run_for(500ms);
  link.client.connection->reset(x, 77);
  link.client.connection->detach(x);
  // The sender of y is blocked by the window and has nothing to write: it must hear of it all the
  // same.
  link.server.connection->stop_sending(y, 88);
  link.run_for(500ms);
  ASSERT_NE(link.server.first<StreamReset>(), nullptr);
  EXPECT_EQ(link.server.first<StreamReset>()->id, x);
  EXPECT_EQ(link.server.first<StreamReset>()->code, 77u);
  EXPECT_TRUE(link.server.connection->readable(x).empty());
  EXPECT_FALSE(link.server.connection->at_end(x));
  ASSERT_EQ(link.client.count<StreamStopped>(), 1u);
  EXPECT_EQ(link.client.first<StreamStopped>()->id, y);
  EXPECT_EQ(link.client.first<StreamStopped>()->code, 88u);
  // RFC 9000 §3.5: it is answered by a reset with the same code.
  EXPECT_EQ(link.server.count<StreamReset>(), 2u);
  link.client.connection->detach(y);
}

TEST(QuicStreams, EndIsSeenOnceAllIsConsumed) {
  TestLink link(25);
  ASSERT_TRUE(link.handshake());
  TestSource source(1, 1000);
  const QuicStream id = open(link, source);
  link.run_for(100ms);
  EXPECT_EQ(link.server.connection->readable(id).size(), 1000u);
  EXPECT_FALSE(link.server.connection->at_end(id));
  link.server.connection->consume(id, 400);
  EXPECT_EQ(link.server.connection->readable(id).size(), 600u);
  link.server.connection->consume(id, 600);
  EXPECT_TRUE(link.server.connection->at_end(id));
  EXPECT_EQ(source.acked_bytes(), 1000u);
}

TEST(QuicStreams, UnreadBytesOutliveTheStream) {
  TestLink link(26);
  ASSERT_TRUE(link.handshake());
  TestSource up(1, 1000), down(2, 10);
  const QuicStream id = open(link, up);
  link.server.on_event = [&](const Event& e) {
    if (auto* o = std::get_if<StreamOpened>(&e)) link.server.connection->attach(o->id, &down);
  };
  ASSERT_TRUE(link.run([&] { return link.server.count<StreamClosed>() == 1; }, 2s));
  link.run_for(1s);
  EXPECT_EQ(link.server.connection->readable(id).size(), 1000u);
  link.server.connection->consume(id, 1000);
  EXPECT_TRUE(link.server.connection->at_end(id));
}

TEST(QuicStreams, LimitIsLiftedAsStreamsEnd) {
  TestLink link(27);
  Settings few = test_settings(8);
  few.streams_bidi_max = 2;
  link.start(test_settings(7), few);
  ASSERT_TRUE(link.handshake());
  link.server.on_event = [&](const Event& e) {
    if (auto* o = std::get_if<StreamOpened>(&e)) link.server.connection->reset(o->id, 0);
  };
  TestSource source(1, 0);
  open(link, source);
  TestSource second(1, 0);
  open(link, second);
  auto third = link.client.connection->open_stream();
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, EAGAIN);
  EXPECT_TRUE(link.run([&] { return link.client.connection->open_stream().operator bool(); }, 2s));
}

TEST(QuicStreams, DetachLeavesNoPointerBehind) {
  TestLink link(28, {.loss = 0.2});
  ASSERT_TRUE(link.handshake());
  auto source = std::make_unique<TestSource>(1, 1 << 20);
  const QuicStream id = open(link, *source);
  link.run_for(25ms);
  link.client.connection->detach(id);
  source.reset();  // retransmission from here on would be seen by AddressSanitizer
  link.run_for(5s);
  EXPECT_EQ(link.server.count<StreamReset>(), 1u);
  EXPECT_FALSE(link.client.connection->closed());
}

TEST(QuicStreams, UnknownStreamsAreHarmless) {
  TestLink link(29);
  ASSERT_TRUE(link.handshake());
  Connection& c = *link.client.connection;
  TestSource source(1, 10);
  c.attach(400, &source);
  c.detach(400);
  c.wake(400);
  c.reset(400, 1);
  c.stop_sending(400, 1);
  EXPECT_TRUE(c.readable(400).empty());
  EXPECT_FALSE(c.at_end(400));
  link.run_for(100ms);
  EXPECT_FALSE(c.closed());
}

}  // namespace
}  // namespace adit::quic
