// Whether a carrier holds a session's data up: all the time congestion control let less go than
// there was, and this is how much went. A far side that does not read is no strain: what waits for
// it is held up by flow control.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>

#include "base/time.h"

namespace adit::service {

class Strain {
 public:
  // So long it has to last; samples further apart than this say nothing about the time between.
  static constexpr Duration kWindow = 2s, kApartMax = 1s, kApartMin = 100ms, kNew = 2s;

  // Another carrier: what the one before has left in the queues on the way is not its doing.
  void begin(Instant now) {
    *this = {};
    last_ = now + kNew;
    fresh_ = true;
  }

  // Whether a sample is worth its making; asked as often as data is confirmed.
  bool due(Instant now) const { return now - last_ >= kApartMin; }

  // `held_up`: congestion control holds data back now. `handed`: bytes that the far side has handed
  // on, ever. Returns bytes a second, once for each span of kWindow that was held up throughout. A
  // carrier that still finds out what the path has is let be: where the second half brought a
  // quarter more than the first, that half is the next span's first.
  std::optional<std::uint64_t> sample(Instant now, bool held_up, std::uint64_t handed) {
    const bool gap = std::exchange(fresh_, false) || now - last_ > kApartMax;
    last_ = now;
    if (!held_up || gap) {
      begin_ = {now, handed};
      at_half_ = false;
      return std::nullopt;
    }
    if (!at_half_) {
      if (now - begin_.at < kWindow / 2) return std::nullopt;
      at_half_ = true;
      half_ = {now, handed};
      return std::nullopt;
    }
    if (now - begin_.at < kWindow) return std::nullopt;
    const Mark end{now, handed};
    const std::uint64_t before = rate(begin_, half_), after = rate(half_, end);
    if (after > before + before / 4) {
      begin_ = std::exchange(half_, end);
      return std::nullopt;
    }
    at_half_ = false;
    return rate(std::exchange(begin_, end), end);
  }

 private:
  struct Mark {
    Instant at;
    std::uint64_t handed = 0;
  };
  static std::uint64_t rate(const Mark& from, const Mark& to) {
    return (to.handed - from.handed) * 1000 / static_cast<std::uint64_t>((to.at - from.at) / 1ms);
  }

  Instant last_;
  Mark begin_, half_;
  bool at_half_ = false, fresh_ = false;
};

}  // namespace adit::service
