#include "service/probe/prober.h"

#include <algorithm>

namespace adit::service {

namespace {
// How often it is looked who is due.
constexpr Duration kTick = 250ms;
}  // namespace

Prober::Prober(io::Loop& loop, Log& log, Metrics& metrics, ProbeTargets& targets)
    : loop_(loop),
      log_(log),
      metrics_(metrics),
      targets_(targets),
      tick_(loop, Delegate<void()>::to<&Prober::on_tick>(this)) {}

void Prober::start(const ProbeSettings& settings, std::uint64_t seed) {
  settings_ = settings;
  if (settings_.period <= Duration{0}) return;
  jitter_ = Prng(seed);
  crypto::ClientTls options;
  options.alpn = {std::string(kAlpnProbe)};
  options.verify = crypto::Verify::Callback;  // nothing is verified: no handshake is finished
  options.tls13_only = true;
  auto context = crypto::TlsContext::client(options);
  if (!context) return log_.error("probe.off", {{"what", context.error().what}});
  tls_.emplace(std::move(*context));
  tick_.set(loop_.now() + kTick);
}

void Prober::stop() {
  tick_.stop();
  running_.clear();
}

const ProbeState* Prober::state_of(std::uint64_t session) const {
  const auto found = entries_.find(session);
  return found == entries_.end() || !found->second.state ? nullptr : &*found->second.state;
}

// Within 20 % of the period, so that a thousand agents are not probed in one moment.
Instant Prober::next_due() {
  const auto spread = static_cast<std::uint64_t>(settings_.period.count() / 5);
  const auto less = static_cast<std::int64_t>(jitter_.below(spread + 1));
  return loop_.now() + (settings_.period - Duration{less});
}

void Prober::on_tick() {
  tick_.set(loop_.now() + kTick);
  std::map<std::uint64_t, Entry> now;
  for (ProbeTargets::Target& target : targets_.probe_targets()) {
    const auto known = entries_.find(target.session);
    Entry entry = known != entries_.end() ? std::move(known->second) : Entry{};
    // The first look soon: whoever has just started an agent wants to know.
    if (known == entries_.end())
      entry.due = loop_.now() + Duration{static_cast<std::int64_t>(
                      jitter_.below(static_cast<std::uint64_t>(settings_.period.count() / 2) + 1))};
    entry.name = std::move(target.name);
    if (!target.linked) {
      // No need to knock: it waits for its link, and visitors wait with it.
      if (entry.due <= loop_.now()) {
        judge(target.session, entry, {ProbeLeg::Link, "the agent has no link", {}});
        if (entry.state) entry.state->lost = 0;
        entry.due = next_due();
      }
    }
    now.emplace(target.session, std::move(entry));
  }
  entries_ = std::move(now);
  for (auto& [session, entry] : entries_) {
    if (running_.size() >= limits::kProbesAtOnceMax) break;
    if (entry.due > loop_.now()) continue;
    entry.due = next_due();
    probe(session, entry);
  }
}

void Prober::probe(std::uint64_t session, Entry& entry) {
  const bool runs = std::any_of(running_.begin(), running_.end(),
                                [session](const auto& p) { return p->session() == session; });
  if (runs) return;
  running_.push_back(
      std::make_unique<Probe>(loop_, session, Probe::Done::to<&Prober::on_done>(this)));
  const Duration deadline = std::min(limits::kProbeDeadline, settings_.period);
  running_.back()->start(settings_.relay, settings_.by_balancer, *tls_, entry.name, deadline);
}

void Prober::on_done(Probe& probe, const ProbeResult& result) {
  const std::uint64_t session = probe.session();
  std::erase_if(running_, [&probe](const auto& p) { return p.get() == &probe; });
  const auto found = entries_.find(session);
  if (found != entries_.end()) judge(session, found->second, result);
}

void Prober::judge(std::uint64_t session, Entry& entry, const ProbeResult& result) {
  const bool serving = result.leg == ProbeLeg::None;
  metrics_.counter("adit_probes_total", "leg=\"" + std::string(name(result.leg)) + "\"").add();
  ProbeState fresh{serving, loop_.now(), result.leg, result.what, result.took, 0};
  const bool changed = !entry.state || entry.state->leg != result.leg;
  if (entry.state) {
    if (!changed) fresh.since = entry.state->since;
    if (result.leg == ProbeLeg::Link) fresh.lost = entry.state->lost;
  }
  if (result.leg == ProbeLeg::Link) ++fresh.lost;
  entry.state = std::move(fresh);
  if (changed && serving) {
    log_.info("probe.serving", {{"name", entry.name}, {"ms", result.took / 1ms}});
  } else if (changed) {
    log_.warn("probe.failed",
              {{"name", entry.name}, {"leg", name(result.leg)}, {"what", result.what}});
  }
  if (entry.state->lost < limits::kProbesLostMax) return;
  entry.state->lost = 0;
  targets_.on_probes_lost(session);
}

}  // namespace adit::service
