// Time as the loop hands it out: one frozen `now` a turn. Nothing outside io/ reads a clock.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace adit {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

// A point on the loop's monotonic clock (nanoseconds since a start that means nothing).
struct Instant {
  std::int64_t ns = 0;

  auto operator<=>(const Instant&) const = default;
  // Saturates, so that "never" plus anything is still never.
  friend constexpr Instant operator+(Instant t, Duration d) {
    return t.ns > INT64_MAX - d.count() ? Instant{INT64_MAX} : Instant{t.ns + d.count()};
  }
  friend constexpr Duration operator-(Instant a, Instant b) { return Duration{a.ns - b.ns}; }

  static constexpr Instant never() { return Instant{INT64_MAX}; }
};

// Seconds since 1970-01-01 UTC, for certificates and log lines.
struct WallTime {
  std::int64_t ns = 0;
  constexpr std::int64_t seconds() const { return ns / 1'000'000'000; }
};

// A deadline is made once at the edge and only narrows on its way in.
class Deadline {
 public:
  static constexpr Deadline at(Instant t) { return Deadline{t}; }
  static constexpr Deadline after(Instant now, Duration d) { return Deadline{now + d}; }
  static constexpr Deadline never() { return Deadline{Instant::never()}; }  // say why where used
  constexpr bool expired(Instant now) const { return now >= at_; }
  constexpr Deadline sooner(Deadline o) const { return Deadline{std::min(at_, o.at_)}; }
  constexpr Instant instant() const { return at_; }

 private:
  constexpr explicit Deadline(Instant at) : at_(at) {}
  Instant at_;
};

}  // namespace adit
