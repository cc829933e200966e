#include "proto/h2/connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "base/byte_ring.h"

namespace adit::h2 {
namespace {

constexpr Instant kStart{1'000'000'000};

class Source final : public StreamSource {
 public:
  ByteRing ring;
  bool ended = false;
  std::uint64_t acked_to = 0;
  Bytes peek(std::uint64_t offset) const override { return ring.peek(offset); }
  bool ends_at(std::uint64_t offset) const override { return ended && offset == ring.end(); }
  void acked(std::uint64_t offset) override {
    acked_to = offset;
    ring.release(offset);
  }
};

ByteVector pattern(std::size_t n) {
  ByteVector out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
  return out;
}

Settings settings(std::uint32_t streams = 100) {
  Settings s;
  s.streams_max = streams;
  return s;
}

// Relay and agent with a wire between them that may be cut into pieces.
struct Pair {
  explicit Pair(const Settings& s = settings(), std::size_t piece_bytes = 1 << 20)
      : piece(piece_bytes),
        client(Connection::Role::Client, s, "relay.example", kStart),
        server(Connection::Role::Server, s, "", kStart) {
    run();
  }
  bool carry(Connection& from, Connection& to) {
    const Bytes all = from.drain(64 * 1024, now);
    const ByteVector copy(all.begin(), all.end());
    for (std::size_t at = 0; at < copy.size(); at += piece)
      to.feed(Bytes(copy).subspan(at, std::min(piece, copy.size() - at)), now);
    return !copy.empty();
  }
  void run() {
    for (int i = 0; i < 10'000; ++i) {
      const bool moved = static_cast<int>(carry(client, server)) + carry(server, client) > 0;
      for (const Event& e : client.take_events()) client_events.push_back(e);
      for (const Event& e : server.take_events()) server_events.push_back(e);
      if (!moved) return;
    }
    FAIL() << "no end";
  }
  template <class E>
  static const E* first(const std::vector<Event>& events) {
    for (const Event& e : events)
      if (const E* found = std::get_if<E>(&e)) return found;
    return nullptr;
  }
  StreamId open(std::string_view path = "/.adit/stream") {
    auto id = client.open_stream(path);
    EXPECT_TRUE(id);
    return id ? *id : -1;
  }

  Instant now = kStart;
  std::size_t piece;
  Connection client, server;
  std::vector<Event> client_events, server_events;
};

ByteVector take(Connection& c, StreamId id) {
  ByteVector out;
  for (Bytes b = c.readable(id); !b.empty(); b = c.readable(id)) {
    out.insert(out.end(), b.begin(), b.end());
    c.consume(id, b.size());
  }
  return out;
}

TEST(H2, StreamsBothWaysInPiecesOfAnySize) {
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1000},
                                  std::size_t{1} << 20}) {
    Pair p(settings(), piece);
    const StreamId id = p.open();
    Source up, down;
    up.ring.append(pattern(30'000));
    down.ring.append(pattern(50'000));
    p.client.attach(id, &up);
    p.run();
    const auto* opened = Pair::first<StreamOpened>(p.server_events);
    ASSERT_NE(opened, nullptr);
    EXPECT_EQ(opened->id, id);
    EXPECT_EQ(opened->path, "/.adit/stream");
    EXPECT_EQ(take(p.server, id), pattern(30'000));
    EXPECT_EQ(up.acked_to, 30'000u);
    p.server.attach(id, &down);
    p.run();
    EXPECT_EQ(take(p.client, id), pattern(50'000));
    EXPECT_FALSE(p.client.at_end(id));
    down.ended = up.ended = true;
    p.client.wake(id);
    p.server.wake(id);
    p.run();
    EXPECT_TRUE(Pair::first<StreamClosed>(p.client_events));
    EXPECT_TRUE(Pair::first<StreamClosed>(p.server_events));
    EXPECT_FALSE(Pair::first<StreamReset>(p.client_events));
    EXPECT_FALSE(p.client.closed());
  }
}

TEST(H2, EndIsSeenWhenAllIsConsumed) {
  Pair p;
  const StreamId id = p.open();
  Source up;
  up.ring.append(pattern(10));
  up.ended = true;
  p.client.attach(id, &up);
  p.run();
  EXPECT_FALSE(p.server.at_end(id));
  p.server.consume(id, 10);
  EXPECT_TRUE(p.server.at_end(id));
}

// A sender stops at the windows, and goes on as the receiver consumes.
TEST(H2, WindowsBoundWhatIsUnread) {
  Settings s = settings();
  s.stream_window_bytes = 100'000;
  s.connection_window_bytes = 250'000;
  Pair p(s);
  std::map<StreamId, Source> sources;
  for (int i = 0; i < 4; ++i) {
    const StreamId id = p.open();
    sources[id].ring.append(pattern(300'000));
    p.client.attach(id, &sources[id]);
  }
  p.run();
  std::uint64_t under_way = 0;
  for (auto& [id, source] : sources) {
    EXPECT_LE(source.acked_to, 100'000u);
    under_way += source.acked_to;
  }
  EXPECT_LE(under_way, 250'000u);
  EXPECT_GE(under_way, 240'000u);
  std::map<StreamId, ByteVector> got;
  for (int i = 0; i < 100; ++i) {
    for (auto& [id, source] : sources) {
      const ByteVector more = take(p.server, id);
      got[id].insert(got[id].end(), more.begin(), more.end());
    }
    p.run();
  }
  for (auto& [id, source] : sources) EXPECT_EQ(got[id], pattern(300'000)) << id;
}

// What was received of a stream that is reset gives the connection its credit back.
TEST(H2, ResetStreamsDoNotUseUpTheConnection) {
  Settings s = settings();
  s.stream_window_bytes = 100'000;
  s.connection_window_bytes = 100'000;
  Pair p(s);
  for (int i = 0; i < 20; ++i) {
    const StreamId id = p.open();
    Source source;
    source.ring.append(pattern(200'000));
    p.client.attach(id, &source);
    p.run();
    // Credit comes back in steps of half a window.
    EXPECT_GT(source.acked_to, 50'000u) << i;
    if (i % 2 == 0) {
      p.server.reset(id, 5);
    } else {
      p.client.reset(id, 6);
      p.run();
      take(p.server, id);  // what came before is still there
    }
    p.run();
  }
  const auto* seen = Pair::first<StreamReset>(p.client_events);
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(seen->code, 5u);
  seen = Pair::first<StreamReset>(p.server_events);
  ASSERT_NE(seen, nullptr);
  EXPECT_EQ(seen->code, 6u);
}

TEST(H2, StreamsAreBounded) {
  Pair p(settings(3));
  for (int i = 0; i < 3; ++i) p.open();
  p.run();
  auto more = p.client.open_stream("/x");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, EAGAIN);
  p.client.reset(1, 0);
  p.run();
  EXPECT_TRUE(p.client.open_stream("/x"));
}

TEST(H2, CloseSaysWhyToBoth) {
  Pair p;
  p.client.close(3, "the same key took its names over");
  p.run();
  const auto* ours = Pair::first<Closed>(p.client_events);
  const auto* theirs = Pair::first<Closed>(p.server_events);
  ASSERT_TRUE(ours != nullptr && theirs != nullptr);
  EXPECT_FALSE(ours->by_peer);
  EXPECT_TRUE(theirs->by_peer && theirs->application);
  EXPECT_EQ(theirs->code, 3u);
  EXPECT_EQ(theirs->reason, "the same key took its names over");
  EXPECT_EQ(p.client.next_deadline(), Instant::never());
}

TEST(H2, SilenceIsAskedAboutAndEnds) {
  Pair p;
  p.now = p.client.next_deadline();
  EXPECT_EQ(p.now, kStart + 3s);
  p.client.on_deadline(p.now);
  p.now = p.now + 20ms;
  p.run();  // the PING and its answer
  EXPECT_FALSE(p.client.closed());
  EXPECT_EQ(p.client.next_deadline(), p.now + 3s);
  p.client.on_deadline(p.now + 3s);
  EXPECT_EQ(p.client.next_deadline(), p.now + 8s);
  p.client.on_deadline(p.now + 8s);
  ASSERT_TRUE(p.client.closed());
  EXPECT_TRUE(Pair::first<Closed>(p.client.take_events())->timeout);
}

TEST(H2, MeasuresTheRoundTrip) {
  Pair p;
  p.now = p.now + 3s;
  p.client.on_deadline(p.now);
  p.carry(p.client, p.server);
  p.now = p.now + 35ms;
  p.carry(p.server, p.client);
  EXPECT_EQ(p.client.rtt(), 35ms);
}

TEST(H2, GarbageEndsTheConnectionAndIsToldSo) {
  Connection server(Connection::Role::Server, settings(), "", kStart);
  server.feed(as_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), kStart);
  (void)server.drain(1 << 16, kStart);
  ASSERT_TRUE(server.closed());
  const auto events = server.take_events();
  EXPECT_FALSE(Pair::first<Closed>(events)->application);

  Pair p;
  ByteVector frame = {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0};  // WINDOW_UPDATE of 0 (RFC 9113 §6.9)
  p.server.feed(frame, kStart);
  p.run();
  EXPECT_TRUE(p.server.closed());
  EXPECT_TRUE(p.client.closed());
  EXPECT_TRUE(Pair::first<Closed>(p.client_events)->by_peer);
}

TEST(H2, AnswerThatIsNo200IsAReset) {
  Pair p;
  const StreamId id = p.open();
  Source up;
  p.client.attach(id, &up);
  p.run();
  // HEADERS with END_STREAM on stream 1: ":status: 404", by index 13 of HPACK's table.
  p.client.feed(ByteVector{0, 0, 1, 1, 5, 0, 0, 0, 1, 0x8d}, kStart);
  p.run();
  EXPECT_TRUE(Pair::first<StreamReset>(p.client_events));
  EXPECT_FALSE(p.client.closed());
}

TEST(H2, NothingIsTouchedAfterTheEnd) {
  Pair p;
  const StreamId id = p.open();
  {
    Source up;
    up.ring.append(pattern(1000));
    p.client.attach(id, &up);
    p.client.close(0, "bye");
  }
  p.run();
  p.client.wake(id);
  p.client.detach(id);
  p.client.reset(id, 1);
  EXPECT_FALSE(p.client.open_stream("/x"));
  p.client.feed(pattern(100), kStart);
  EXPECT_TRUE(p.client.drain(1 << 16, kStart).empty());
}

}  // namespace
}  // namespace adit::h2
