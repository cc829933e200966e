#include "base/token_bucket.h"

#include <gtest/gtest.h>

namespace adit {
namespace {

constexpr Instant kStart{1'000'000'000};

TEST(TokenBucket, WithoutARateThereIsNoLimit) {
  TokenBucket b;
  EXPECT_FALSE(b.limits());
  EXPECT_EQ(b.available(kStart), SIZE_MAX);
  b.take(1 << 30);
  EXPECT_EQ(b.available(kStart), SIZE_MAX);
}

TEST(TokenBucket, BurstThenRate) {
  TokenBucket b(1000, 500, kStart);
  EXPECT_EQ(b.available(kStart), 500u);
  b.take(500);
  EXPECT_EQ(b.available(kStart), 0u);
  EXPECT_EQ(b.available(kStart + 100ms), 100u);
  b.take(60);
  EXPECT_EQ(b.available(kStart + 200ms), 140u);
  EXPECT_EQ(b.available(kStart + 1h), 500u);  // no more than the burst, however long the pause
}

// However often it is asked, time is not lost in between.
TEST(TokenBucket, SmallStepsAddUp) {
  TokenBucket b(1000, 500, kStart);
  b.take(500);
  Instant now = kStart;
  std::size_t got = 0;
  for (int i = 0; i < 10'000; ++i) {
    now = now + 333us;
    const std::size_t n = b.available(now);
    b.take(n);
    got += n;
  }
  EXPECT_NEAR(static_cast<double>(got), 3330, 2);
}

TEST(TokenBucket, SaysWhenItIsReady) {
  TokenBucket b(1000, 500, kStart);
  b.take(500);
  EXPECT_EQ(b.available(b.ready_at(200)), 200u);
  TokenBucket c(3, 500, kStart);
  c.take(500);
  const Instant at = c.ready_at(100'000);  // more than the burst: the whole burst
  EXPECT_EQ(c.available(at), 500u);
}

}  // namespace
}  // namespace adit
