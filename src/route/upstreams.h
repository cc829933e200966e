// Which of several upstreams the next connection goes to: round robin over those that are well.
// Health is passive: what dialling them shows. Pure, with the time given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/limits.h"
#include "base/time.h"

namespace adit::route {

class Upstreams {
 public:
  // So many failures in a row put an upstream out.
  static constexpr unsigned kFailuresMax = 3;
  static constexpr Duration kOutFirst = 1s;  // doubles with each failed trial
  static constexpr Duration kOutMax = 30s;
  // A trial whose end nobody reports (its visitor left) makes room for another after this.
  static constexpr Duration kTrialMax = limits::kDialDeadline;

  explicit Upstreams(std::size_t count) : upstreams_(count) {}

  std::size_t size() const { return upstreams_.size(); }

  // Index of the upstream to dial, not one of `tried`; nullopt when all are among them. An
  // upstream whose time out has passed gets one connection as a trial. When all that are left are
  // out, the one that is due back first is dialled all the same: a refused visitor is never better
  // than a failed dial.
  std::optional<std::size_t> pick(Instant now, std::span<const std::size_t> tried = {});

  // What came of dialling; every pick should be followed by one of them.
  void succeeded(std::size_t index);
  void failed(std::size_t index, Instant now);

  bool out(std::size_t index, Instant now) const { return now < upstreams_[index].out_until; }
  // For status: failures in a row.
  std::uint64_t failures(std::size_t index) const { return upstreams_[index].failures; }

 private:
  struct Upstream {
    std::uint64_t failures = 0;  // in a row
    Duration out_for{};          // of the last time out; zero: it is well
    Instant out_until{INT64_MIN};
    Instant trial_until{INT64_MIN};  // a trial is on its way until then
  };

  std::vector<Upstream> upstreams_;
  std::size_t next_ = 0;
};

}  // namespace adit::route
