// Whether a carrier holds a session's data up: all the time the congestion window was full, and
// this is how much went. A far side that does not read is no strain: what waits for it is not in
// the window.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace adit::service {

class Strain {
 public:
  // So long it has to last; samples further apart than this say nothing about the time between.
  static constexpr Duration kWindow = 2s, kApartMax = 1s, kApartMin = 100ms;

  // Whether a sample is worth its making; asked as often as data is confirmed.
  bool due(Instant now) const { return now - last_ >= kApartMin; }

  // `held_up`: the window is full now. `handed`: bytes that the far side has handed on, ever.
  // Returns bytes a second, once for each window that was full from its begin to its end.
  std::optional<std::uint64_t> sample(Instant now, bool held_up, std::uint64_t handed) {
    const bool gap = now - last_ > kApartMax;
    last_ = now;
    if (!held_up || gap) {
      begin_ = now;
      handed_at_begin_ = handed;
      return std::nullopt;
    }
    const Duration lasted = now - begin_;
    if (lasted < kWindow) return std::nullopt;
    const auto ms = static_cast<std::uint64_t>(lasted / 1ms);
    const std::uint64_t rate = (handed - handed_at_begin_) * 1000 / ms;
    begin_ = now;
    handed_at_begin_ = handed;
    return rate;
  }

 private:
  Instant last_, begin_;
  std::uint64_t handed_at_begin_ = 0;
};

}  // namespace adit::service
