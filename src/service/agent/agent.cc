#include "service/agent/agent.h"

namespace adit::service {

namespace {
// How often a stopping agent looks whether visitors and links are gone.
constexpr Duration kStopTick = 50ms;
constexpr Duration kGoodbyeMax = 1s;
}  // namespace

Agent::Agent(io::Loop& loop, io::Resolver& resolver, Log& log, const AgentSettings& settings)
    : loop_(loop),
      known_relays_(settings.known_relays_path),
      tls_(settings.identity_certificate_pem, settings.identity_key_pem, settings.roots_pem_file),
      services_(loop, resolver, log, metrics_, settings.services, settings.service_key_pem),
      tick_(loop, Delegate<void()>::to<&Agent::on_tick>(this)) {}

// Local connections first: their ends point into the uplinks' sessions.
Agent::~Agent() {
  services_.abort_all();
  uplinks_.clear();
}

Result<std::unique_ptr<Agent>> Agent::make(io::Loop& loop, io::Resolver& resolver, Log& log,
                                           const AgentSettings& settings, AgentEvents& events) {
  std::unique_ptr<Agent> agent(new Agent(loop, resolver, log, settings));
  if (auto ok = agent->services_.load(); !ok) return std::move(ok).error();
  if (settings.acme) {
    auto made = AgentCertificates::make(loop, resolver, log, agent->metrics_, *settings.acme,
                                        settings.service_key_pem, agent->services_);
    if (!made) return std::move(made).error();
    agent->certificates_ = std::move(*made);
  }

  if (auto ok = agent->tls_.by_key(LinkCarrier::Quic); !ok)
    return std::move(ok).error().with("agent key");
  if (auto web_pki = agent->tls_.web_pki(LinkCarrier::Quic); !web_pki) {
    if (!settings.roots_pem_file.empty())
      return std::move(web_pki).error().with(settings.roots_pem_file);
    log.warn("agent.no_roots", {{"what", web_pki.error().what}});
  }
  agent->shared_.emplace(AgentShared{loop, resolver, log, agent->metrics_, agent->services_, events,
                                     agent->tls_, agent->known_relays_, settings.session,
                                     settings.carrier, settings.connections, settings.random_seed});
  for (const RelayTarget& relay : settings.relays)
    agent->uplinks_.push_back(std::make_unique<Uplink>(*agent->shared_, relay));
  return agent;
}

std::vector<RenewalStatus> Agent::certificates() const {
  return certificates_ == nullptr ? std::vector<RenewalStatus>() : certificates_->status();
}

void Agent::start() {
  for (auto& uplink : uplinks_) uplink->start();
}

void Agent::network_changed() {
  for (auto& uplink : uplinks_) uplink->network_changed();
}

void Agent::stop(Duration deadline, Delegate<void()> stopped) {
  stopped_ = stopped;
  stop_at_ = loop_.now() + deadline;
  on_tick();
}

void Agent::on_tick() {
  // A local connection may be over whose last bytes are not with the relay yet.
  bool busy = services_.open() > 0;
  for (auto& uplink : uplinks_) busy = busy || uplink->streams() > 0;
  if (!said_goodbye_ && (!busy || loop_.now() >= stop_at_)) {
    said_goodbye_ = true;
    stop_at_ = loop_.now() + kGoodbyeMax;
    services_.abort_all();
    for (auto& uplink : uplinks_) uplink->stop();
  }
  bool down = said_goodbye_;
  for (auto& uplink : uplinks_) down = down && uplink->link_down();
  if (down || (said_goodbye_ && loop_.now() >= stop_at_)) return stopped_();
  tick_.set(loop_.now() + kStopTick);
}

}  // namespace adit::service
