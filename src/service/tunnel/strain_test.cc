#include "service/tunnel/strain.h"

#include <gtest/gtest.h>

namespace adit::service {
namespace {

struct Driver {
  Strain strain;
  Instant now = Instant{} + 1h;
  std::uint64_t handed = 0;

  // Samples every `apart` for `time`; the last rate that was told.
  std::optional<std::uint64_t> run(Duration time, bool held_up, std::uint64_t bytes_a_second,
                                   Duration apart = 200ms) {
    std::optional<std::uint64_t> out;
    for (Duration t{}; t < time; t += apart) {
      now = now + apart;
      handed += bytes_a_second * static_cast<std::uint64_t>(apart / 1ms) / 1000;
      if (const auto rate = strain.sample(now, held_up, handed)) out = rate;
    }
    return out;
  }
};

TEST(Strain, IsToldAfterTwoSecondsOfAFullWindow) {
  Driver d;
  EXPECT_FALSE(d.run(1900ms, true, 125'000));
  EXPECT_EQ(d.run(600ms, true, 125'000), 125'000u);
  EXPECT_FALSE(d.run(1s, true, 125'000));  // once a window
  EXPECT_TRUE(d.run(2s, true, 125'000));
}

TEST(Strain, AWindowThatWasOnceNotFullBeginsAnew) {
  Driver d;
  d.run(1900ms, true, 1000);
  d.run(200ms, false, 1000);
  EXPECT_FALSE(d.run(1800ms, true, 1000));
  EXPECT_FALSE(d.run(10s, false, 1000));
}

TEST(Strain, ACarrierThatStillGrowsIsLetBe) {
  Driver d;
  EXPECT_FALSE(d.run(1s, true, 50'000));
  EXPECT_FALSE(d.run(1s, true, 100'000));
  EXPECT_FALSE(d.run(1s, true, 200'000));
  EXPECT_EQ(d.run(1200ms, true, 200'000), 200'000u);  // it does not grow any more
}

TEST(Strain, ANewCarrierHasTwoSeconds) {
  Driver d;
  d.handed = 200'000'000;  // over the carriers before
  d.strain.begin(d.now);
  for (Instant end = d.now + 2s; d.now < end; d.now = d.now + 50ms)
    EXPECT_FALSE(d.strain.due(d.now));
  d.now = d.now + 100ms;
  EXPECT_TRUE(d.strain.due(d.now));
  EXPECT_FALSE(d.run(1900ms, true, 1000));
  EXPECT_TRUE(d.run(600ms, true, 1000));
}

TEST(Strain, SamplesFarApartSayNothing) {
  Driver d;
  EXPECT_FALSE(d.run(20s, true, 1000, 1500ms));
}

}  // namespace
}  // namespace adit::service
