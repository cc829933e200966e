#include <gtest/gtest.h>

#include "base/byte_ring.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "base/queue.h"

namespace adit {
namespace {

TEST(Bytes, VarintRoundTripsAtEveryBoundary) {
  for (std::uint64_t v : {0ull, 63ull, 64ull, 16383ull, 16384ull, (1ull << 30) - 1, 1ull << 30,
                          static_cast<unsigned long long>(kVarintMax)}) {
    ByteVector out;
    Writer(out).varint(v);
    Reader in(out);
    EXPECT_EQ(in.varint(), v);
    EXPECT_TRUE(in.done());
  }
}

TEST(Bytes, ReaderStaysFailedAfterAShortRead) {
  const ByteVector in = {0x40};  // announces two bytes, holds one
  Reader r(in);
  EXPECT_EQ(r.varint(), 0u);
  EXPECT_FALSE(r.ok());
  EXPECT_TRUE(r.bytes(1).empty());
}

TEST(ByteRing, KeepsBytesByOffsetUntilReleased) {
  ByteRing ring(1000);
  ByteVector all;
  Prng random(1);
  std::uint64_t released = 1000;
  for (int i = 0; i < 2000; ++i) {
    ByteVector piece(random.below(5000));
    for (auto& b : piece) b = static_cast<std::uint8_t>(random.next());
    ring.append(piece);
    all.insert(all.end(), piece.begin(), piece.end());
    const std::uint64_t at = released + random.below(ring.end() - released + 1);
    Bytes got = ring.peek(at);
    ASSERT_TRUE(at == ring.end() ? got.empty() : !got.empty());
    ASSERT_TRUE(std::equal(got.begin(), got.end(), all.begin() + static_cast<long>(at - 1000)));
    released += random.below(ring.end() - released + 1);
    ring.release(released);
    ASSERT_EQ(ring.begin(), released);
  }
  ring.release(ring.end());
  EXPECT_TRUE(ring.empty());
}

TEST(Queue, SaysWhenItIsFull) {
  BoundedQueue<int, 2> q;
  EXPECT_TRUE(q.push(1));
  EXPECT_TRUE(q.push(2));
  EXPECT_FALSE(q.push(3));
  EXPECT_EQ(q.pop(), 1);
  EXPECT_TRUE(q.push(3));
}

struct Node : ListNode<struct NodeTag> {};

TEST(List, ElementsLeaveWhenTheyDie) {
  List<Node, NodeTag> list;
  Node a;
  {
    Node b;
    list.push_back(b);
    list.push_back(a);
  }
  EXPECT_EQ(list.front(), &a);
  EXPECT_EQ(list.pop_front(), &a);
  EXPECT_TRUE(list.empty());
}

TEST(Log, HostileTextCannotForgeALine) {
  const std::string name = "a\"b\n\xff\xc3\xa9";
  EXPECT_EQ(
      format_json(WallTime{1'700'000'000'123'000'000}, LogLevel::Info, "x.y", {{"sni", name}}),
      R"({"time":"2023-11-14T22:13:20.123Z","level":"info","event":"x.y",)"
      R"("sni":"a\"b\u000a\ufffdé"})");
  EXPECT_EQ(format_text(WallTime{0}, LogLevel::Warn, "x.y", {{"n", 7}, {"ok", true}, {"t", "a b"}}),
            "1970-01-01T00:00:00.000Z warn  x.y n=7 ok=true t=\"a b\"");
}

TEST(Log, RateLimitSaysHowManyItHeldBack) {
  LogRateLimit limit;
  EXPECT_EQ(limit.admit(Instant{0}, 42), 0);
  EXPECT_EQ(limit.admit(Instant{1}, 42), -1);
  EXPECT_EQ(limit.admit(Instant{2}, 42), -1);
  EXPECT_EQ(limit.admit(Instant{0} + 1min, 42), 2);
}

TEST(Metrics, ThreadsAddUp) {
  Metrics a, b;
  a.counter("adit_x_total", R"(r="1")").add(2);
  b.counter("adit_x_total", R"(r="1")").add(3);
  b.gauge("adit_y").set(-1);
  auto samples = a.sample();
  auto more = b.sample();
  samples.insert(samples.end(), more.begin(), more.end());
  EXPECT_EQ(
      prometheus_text(samples),
      "# TYPE adit_x_total counter\nadit_x_total{r=\"1\"} 5\n# TYPE adit_y gauge\nadit_y -1\n");
}

}  // namespace
}  // namespace adit
