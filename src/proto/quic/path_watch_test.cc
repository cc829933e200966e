#include "proto/quic/path_watch.h"

#include <gtest/gtest.h>

namespace adit::quic {
namespace {

constexpr Instant kStart{1'000'000'000};
constexpr std::size_t kLarge = kPacketBytesMax, kSmallest = 1200;

// --- a path that swallows large packets ---

TEST(BlackHole, IsFoundWhenLargePacketsStayUnansweredWhileThePeerIsHeard) {
  BlackHole b;
  EXPECT_EQ(b.packet_bytes_max(), kLarge);
  b.sent(kLarge, kStart);
  b.received(), b.received();
  b.check(kLarge, kStart + 1900ms);
  EXPECT_EQ(b.packet_bytes_max(), kLarge);
  b.check(kLarge, kStart + 2s);
  EXPECT_EQ(b.packet_bytes_max(), kSmallest);
}

TEST(BlackHole, IsNoneWhere) {
  struct Row {
    const char* what;
    void (*happens)(BlackHole&);
    std::uint64_t in_flight;
  };
  const Row rows[] = {
      {"the peer is silent", [](BlackHole& b) { b.sent(kLarge, kStart); }, kLarge},
      {"one datagram came, which may have been on its way",
       [](BlackHole& b) { b.sent(kLarge, kStart), b.received(); }, kLarge},
      {"only small packets were sent",
       [](BlackHole& b) { b.sent(kSmallest, kStart), b.received(), b.received(); }, kSmallest},
      {"an acknowledgement came",
       [](BlackHole& b) { b.sent(kLarge, kStart), b.received(), b.received(), b.progressed(); },
       kLarge},
      {"what was sent is not waited for any more",
       [](BlackHole& b) { b.sent(kLarge, kStart), b.received(), b.received(); }, 0},
      {"the path is another",
       [](BlackHole& b) { b.sent(kLarge, kStart), b.received(), b.received(), b.path_changed(); },
       kLarge},
  };
  for (const Row& row : rows) {
    BlackHole b;
    row.happens(b);
    b.check(row.in_flight, kStart + 1min);
    EXPECT_EQ(b.packet_bytes_max(), kLarge) << row.what;
  }
}

TEST(BlackHole, TriesLargePacketsAgainAfterTenMinutes) {
  BlackHole b;
  b.sent(kLarge, kStart);
  b.received(), b.received();
  b.check(kLarge, kStart + 2s);
  b.check(0, kStart + 2s + 9min);
  EXPECT_EQ(b.packet_bytes_max(), kSmallest);
  b.check(0, kStart + 2s + 10min);
  EXPECT_EQ(b.packet_bytes_max(), kLarge);
}

// --- a path that swallows everything ---

TEST(Unanswered, CountsFromTheFirstPacketThatAsksForAnAnswer) {
  Unanswered u;
  EXPECT_EQ(u.since(), Instant::never());
  u.sent(0, kStart);
  EXPECT_EQ(u.since(), Instant::never());
  u.sent(100, kStart + 1s);
  u.sent(200, kStart + 2s);
  EXPECT_EQ(u.since(), kStart + 1s);
  u.heard(20ms, kStart + 3s);
  EXPECT_EQ(u.since(), Instant::never());
  EXPECT_TRUE(u.waits());
  u.sent(300, kStart + 4s);
  EXPECT_EQ(u.since(), kStart + 4s);
  u.acknowledged();
  EXPECT_FALSE(u.waits());
  EXPECT_EQ(u.since(), Instant::never());
}

TEST(Unanswered, ProbesEverySecondFromTheFirst) {
  Unanswered u;
  EXPECT_FALSE(u.probe_due(kStart));
  u.sent(100, kStart);
  EXPECT_EQ(u.next_probe(), Instant::never());  // the library's timer comes by first
  EXPECT_FALSE(u.probe_due(kStart + 999ms));
  EXPECT_TRUE(u.probe_due(kStart + 1s));
  EXPECT_EQ(u.next_probe(), kStart + 2s);
  EXPECT_FALSE(u.probe_due(kStart + 1999ms));
  EXPECT_TRUE(u.probe_due(kStart + 2s));
  u.acknowledged();
  EXPECT_EQ(u.next_probe(), Instant::never());
  EXPECT_FALSE(u.probe_due(kStart + 1h));
}

TEST(Unanswered, ProbesSoonerWhenThePeerIsHeardAgain) {
  Unanswered u;
  u.sent(100, kStart);
  ASSERT_TRUE(u.probe_due(kStart + 1s));
  u.heard(40ms, kStart + 1500ms);
  EXPECT_EQ(u.next_probe(), kStart + 1580ms);
  EXPECT_TRUE(u.probe_due(kStart + 1580ms));
  EXPECT_EQ(u.next_probe(), kStart + 2580ms);
  u.heard(1us, kStart + 1600ms);
  EXPECT_EQ(u.next_probe(), kStart + 1650ms);
  u.heard(5s, kStart + 1610ms);
  EXPECT_EQ(u.next_probe(), kStart + 1650ms);  // never later than it was
}

// Sending without ever acknowledging keeps neither a connection alive nor us busy.
TEST(Unanswered, GivesUpOnAPeerThatAcknowledgesNothing) {
  Unanswered u;
  u.sent(100, kStart);
  Instant now = kStart + 1s;
  unsigned probes = 0;
  while (!u.gives_up()) {
    ASSERT_TRUE(u.probe_due(now));
    ++probes;
    u.heard(1ms, now);
    now = u.next_probe();
    ASSERT_LT(now, kStart + 1min);
  }
  EXPECT_EQ(probes, Unanswered::kProbesMax + 1);
  EXPECT_GT(now, kStart + 15s);
}

}  // namespace
}  // namespace adit::quic
