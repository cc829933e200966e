#include "proto/link/stream_half.h"

#include <gtest/gtest.h>

#include <string>

#include "base/prng.h"

namespace adit::link {
namespace {

ByteVector bytes_at(std::uint64_t offset, std::size_t n) {
  ByteVector out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::uint8_t>((offset + i) * 131 >> 3);
  return out;
}

TEST(SendHalf, FreshOne) {
  SendHalf s;
  EXPECT_EQ(s.retained(), 0u);
  EXPECT_EQ(s.room(10), 10u);
  EXPECT_EQ(s.resume_offset(), 0u);
  EXPECT_FALSE(s.ends_at(0));
  EXPECT_FALSE(s.complete());
  EXPECT_TRUE(s.peer_handed(0));
  EXPECT_FALSE(s.peer_handed(1));  // never sent
}

TEST(SendHalf, TheEndCountsAsOne) {
  SendHalf s;
  s.write(bytes_at(0, 5));
  EXPECT_FALSE(s.peer_handed(6));
  s.finish();
  EXPECT_TRUE(s.ends_at(5));
  EXPECT_FALSE(s.ends_at(4));
  EXPECT_TRUE(s.peer_handed(5));
  EXPECT_FALSE(s.complete());
  EXPECT_FALSE(s.peer_handed(7));
  EXPECT_TRUE(s.peer_handed(6));
  EXPECT_TRUE(s.complete());
  EXPECT_EQ(s.resume_offset(), 5u);  // the end alone would be sent again
  EXPECT_TRUE(s.peek(5).empty());
  EXPECT_TRUE(s.peer_handed(3));  // a late ACK says less
  EXPECT_TRUE(s.complete());
}

TEST(SendHalf, BothMustCoverWhatIsReleased) {
  SendHalf s;
  s.attach();
  s.write(bytes_at(0, 100));
  EXPECT_TRUE(s.peer_handed(80));
  EXPECT_EQ(s.retained(), 100u) << "the carrier may still read it";
  s.carrier_acked(30);
  EXPECT_EQ(s.retained(), 70u);
  s.carrier_acked(95);
  EXPECT_EQ(s.retained(), 20u) << "the peer has not handed it on";
  s.carrier_acked(5000);  // a carrier's FIN, or nonsense
  EXPECT_EQ(s.retained(), 20u);
  EXPECT_TRUE(s.peer_handed(100));
  EXPECT_EQ(s.retained(), 0u);
}

TEST(SendHalf, AnotherCarrierStartsAnew) {
  SendHalf s;
  s.attach();
  s.write(bytes_at(0, 100));
  s.carrier_acked(100);
  EXPECT_TRUE(s.peer_handed(10));
  s.detach();
  EXPECT_EQ(s.retained(), 90u);
  EXPECT_FALSE(s.check_resume(9)) << "confirmed before, and forgotten";
  EXPECT_FALSE(s.check_resume(101)) << "never sent";
  EXPECT_TRUE(s.check_resume(10));
  EXPECT_TRUE(s.check_resume(100));
  s.resume(40);
  EXPECT_EQ(s.retained(), 60u);
  EXPECT_EQ(s.resume_offset(), 40u);
  s.attach();
  EXPECT_TRUE(s.peer_handed(100));
  EXPECT_EQ(s.retained(), 60u) << "the acknowledgements of the carrier before do not count";
  s.detach();
  EXPECT_EQ(s.retained(), 0u);
}

TEST(SendHalf, Room) {
  SendHalf s;
  s.write(bytes_at(0, 10));
  EXPECT_EQ(s.room(10), 0u);
  EXPECT_EQ(s.room(4), 0u);
  EXPECT_EQ(s.room(15), 5u);
}

// What is known of a half without looking into it.
struct Reference {
  std::uint64_t end = 0, handed = 0, acked = 0, start = 0;
  bool attached = false, finished = false;

  std::uint64_t most() const { return end + (finished ? 1 : 0); }
  std::uint64_t released() const {
    const std::uint64_t to = std::min(handed, end);
    return attached ? std::min(to, acked) : to;
  }
};

class HalfModel {
 public:
  explicit HalfModel(std::uint64_t seed) : prng_(seed) {}

  void step() {
    switch (prng_.below(8)) {
      case 0:
      case 1: return write();
      case 2: return acked();
      case 3: return handed();
      case 4: return attach();
      case 5: return detach();
      case 6: return resume();
      default:
        if (prng_.chance(0.02)) {
          half_.finish();
          ref_.finished = true;
        }
    }
  }

  void check() {
    EXPECT_EQ(half_.end(), ref_.end);
    EXPECT_LE(low_, ref_.released());
    low_ = std::max(low_, ref_.released());
    EXPECT_EQ(half_.retained(), ref_.end - low_);
    EXPECT_EQ(half_.complete(), ref_.finished && ref_.handed == ref_.end + 1);
    EXPECT_EQ(half_.resume_offset(), std::min(ref_.handed, ref_.end));
    const std::uint64_t at = low_ + prng_.below(ref_.end - low_ + 1);
    const Bytes seen = half_.peek(at);
    EXPECT_EQ(seen.empty(), at == ref_.end);
    const ByteVector wanted = bytes_at(at, seen.size());
    EXPECT_TRUE(std::equal(seen.begin(), seen.end(), wanted.begin(), wanted.end()));
    EXPECT_EQ(half_.ends_at(at), ref_.finished && at == ref_.end);
  }

 private:
  void write() {
    if (ref_.finished) return;
    const std::size_t n = prng_.below(prng_.chance(0.1) ? 40'000 : 100);
    half_.write(bytes_at(ref_.end, n));
    ref_.end += n;
  }
  void acked() {
    if (!ref_.attached) return;
    const std::uint64_t to = prng_.below(ref_.end + 10);
    half_.carrier_acked(to);
    ref_.acked = std::max(ref_.acked, std::min(to, ref_.end));
  }
  void handed() {
    const std::uint64_t to = prng_.below(ref_.most() + 5);
    const bool good = to <= ref_.most();
    EXPECT_EQ(static_cast<bool>(half_.peer_handed(to)), good);
    if (good) ref_.handed = std::max(ref_.handed, to);
  }
  void attach() {
    if (ref_.attached) return;
    half_.attach();
    ref_.attached = true;
    ref_.acked = std::min(ref_.handed, ref_.end);
  }
  void detach() {
    half_.detach();
    ref_.attached = false;
  }
  void resume() {
    const std::uint64_t to = prng_.below(ref_.most() + 5);
    const bool good = to >= ref_.handed && to <= ref_.most();
    EXPECT_EQ(static_cast<bool>(half_.check_resume(to)), good);
    if (!good || ref_.attached) return;
    half_.resume(to);
    ref_.handed = to;
  }

  Prng prng_;
  SendHalf half_;
  Reference ref_;
  std::uint64_t low_ = 0;
};

TEST(SendHalf, Model) {
  for (std::uint64_t seed = 1; seed <= 300 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    HalfModel model(seed);
    for (int i = 0; i < 300 && !testing::Test::HasFailure(); ++i) {
      model.step();
      model.check();
    }
  }
}

TEST(ReceiveHalf, TellsWhatWasHandedOn) {
  ReceiveHalf r;
  EXPECT_EQ(r.ack(), r.told());
  r.handed(10);
  EXPECT_EQ(r.ack(), 10u);
  EXPECT_EQ(r.told(), 0u);
  r.set_told();
  EXPECT_EQ(r.told(), 10u);
  r.fin_handed();
  r.fin_handed();
  EXPECT_EQ(r.ack(), 11u);
  EXPECT_EQ(r.bytes(), 10u);
  EXPECT_TRUE(r.complete());
  EXPECT_NE(r.ack(), r.told());
}

}  // namespace
}  // namespace adit::link
