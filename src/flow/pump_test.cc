#include "flow/pump.h"

#include <algorithm>
#include <cerrno>

#include "base/limits.h"
#include "base/prng.h"
#include "flow/flow_test_peers.h"
#include "io/real_loop_cases.h"

namespace adit::flow {
namespace {

constexpr std::uint64_t kMega = 1'000'000;

class PumpTest : public FlowTest {};
INSTANTIATE_TEST_SUITE_P(Real, PumpTest, io::real_cases(), io::case_name);

TEST_P(PumpTest, CarriesBytesBothWays) {
  for (const bool copy_only : {false, true}) {
    auto j = join({.copy_only = copy_only});
    j->a.read();
    j->b.read();
    j->a.send(30 * kMega);
    j->b.send(20 * kMega);
    j->a.finish_after();
    j->b.finish_after();
    ASSERT_TRUE(until([&] { return j->end && j->a.ended() && j->b.ended(); }, 60s));
    EXPECT_EQ(*j->end, PumpEnd::Finished);
    EXPECT_TRUE(j->a.intact && j->a.eof);
    EXPECT_TRUE(j->b.intact && j->b.eof);
    EXPECT_EQ(j->a.received, 20 * kMega);
    EXPECT_EQ(j->b.received, 30 * kMega);
    EXPECT_EQ(j->forward, 30 * kMega);
    EXPECT_EQ(j->backward, 20 * kMega);
    EXPECT_EQ(bulk->pipes().lent(), 0u);
  }
}

TEST_P(PumpTest, HalfCloseTravelsInEveryOrder) {
  for (const bool a_first : {true, false}) {
    auto j = join();
    Peer& first = a_first ? j->a : j->b;
    Peer& second = a_first ? j->b : j->a;
    first.read();
    second.read();
    first.send(1000);
    first.finish_after();
    ASSERT_TRUE(until([&] { return second.eof; }));
    EXPECT_EQ(second.received, 1000u);
    EXPECT_FALSE(first.ended());
    second.send(5 * kMega);  // the other direction lives on, in bulk too
    ASSERT_TRUE(until([&] { return first.received == 5 * kMega; }, 60s));
    EXPECT_FALSE(j->end);
    second.finish_after();
    ASSERT_TRUE(until([&] { return first.eof && j->end; }));
    EXPECT_EQ(*j->end, PumpEnd::Finished);
    EXPECT_TRUE(first.intact && second.intact);
  }
}

TEST_P(PumpTest, EndWithoutAByte) {
  auto j = join();
  j->a.read();
  j->b.read();
  j->a.finish_after();
  j->b.finish_after();
  ASSERT_TRUE(until([&] { return j->end && j->a.ended() && j->b.ended(); }));
  EXPECT_EQ(*j->end, PumpEnd::Finished);
  EXPECT_TRUE(j->a.eof && j->b.eof);
}

// A receiver that does not read stops the sender, and nothing piles up between.
TEST_P(PumpTest, BackPressureBoundsWhatIsHeld) {
  auto j = join({.copy_only = true});
  j->a.send(200 * kMega);
  std::size_t held = 0;
  std::uint64_t before = UINT64_MAX;
  while (before != j->a.sent) {  // the kernel's buffers end somewhere
    before = j->a.sent;
    until([&] { return held = std::max(held, j->near_stream->readable().size()), false; }, 200ms);
  }
  EXPECT_TRUE(j->a.blocked());
  EXPECT_LT(j->a.sent, 50 * kMega);
  EXPECT_GT(held, 0u);
  EXPECT_LE(held, limits::kReceiveBuffers * limits::kReceiveBufferBytes);
  RecordProperty("held", static_cast<int>(held));
  j->b.read();
  ASSERT_TRUE(until([&] { return j->b.received == 200 * kMega; }, 60s));
  EXPECT_TRUE(j->b.intact);
}

TEST_P(PumpTest, ResetReachesTheOtherSide) {
  for (const bool from_a : {true, false}) {
    for (const bool bulk_flows : {false, true}) {
      auto j = join();
      Peer& dies = from_a ? j->a : j->b;
      Peer& other = from_a ? j->b : j->a;
      other.read();
      dies.read();
      dies.send(bulk_flows ? 500 * kMega : 10);
      ASSERT_TRUE(until([&] { return other.received >= (bulk_flows ? 5 * kMega : 10); }, 60s));
      dies.abort();
      ASSERT_TRUE(until([&] { return j->end && other.ended(); }, 30s));
      EXPECT_EQ(*j->end, PumpEnd::Failed);
      EXPECT_EQ(other.error, ECONNRESET);
      EXPECT_TRUE(other.intact);
      EXPECT_EQ(bulk->pipes().lent(), 0u);
    }
  }
}

// The receiver of bulk goes away: the sender learns it although it only writes.
TEST_P(PumpTest, ResetByTheReceiverOfBulk) {
  for (const bool copy_only : {false, true}) {
    auto j = join({.copy_only = copy_only});
    j->b.read();
    j->a.read();
    j->a.send(5000 * kMega);
    ASSERT_TRUE(until([&] { return j->b.received >= 5 * kMega; }, 60s));
    j->b.abort();
    ASSERT_TRUE(until([&] { return j->end && j->a.ended(); }, 30s));
    EXPECT_EQ(*j->end, PumpEnd::Failed);
    EXPECT_NE(j->a.error + j->a.send_error, 0);  // a socket tells its error once
  }
}

// An answer ahead of a reset (413 and close, with the request unread) is passed on.
TEST_P(PumpTest, AnswerAheadOfAResetArrives) {
  for (const std::uint64_t answer : {std::uint64_t{300}, std::uint64_t{100'000}}) {
    auto j = join();
    j->a.read();
    j->b.send(answer);
    j->a.send(50 * kMega);  // blocks: b does not read
    ASSERT_TRUE(until([&] { return j->a.blocked() || j->a.sent == 50 * kMega; }));
    j->b.socket.reset();  // with data unread: RST
    ASSERT_TRUE(until([&] { return j->end && j->a.ended(); }, 30s));
    EXPECT_EQ(*j->end, PumpEnd::Failed);
    EXPECT_EQ(j->a.received, answer);
    EXPECT_TRUE(j->a.intact);
  }
}

TEST_P(PumpTest, IdleEndsBothSides) {
  auto j = join({.limits = {50ms, 5min}});
  j->a.read();
  j->b.read();
  const Instant start = loop_->now();
  j->a.send(10);
  ASSERT_TRUE(until([&] { return j->end && j->a.ended() && j->b.ended(); }));
  EXPECT_GE(loop_->now() - start, 50ms);
  EXPECT_EQ(*j->end, PumpEnd::Idle);
  EXPECT_EQ(j->a.error, ECONNRESET);
  EXPECT_EQ(j->b.error, ECONNRESET);
}

TEST_P(PumpTest, HalfClosedIdleIsShorter) {
  auto j = join({.limits = {10min, 50ms}});
  j->a.read();
  j->b.read();
  quiet(80ms);
  EXPECT_FALSE(j->end);
  j->a.send(10);
  j->a.finish_after();
  ASSERT_TRUE(until([&] { return j->b.eof; }));
  EXPECT_FALSE(j->end);
  ASSERT_TRUE(until([&] { return j->end.has_value(); }));
  EXPECT_EQ(*j->end, PumpEnd::Idle);
}

TEST_P(PumpTest, AbortEndsBothAndSaysNothing) {
  for (const std::uint64_t bytes : {std::uint64_t{100}, 500 * kMega}) {
    auto j = join();
    j->a.read();
    j->b.read();
    j->a.send(bytes);
    j->b.send(bytes);
    ASSERT_TRUE(until([&] { return j->b.received >= std::min(bytes, 3 * kMega); }, 60s));
    j->pump->abort();
    ASSERT_TRUE(until([&] { return j->a.ended() && j->b.ended(); }));
    EXPECT_FALSE(j->end);
    EXPECT_EQ(bulk->pipes().lent(), 0u);
  }
}

TEST_P(PumpTest, EarlyBytesComeFirst) {
  ByteVector early(5000);
  for (std::size_t i = 0; i < early.size(); ++i) early[i] = pattern_byte(1, i);
  auto j = join({.early = early});
  j->b.read();
  ASSERT_TRUE(until([&] { return j->b.received == early.size(); }));
  EXPECT_TRUE(j->b.intact);
}

TEST_P(PumpTest, BulkIsPromotedAndQuietDemoted) {
  auto j = join();
  j->a.read();
  j->b.read();
  bool promoted = false;
  std::uint64_t wanted = 0;
  for (int round = 0; round < 4; ++round) {
    wanted += 40 * kMega;
    j->a.send(40 * kMega);
    promoted = false;
    ASSERT_TRUE(until([&] {
      promoted |= bulk->pipes().lent() > 0;
      return j->b.received == wanted;
    }, 60s));
    EXPECT_TRUE(promoted) << "round " << round;
    // Small pieces, one at a time: the pipe goes back to the pool.
    for (int i = 0; i < 40; ++i) {
      j->a.send(100);
      wanted += 100;
      ASSERT_TRUE(until([&] { return j->b.received == wanted; }));
    }
    EXPECT_EQ(bulk->pipes().lent(), 0u);
    EXPECT_TRUE(j->b.intact);
  }
  j->a.finish_after();
  ASSERT_TRUE(until([&] { return j->b.eof; }));
  EXPECT_EQ(j->forward + j->pump->forward_bytes(), wanted);
}

TEST_P(PumpTest, PromotedDirectionWaitsForASlowReader) {
  auto j = join();
  j->b.read();
  j->a.send(100 * kMega);
  j->a.finish_after();
  Prng prng(7);
  while (!j->b.ended()) {
    const std::uint64_t next = j->b.received + 1 + prng.below(20 * kMega);
    ASSERT_TRUE(until([&] { return j->b.received >= next || j->b.ended(); }, 60s));
    j->b.pause();
    quiet(15ms);
    j->b.read();
  }
  EXPECT_TRUE(j->b.eof && j->b.intact);
  EXPECT_EQ(j->b.received, 100 * kMega);
}

TEST_P(PumpTest, CopiesWhereNoPipeIsLeft) {
  std::vector<io::SplicePipe> taken;
  for (;;) {
    auto pipe = bulk->pipes().borrow();
    if (!pipe) break;
    taken.push_back(std::move(*pipe));
  }
  EXPECT_LE(taken.size(), limits::kSplicePipesMax);
  auto j = join();
  j->b.read();
  j->a.send(30 * kMega);
  ASSERT_TRUE(until([&] { return j->b.received == 30 * kMega; }, 60s));
  EXPECT_TRUE(j->b.intact);
  EXPECT_EQ(bulk->pipes().lent(), taken.size());
  for (auto& pipe : taken) bulk->pipes().give_back(std::move(pipe));
  j->a.send(30 * kMega);
  bool promoted = false;
  ASSERT_TRUE(until([&] {
    promoted |= bulk->pipes().lent() > 0;
    return j->b.received == 60 * kMega;
  }, 60s));
  EXPECT_TRUE(promoted && j->b.intact);
}

// Many at once are promoted in one turn, more than one turn's chunks.
TEST_P(PumpTest, ManyTransfersInParallel) {
  Prng prng(11);
  struct Transfer {
    std::unique_ptr<Joined> j;
    std::uint64_t forward, backward;
  };
  std::vector<Transfer> all;
  for (int i = 0; i < 100; ++i) {
    const auto size = [&] { return prng.below(prng.chance(0.2) ? 8 * kMega : 100'000); };
    all.push_back({join(), size(), size()});
  }
  for (Transfer& t : all) {
    t.j->a.read();
    t.j->b.read();
    t.j->a.send(t.forward);
    t.j->b.send(t.backward);
    t.j->a.finish_after();
    t.j->b.finish_after();
  }
  const auto done = [](const Transfer& t) { return t.j->end && t.j->a.ended() && t.j->b.ended(); };
  ASSERT_TRUE(until([&] { return std::ranges::all_of(all, done); }, 100s));
  for (const Transfer& t : all) {
    EXPECT_EQ(*t.j->end, PumpEnd::Finished);
    EXPECT_TRUE(t.j->a.intact && t.j->b.intact && t.j->a.eof && t.j->b.eof);
    EXPECT_EQ(t.j->b.received, t.forward);
    EXPECT_EQ(t.j->a.received, t.backward);
  }
  EXPECT_EQ(bulk->pipes().lent(), 0u);
}

// Torn down at any moment, from outside.
TEST_P(PumpTest, DestroyedInTheMiddle) {
  for (int turns = 0; turns < 60; turns += 3) {
    auto j = join();
    j->a.read();
    j->b.read();
    j->a.send(500 * kMega);
    j->b.send(500 * kMega);
    for (int i = 0; i < turns; ++i) loop_->turn(loop_->now() + 5ms);
    j->pump.reset();
    ASSERT_TRUE(until([&] { return j->a.ended() && j->b.ended(); }, 30s));
    EXPECT_EQ(bulk->pipes().lent(), 0u);
  }
}

}  // namespace
}  // namespace adit::flow
