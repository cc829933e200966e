#include "proto/link/seen_numbers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/prng.h"

namespace adit::link {
namespace {

using Numbers = std::vector<std::uint64_t>;
constexpr std::uint64_t kHuge = (std::uint64_t{1} << 62) - 1;

TEST(SeenNumbers, InOrderAndTwice) {
  SeenNumbers seen;
  EXPECT_EQ(seen.next(), 1u);
  EXPECT_FALSE(seen.add(0)) << "there is no stream 0";
  EXPECT_TRUE(seen.contains(0));
  for (std::uint64_t n = 1; n <= 100; ++n) EXPECT_TRUE(seen.add(n));
  for (std::uint64_t n = 1; n <= 100; ++n) EXPECT_FALSE(seen.add(n));
  EXPECT_EQ(seen.next(), 101u);
  EXPECT_TRUE(seen.unseen().empty());
}

TEST(SeenNumbers, Gaps) {
  SeenNumbers seen;
  EXPECT_TRUE(seen.add(5));
  EXPECT_EQ(seen.unseen(), (Numbers{1, 2, 3, 4}));
  EXPECT_TRUE(seen.add(3));
  EXPECT_FALSE(seen.add(3));
  EXPECT_EQ(seen.unseen(), (Numbers{1, 2, 4}));
  EXPECT_FALSE(seen.contains(4));
  EXPECT_FALSE(seen.contains(6));
}

TEST(SeenNumbers, AJumpTooFarChangesNothing) {
  SeenNumbers seen;
  EXPECT_FALSE(seen.add(kHuge));
  EXPECT_FALSE(seen.add(kUnseenMax + 2));
  EXPECT_EQ(seen.next(), 1u);
  EXPECT_TRUE(seen.add(kUnseenMax + 1));
  EXPECT_EQ(seen.unseen().size(), kUnseenMax);
  EXPECT_FALSE(seen.add(kUnseenMax + 3)) << "no more gaps";
  EXPECT_TRUE(seen.add(kUnseenMax + 2)) << "no gap";
  EXPECT_TRUE(seen.add(7));
  EXPECT_TRUE(seen.add(kUnseenMax + 4));
}

TEST(SeenNumbers, CloseGaps) {
  struct Case {
    const char* what;
    Numbers seen;
    std::uint64_t next;
    Numbers open;
    std::uint64_t next_after;
    Numbers unseen_after;
  };
  const Case cases[] = {
      {"nothing new", {1, 2}, 3, {}, 3, {}},
      {"all that is missing is over", {1, 5}, 6, {}, 6, {}},
      {"some wait at the relay", {1, 5}, 8, {2, 5, 7}, 8, {2, 7}},
      {"a relay that says less than it has sent", {1, 5}, 3, {}, 6, {}},
      {"open ones above its own next", {1}, 3, {2, 9}, 3, {2}},
      {"zero in the list", {1}, 3, {0}, 3, {}},
      {"a huge number", {1, 3}, kHuge, {2, 3, 99, kHuge - 1}, kHuge, {2, 99, kHuge - 1}},
  };
  for (const Case& c : cases) {
    SeenNumbers seen;
    for (std::uint64_t n : c.seen) EXPECT_TRUE(seen.add(n));
    seen.close_gaps(c.next, c.open);
    EXPECT_EQ(seen.next(), c.next_after) << c.what;
    EXPECT_EQ(seen.unseen(), c.unseen_after) << c.what;
    EXPECT_TRUE(seen.contains(1)) << c.what;
  }
}

TEST(SeenNumbers, HugeListsStayBounded) {
  Numbers open(2 * kUnseenMax);
  for (std::size_t i = 0; i < open.size(); ++i) open[i] = kHuge / 2 + 3 * i;
  SeenNumbers seen;
  seen.close_gaps(kHuge, open);
  EXPECT_EQ(seen.unseen().size(), kUnseenMax);
  EXPECT_FALSE(seen.add(kHuge + 1));
  EXPECT_TRUE(seen.add(open[0]));
}

TEST(SeenNumbers, Model) {
  constexpr std::uint64_t kRange = 400;
  for (std::uint64_t seed = 1; seed <= 500 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Prng prng(seed);
    SeenNumbers seen;
    std::vector<bool> model(kRange + 1);
    for (int i = 0; i < 100; ++i) {
      if (prng.chance(0.9)) {
        const std::uint64_t n = 1 + prng.below(kRange);
        EXPECT_EQ(seen.add(n), !model[n]);
        model[n] = true;
      } else {
        const std::uint64_t next = 1 + prng.below(kRange);
        Numbers open;
        for (std::uint64_t n = 1; n <= kRange; ++n)
          if (prng.chance(0.1)) open.push_back(n);
        seen.close_gaps(next, open);
        // By the relay's word nothing comes for the gaps above its next either.
        const std::uint64_t below = std::max(next, seen.next());
        for (std::uint64_t n = 1; n < below; ++n)
          if (n >= next || !std::binary_search(open.begin(), open.end(), n)) model[n] = true;
      }
    }
    for (std::uint64_t n = 1; n <= kRange; ++n) EXPECT_EQ(seen.contains(n), model[n]) << n;
    for (std::uint64_t n : seen.unseen()) EXPECT_LT(n, seen.next());
  }
}

}  // namespace
}  // namespace adit::link
