#include "route/upstreams.h"

#include <algorithm>

#include "base/check.h"

namespace adit::route {

std::optional<std::size_t> Upstreams::pick(Instant now, std::span<const std::size_t> tried) {
  std::optional<std::size_t> last_resort;
  const std::size_t count = upstreams_.size();
  for (std::size_t step = 0; step < count; ++step) {
    const std::size_t index = (next_ + step) % count;
    if (std::find(tried.begin(), tried.end(), index) != tried.end()) continue;
    Upstream& upstream = upstreams_[index];
    const bool well = upstream.out_for == Duration{};
    if (well || (now >= upstream.out_until && now >= upstream.trial_until)) {
      if (!well) upstream.trial_until = now + kTrialMax;
      next_ = (index + 1) % count;
      return index;
    }
    if (!last_resort || upstream.out_until < upstreams_[*last_resort].out_until)
      last_resort = index;
  }
  return last_resort;
}

void Upstreams::succeeded(std::size_t index) {
  CHECK(index < upstreams_.size());
  upstreams_[index] = Upstream{};
}

void Upstreams::failed(std::size_t index, Instant now) {
  CHECK(index < upstreams_.size());
  Upstream& upstream = upstreams_[index];
  ++upstream.failures;
  upstream.trial_until = Instant{INT64_MIN};
  if (upstream.failures < kFailuresMax) return;
  // Connections that were on their way when it went out fail too; they do not lengthen the time.
  if (now < upstream.out_until) return;
  upstream.out_for =
      upstream.out_for == Duration{} ? kOutFirst : std::min(upstream.out_for * 2, kOutMax);
  upstream.out_until = now + upstream.out_for;
}

}  // namespace adit::route
