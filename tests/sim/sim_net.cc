#include "sim/sim_net.h"

#include <algorithm>
#include <cmath>

namespace adit::sim {

namespace {

constexpr std::size_t kSegmentPayload = 1448;  // of one Ethernet frame

Duration transmission_time(std::size_t bytes, std::uint64_t bandwidth) {
  return Duration{static_cast<std::int64_t>(bytes * 8 * 1'000'000'000 / bandwidth)};
}

}  // namespace

std::size_t Path::queued(Instant now) const {
  if (model.bandwidth == 0 || busy_until_ <= now) return 0;
  const double seconds = static_cast<double>((busy_until_ - now).count()) / 1e9;
  return static_cast<std::size_t>(seconds * static_cast<double>(model.bandwidth) / 8);
}

Instant Path::departure(Instant now, std::size_t bytes) {
  stats.bytes += bytes;
  if (model.bandwidth == 0) return now;
  busy_until_ = std::max(now, busy_until_) + transmission_time(bytes, model.bandwidth);
  return busy_until_;
}

Duration Path::random_delay(Prng& prng) const {
  const auto spread = static_cast<std::uint64_t>(model.jitter.count()) + 1;
  return model.delay + Duration{static_cast<std::int64_t>(prng.below(spread))};
}

// A token bucket of a tenth of a second: what exceeds it is dropped, not delayed.
bool Path::policed(Instant now, std::size_t bytes) {
  if (model.udp_police == 0) return false;
  const Instant paid = std::max(now, police_until_) + transmission_time(bytes, model.udp_police);
  if (paid > now + 100ms) return true;
  police_until_ = paid;
  return false;
}

Path::Arrivals Path::send_datagram(Instant now, std::size_t bytes, bool fragment, Prng& prng) {
  ++stats.datagrams;
  Arrivals out;
  if (!up() || udp_blocked) return ++stats.lost, out;
  if (bytes > model.mtu && !fragment) return ++stats.too_big, out;
  if (policed(now, bytes)) return ++stats.overflowed, out;
  const std::size_t queue = queued(now);
  if (queue + bytes > model.queue_bytes && queue > 0) return ++stats.overflowed, out;
  out.marked = model.ecn_mark_bytes != 0 && queue > model.ecn_mark_bytes;
  const Instant left = departure(now, bytes);
  if (prng.chance(model.loss)) return ++stats.lost, out;

  Instant at = left + random_delay(prng);
  if (prng.chance(model.reorder)) {
    // Late by up to half the delay: behind some of those sent after it, which do not wait for it.
    const auto late = static_cast<std::uint64_t>((model.delay / 2 + 1ms).count());
    at = at + Duration{static_cast<std::int64_t>(1 + prng.below(late))};
    ++stats.reordered;
  } else {
    at = last_arrival_ = std::max(at, last_arrival_);
  }
  out.at[out.count++] = at;
  if (prng.chance(model.duplicate)) {
    out.at[out.count++] = at + random_delay(prng) / 4;
    ++stats.duplicated;
  }
  return out;
}

Instant Path::send_segment(Instant now, std::size_t bytes, Prng& prng) {
  ++stats.segments;
  Instant at = departure(now, bytes) + random_delay(prng);
  const std::size_t packets = bytes / kSegmentPayload + 1;
  const double all_arrive = std::pow(1 - model.loss, static_cast<double>(packets));
  if (prng.chance(1 - all_arrive)) at = at + 2 * model.delay + random_delay(prng);
  return at;
}

Faults Faults::none() {
  Faults f;
  f.fragment = f.coalesce = f.late_data = 0;
  return f;
}

Faults Faults::some(Prng& prng) {
  Faults f;
  const auto chance = [&](double most) {
    return prng.chance(0.5) ? most * static_cast<double>(prng.below(1000)) / 1000 : 0.0;
  };
  f.short_send = chance(0.5);
  f.fragment = chance(1);
  f.coalesce = chance(1);
  f.late_data = chance(1);
  f.spurious_wakeup = chance(0.3);
  return f;
}

}  // namespace adit::sim
