#include "sim/tunnel_world.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "base/check.h"
#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/init.h"
#include "crypto/key.h"

namespace adit::sim {

namespace {

const IpAddress kRelayIp = IpAddress::v4(192, 0, 2, 1);
const IpAddress kAgentIp = IpAddress::v4(198, 51, 100, 7);
constexpr std::uint16_t kServicePort = 3000, kProxyPort = 9000;
constexpr std::string_view kRelayName = "relay.example.com";
constexpr WallTime kCertificatesBegin{1'700'000'000'000'000'000};
constexpr Duration kCertificatesLast = 24h * 365 * 20;

// What certificates are judged by.
const World* clock_world = nullptr;

std::int64_t world_seconds() {
  return clock_world == nullptr ? 1'767'225'600 : clock_world->wall_time().ns / 1'000'000'000;
}

app::RelayIdentity make_relay_identity() {
  const crypto::PrivateKey key = crypto::PrivateKey::generate();
  app::RelayIdentity out;
  auto pem = crypto::self_signed(key, {std::string(kRelayName)}, kCertificatesBegin,
                                 kCertificatesLast);
  CHECK(pem);
  out.certificate_pem = *pem;
  out.key_pem = key.to_pkcs8_pem();
  out.self_signed = true;
  out.pin = crypto::spki_pin(key.public_key_spki_der());
  out.reset_secret = crypto::hmac_sha256(as_bytes(out.key_pem), as_bytes("adit stateless reset"));
  return out;
}

TunnelKeys::AgentKey make_agent_key() {
  const crypto::PrivateKey key = crypto::PrivateKey::generate();
  auto pem = crypto::self_signed(key, {key.id().text}, kCertificatesBegin, kCertificatesLast);
  CHECK(pem);
  return {*pem, key.to_pkcs8_pem(), key.id().text};
}

TunnelKeys make_keys() {
  crypto::set_wall_clock(world_seconds);
  crypto::init_deterministic(1);
  TunnelKeys keys;
  for (std::size_t i = 0; i < kRelayKeys; ++i) {
    keys.relays.push_back(make_relay_identity());
    auto tls = app::make_link_tls(keys.relays.back());
    CHECK(tls);
    keys.relay_tls.push_back(std::move(*tls));
  }
  for (std::size_t i = 0; i < kAgentKeys; ++i) {
    keys.agents.push_back(make_agent_key());
    client_hello(keys.agents.back().id + "." + std::string(kRelayDomain));
  }
  keys.service_key_pem = crypto::PrivateKey::generate().to_pkcs8_pem();
  keys.roots_file =
      testing::TempDir() + "adit_sim_roots_" + std::to_string(::getpid()) + ".pem";
  std::ofstream(keys.roots_file) << keys.relays.front().certificate_pem;
  std::atexit([] { ::unlink(TunnelKeys::get().roots_file.c_str()); });
  return keys;
}

}  // namespace

const TunnelKeys& TunnelKeys::get() {
  static const TunnelKeys* keys = new TunnelKeys(make_keys());  // lives until the process ends
  return *keys;
}

// --- RelayProcess ---

RelayProcess::RelayProcess(Host& host, const SimNames& names, std::size_t threads, std::size_t key)
    : host_(host), log_(host), thread_count_(threads), key_(key) {
  while (host.loop_count() < threads) host.add_loop();
  for (std::size_t i = 0; i < threads; ++i)
    resolvers_.push_back(std::make_unique<SimResolver>(host.loop(i), names));
  settings.domains = {std::string(kRelayDomain)};
  settings.own_names = {std::string(kRelayName)};
  for (const TunnelKeys::AgentKey& agent : TunnelKeys::get().agents) {
    route::AgentGrant grant;
    grant.id = agent.id;
    settings.agents.push_back(std::move(grant));
  }
}

void RelayProcess::start() {
  CHECK(!running());
  const TunnelKeys& keys = TunnelKeys::get();
  table_.entries.assign(thread_count_, {});
  draining_ = 0;
  for (std::size_t i = 0; i < thread_count_; ++i) {
    threads_.push_back(std::make_unique<service::RelayThread>(
        static_cast<std::uint32_t>(i), table_, host_.loop(i), *resolvers_[i], log_, settings,
        keys.relay_tls[key_], keys.relays[key_].reset_secret));
    table_.entries[i] = {&host_.loop(i), threads_.back().get()};
  }
  service::RelayPorts ports;
  ports.tcp = ports.udp = {{IpAddress::any4(), 443}};
  for (auto& thread : threads_) CHECK(thread->listen(ports));
}

void RelayProcess::kill() {
  for (std::size_t i = 0; i < threads_.size(); ++i) host_.loop(i).drop_messages();
  threads_.clear();
  for (std::size_t i = 0; i < thread_count_; ++i) host_.loop(i).drop_messages();
}

void RelayProcess::drain(Duration deadline) {
  draining_ = threads_.size();
  for (auto& thread : threads_)
    thread->drain(deadline, Delegate<void()>::to<&RelayProcess::on_drained>(this));
}

void RelayProcess::reload() {
  for (auto& thread : threads_) thread->reload(settings);
}

void RelayProcess::on_drained() {
  if (--draining_ > 0) return;
  host_.world().after(Duration{0}, [this] { kill(); });  // behind this turn, as a stopped loop
}

std::vector<service::ThreadStatus::Agent> RelayProcess::agents() const {
  std::vector<service::ThreadStatus::Agent> out;
  for (const auto& thread : threads_)
    for (auto& agent : thread->status().agents) out.push_back(agent);
  return out;
}

std::size_t RelayProcess::streams() const {
  std::size_t n = 0;
  for (const auto& agent : agents()) n += agent.streams;
  return n;
}

std::size_t RelayProcess::retained() const {
  std::size_t n = 0;
  for (const auto& agent : agents()) n += agent.retained_bytes;
  return n;
}

std::size_t RelayProcess::links() const {
  std::size_t n = 0;
  for (const auto& thread : threads_) n += thread->status().links;
  return n;
}

std::size_t RelayProcess::visitors() const {
  std::size_t n = 0;
  for (const auto& thread : threads_) n += thread->status().half_open + thread->status().forwarded;
  return n;
}

std::int64_t RelayProcess::metric(std::string_view name, std::string_view labels) const {
  std::int64_t n = 0;
  for (const auto& thread : threads_)
    for (const MetricSample& s : thread->metrics().sample())
      if (s.name == name && (labels.empty() || s.labels == labels)) n += s.value;
  return n;
}

// --- AgentProcess ---

AgentProcess::AgentProcess(Host& host, const SimNames& names, std::size_t key)
    : host_(host), log_(host), key_(key), resolver_(host.loop(), names) {
  const TunnelKeys& keys = TunnelKeys::get();
  settings.identity_certificate_pem = keys.agents[key].certificate_pem;
  settings.identity_key_pem = keys.agents[key].key_pem;
  settings.service_key_pem = keys.service_key_pem;
  settings.roots_pem_file = keys.roots_file;
  settings.known_relays_path = keys.roots_file + ".none";  // relays here are pinned
}

void AgentProcess::start() {
  CHECK(!running());
  settings.random_seed = host_.world().prng().next() | 1;
  auto made = service::Agent::make(host_.loop(), resolver_, log_, settings,
                                   static_cast<service::AgentEvents&>(*this));
  CHECK(made);
  agent_ = std::move(*made);
  agent_->start();
}

void AgentProcess::kill() { agent_.reset(); }

void AgentProcess::stop(Duration deadline) {
  agent_->stop(deadline, Delegate<void()>::to<&AgentProcess::on_stopped>(this));
}

void AgentProcess::on_stopped() {
  host_.world().after(Duration{0}, [this] { kill(); });
}

bool AgentProcess::live(std::size_t uplink) const {
  return running() && agent_->uplinks()[uplink]->live();
}

std::size_t AgentProcess::streams() const {
  std::size_t n = 0;
  if (running())
    for (const auto& uplink : agent_->uplinks()) n += uplink->streams();
  return n;
}

std::size_t AgentProcess::retained() const {
  std::size_t n = 0;
  if (running())
    for (const auto& uplink : agent_->uplinks()) n += uplink->retained_bytes();
  return n;
}

void AgentProcess::on_online(const std::string& relay, const std::vector<std::string>& urls,
                             std::string_view, Duration, bool resumed) {
  ++(resumed ? seen[relay].resumed : seen[relay].online);
  seen[relay].urls = urls;
}

void AgentProcess::on_offline(const std::string& relay, std::string_view why) {
  ++seen[relay].offline;
  seen[relay].why = why;
}

void AgentProcess::on_refused(const std::string& relay, const link::Refused& refused) {
  seen[relay].refused.push_back(refused.code);
}

void AgentProcess::on_unreachable(const std::string& relay, std::string_view why, Duration next) {
  ++seen[relay].unreachable;
  seen[relay].why = why;
  seen[relay].next_try = next;
}

// --- TunnelWorld ---

namespace {

// Before anything else of a world is made.
World& begin(World& world) {
  TunnelKeys::get();
  clock_world = &world;
  crypto::init_deterministic(world.seed());
  return world;
}

std::vector<Host*> add_visitor_hosts(World& world, std::size_t n) {
  std::vector<Host*> out;
  for (std::size_t i = 0; i < n; ++i) {
    const auto last = static_cast<std::uint8_t>(10 + i);
    const IpAddress ip = IpAddress::v4(203, 0, 113, last);
    out.push_back(&world.add_host("visitor" + std::to_string(i), {ip}));
  }
  return out;
}

}  // namespace

TunnelWorld::TunnelWorld(World& w, const TunnelOptions& options)
    : world(begin(w)),
      relay_host(w.add_host("relay", {kRelayIp})),
      agent_host(w.add_host("agent", {kAgentIp})),
      visitor_hosts(add_visitor_hosts(w, options.visitor_hosts)),
      relay(relay_host, names, options.relay_threads, 0),
      agent(agent_host, names, 0),
      service(agent_host.loop(), {IpAddress::loopback4(), kServicePort},
              options.passthrough ? client_hello(agent.own_name()) : ByteVector()),
      relay_address{kRelayIp, 443},
      passthrough_(options.passthrough) {
  names.set(kRelayName, {kRelayIp});
  agent.settings.relays.push_back(
      {HostPort{std::string(kRelayName), 443}, std::string(kRelayName), relay.pin()});
  service::LocalServiceSettings local;
  local.number = ServiceNumber{1};
  local.to = HostPort{"127.0.0.1", kServicePort};
  local.passthrough = options.passthrough;
  agent.settings.services.push_back(std::move(local));
  if (passthrough_) return;
  for (Host* host : visitor_hosts) {
    proxies_.push_back(std::make_unique<TlsClientProxy>(
        host->loop(), Address{IpAddress::loopback4(), kProxyPort}, relay_address,
        agent.own_name()));
  }
}

TunnelWorld::~TunnelWorld() { clock_world = nullptr; }

bool TunnelWorld::start(Duration limit) {
  relay.start();
  agent.start();
  return run_until([this] { return agent.live(); }, limit);
}

std::size_t TunnelWorld::visit(std::size_t host, std::uint64_t up, std::uint64_t down, bool hold,
                               Duration read_pause) {
  const VisitPlan plan{visits.size(), up, down, hold};
  const ByteVector none;
  VisitorPlan sent = visitor_plan(passthrough_ ? client_hello(agent.own_name()) : none, plan);
  sent.read_pause = read_pause;
  const Address to = passthrough_ ? relay_address : Address{IpAddress::loopback4(), kProxyPort};
  visits.push_back({plan, std::make_unique<Visitor>(visitor_hosts[host]->loop(), to, sent)});
  visits.back().visitor->start();
  return plan.number;
}

std::size_t TunnelWorld::visit_name(std::size_t host, const std::string& name, std::uint64_t up,
                                    std::uint64_t down) {
  const VisitPlan plan{visits.size(), up, down, false};
  visits.push_back({plan, std::make_unique<Visitor>(visitor_hosts[host]->loop(), relay_address,
                                                    visitor_plan(client_hello(name), plan))});
  visits.back().visitor->start();
  return plan.number;
}

bool TunnelWorld::whole(std::size_t visit) const {
  const Visit& v = visits[visit];
  return v.visitor->finished(v.plan.down) && service.of(v.plan.number).whole();
}

bool TunnelWorld::all_whole() const {
  for (std::size_t i = 0; i < visits.size(); ++i)
    if (!whole(i)) return false;
  return true;
}

bool TunnelWorld::any_failed() const {
  return std::ranges::any_of(visits, [this](const Visit& v) {
    const TunnelService::Outcome o = service.of(v.plan.number);
    return v.visitor->failed() || o.error != 0 || !o.intact || o.connections > 1;
  });
}

bool TunnelWorld::empty() const {
  return relay.streams() + relay.retained() + relay.visitors() + agent.streams() +
             agent.retained() == 0;
}

std::string TunnelWorld::report() const {
  std::string out;
  const auto add = [&out](std::string_view what, std::uint64_t n) {
    out += std::string(what) + std::to_string(n);
  };
  for (const Visit& v : visits) {
    const TunnelService::Outcome o = service.of(v.plan.number);
    const PatternVerifier& r = v.visitor->verifier();
    add("visit ", v.plan.number);
    add(": up ", o.received);
    add("/", v.plan.up);
    add(" (sent ", v.visitor->sender().sent());
    add(o.eof ? ") eof" : ")", 0);
    add(" error ", static_cast<std::uint64_t>(o.error));
    add(", down ", r.received());
    add("/", v.plan.down);
    add(r.eof() ? " eof" : " ", 0);
    add(" error ", static_cast<std::uint64_t>(r.error()));
    add(" send error ", static_cast<std::uint64_t>(v.visitor->sender().error()));
    add(" connections ", o.connections);
    out += o.intact && r.intact() ? "\n" : " NOT INTACT\n";
  }
  add("relay: streams ", relay.streams());
  add(", retained ", relay.retained());
  add(", visitors ", relay.visitors());
  add("; agent: streams ", agent.streams());
  add(", retained ", agent.retained());
  return out + "\n";
}

}  // namespace adit::sim
