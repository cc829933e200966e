#include "proto/quic/path_watch.h"

namespace adit::quic {

namespace {
// Longer than a few probe timeouts on a slow path; a visitor has noticed by then, but is still
// there.
constexpr Duration kBlackHoleAfter = 2s;
// The peer is there and answers: else nothing says that size is the matter.
constexpr std::uint64_t kBlackHoleHeard = 2;
constexpr Duration kTryLargeAgain = 10min;  // RFC 8899 §5.1.1, PMTU_RAISE_TIMER
}  // namespace

void BlackHole::check(std::uint64_t bytes_in_flight, Instant now) {
  if (small_ && now >= small_until_) small_ = false;
  if (bytes_in_flight == 0) progressed();  // what was sent belonged to streams that are reset
  if (waiting_since_ == Instant::never() || now - waiting_since_ < kBlackHoleAfter) return;
  if (heard_ < kBlackHoleHeard) return;
  small_ = true;
  small_until_ = now + kTryLargeAgain;
  progressed();
}

}  // namespace adit::quic
