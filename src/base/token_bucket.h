// A rate in bytes a second with some burst, by the clock that the caller gives.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace adit {

class TokenBucket {
 public:
  // No limit.
  TokenBucket() = default;
  // `rate`: bytes a second, 0 for no limit; `burst`: bytes that may go at once after a pause, at
  // least 1. Full at `now`.
  TokenBucket(std::uint64_t rate, std::uint64_t burst, Instant now)
      : rate_(rate), burst_(std::max<std::uint64_t>(burst, 1)), tokens_(burst_), at_(now) {}

  bool limits() const { return rate_ != 0; }
  std::uint64_t rate() const { return rate_; }
  // Bytes that may go now.
  std::size_t available(Instant now) {
    if (!limits()) return SIZE_MAX;
    refill(now);
    return static_cast<std::size_t>(tokens_);
  }
  // `n` bytes, at most available().
  void take(std::size_t n) {
    if (limits()) tokens_ -= std::min<std::uint64_t>(n, tokens_);
  }
  // When `n` bytes, or the whole burst where that is less, will be available.
  Instant ready_at(std::size_t n) const {
    const std::uint64_t wanted = std::min<std::uint64_t>(n, burst_);
    if (!limits() || tokens_ >= wanted) return at_;
    const double seconds = static_cast<double>(wanted - tokens_) / static_cast<double>(rate_);
    // One more nanosecond: what the timer then finds is there.
    return at_ + Duration{static_cast<std::int64_t>(seconds * 1e9) + 1};
  }

 private:
  void refill(Instant now) {
    const double seconds = static_cast<double>((now - at_).count()) / 1e9;
    const double earned = seconds * static_cast<double>(rate_);
    if (earned < 1) return;  // `at_` stays, so that small steps add up
    const auto whole = static_cast<std::uint64_t>(std::min(earned, 1e18));
    tokens_ = std::min(burst_, tokens_ + whole);
    at_ = tokens_ == burst_
              ? now
              : at_ + Duration{static_cast<std::int64_t>(static_cast<double>(whole) * 1e9 /
                                                         static_cast<double>(rate_))};
  }

  std::uint64_t rate_ = 0, burst_ = 0, tokens_ = 0;
  Instant at_;
};

}  // namespace adit
