#include "route/upstreams.h"

#include <gtest/gtest.h>

namespace adit::route {
namespace {

Instant at(Duration d) { return Instant{} + d; }

void fail_out(Upstreams& upstreams, std::size_t index, Instant now) {
  for (unsigned i = 0; i < Upstreams::kFailuresMax; ++i) upstreams.failed(index, now);
}

TEST(Upstreams, GoRound) {
  Upstreams upstreams(3);
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(upstreams.pick(at(0s)), i % 3);
}

TEST(Upstreams, NoneIsNone) { EXPECT_EQ(Upstreams(0).pick(at(0s)), std::nullopt); }

TEST(Upstreams, SkipsWhatWasTried) {
  Upstreams upstreams(3);
  const std::size_t first[] = {0};
  EXPECT_EQ(upstreams.pick(at(0s)), 0u);
  EXPECT_EQ(upstreams.pick(at(0s), first), 1u);
  const std::size_t two[] = {0, 1};
  EXPECT_EQ(upstreams.pick(at(0s), two), 2u);
  const std::size_t all[] = {0, 1, 2};
  EXPECT_EQ(upstreams.pick(at(0s), all), std::nullopt);
}

TEST(Upstreams, OutAfterFailuresInARow) {
  Upstreams upstreams(2);
  upstreams.failed(0, at(0s));
  upstreams.failed(0, at(0s));
  upstreams.succeeded(0);
  upstreams.failed(0, at(0s));
  EXPECT_FALSE(upstreams.out(0, at(0s)));
  EXPECT_EQ(upstreams.failures(0), 1u);
  upstreams.failed(0, at(0s));
  upstreams.failed(0, at(0s));
  EXPECT_TRUE(upstreams.out(0, at(0s)));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(upstreams.pick(at(500ms)), 1u);
}

TEST(Upstreams, OneTrialAfterTheTimeOut) {
  Upstreams upstreams(2);
  fail_out(upstreams, 0, at(0s));
  std::size_t trials = 0;
  for (int i = 0; i < 6; ++i) trials += upstreams.pick(at(1s)) == 0u;
  EXPECT_EQ(trials, 1u);
  upstreams.succeeded(0);
  trials = 0;
  for (int i = 0; i < 6; ++i) trials += upstreams.pick(at(1s)) == 0u;
  EXPECT_EQ(trials, 3u);
}

TEST(Upstreams, TimeOutDoublesUpToTheLimit) {
  Upstreams upstreams(2);
  Instant now = at(0s);
  fail_out(upstreams, 0, now);
  for (const Duration expected : {1s, 2s, 4s, 8s, 16s, 30s, 30s}) {
    EXPECT_TRUE(upstreams.out(0, now + (expected - 1ns)));
    EXPECT_FALSE(upstreams.out(0, now + expected));
    now = now + expected;
    const std::size_t other[] = {1};
    EXPECT_EQ(upstreams.pick(now, other), 0u);
    upstreams.failed(0, now);
  }
}

TEST(Upstreams, LateFailuresDoNotLengthenTheTimeOut) {
  Upstreams upstreams(2);
  fail_out(upstreams, 0, at(0s));
  for (int i = 0; i < 50; ++i) upstreams.failed(0, at(900ms));
  EXPECT_FALSE(upstreams.out(0, at(1s)));
}

TEST(Upstreams, UnreportedTrialMakesRoomForAnother) {
  Upstreams upstreams(2);
  fail_out(upstreams, 0, at(0s));
  std::size_t trials = 0;
  for (int i = 0; i < 4; ++i) trials += upstreams.pick(at(1s)) == 0u;
  for (int i = 0; i < 4; ++i) trials += upstreams.pick(at(1s) + Upstreams::kTrialMax) == 0u;
  EXPECT_EQ(trials, 2u);
}

TEST(Upstreams, WithAllOutTheNextDueIsDialled) {
  Upstreams upstreams(3);
  fail_out(upstreams, 2, at(0s));
  fail_out(upstreams, 1, at(100ms));
  fail_out(upstreams, 0, at(200ms));
  EXPECT_EQ(upstreams.pick(at(300ms)), 2u);
  const std::size_t tried[] = {2};
  EXPECT_EQ(upstreams.pick(at(300ms), tried), 1u);
}

}  // namespace
}  // namespace adit::route
