#include "app/agent_main.h"

#include <fmt/format.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

#include "app/acme_settings.h"
#include "app/agent_admin.h"
#include "app/http_proxy.h"
#include "app/log_sink.h"
#include "app/relay_main.h"
#include "app/sandbox.h"
#include "app/version.h"
#include "base/limits.h"
#include "crypto/certificate.h"
#include "crypto/digest.h"
#include "crypto/identity_certificate.h"
#include "crypto/init.h"
#include "crypto/key_file.h"
#include "io/cares_resolver.h"
#include "io/network_watch.h"
#include "io/signals.h"
#include "service/agent/agent.h"

namespace adit::app {

namespace {

constexpr std::size_t kPemFileBytesMax = std::size_t{1} << 20;
// The identity's certificate says nothing but its key; relays take it whatever its dates.
constexpr Duration kIdentityValidity = 24h * 365 * 10;

std::string json_text(std::string_view s) {
  std::string out;
  append_json_string(out, s);
  return out;
}

// What a person sees. Standard output gets the URL alone (or one JSON object an event), standard
// error the rest.
class Console final : public service::AgentEvents {
 public:
  Console(const AgentConfig& config, bool expose, bool json)
      : config_(config), expose_(expose), json_(json), terminal_(::isatty(STDERR_FILENO) == 1) {}

  void on_online(const std::string& relay, const std::vector<std::string>& urls,
                 std::string_view carrier, Duration rtt, bool resumed) override {
    if (json_) {
      std::string list;
      for (const std::string& u : urls) list += (list.empty() ? "" : ",") + json_text(u);
      return print(
          fmt::format(R"({{"event":"online","relay":{},"urls":[{}],"carrier":"{}","resumed":{}}})",
                      json_text(relay), list, carrier, resumed));
    }
    if (!expose_ || resumed || urls == shown_) return;
    shown_ = urls;
    for (const std::string& u : urls) print(u);
    if (!terminal_) return;
    std::fprintf(stderr,
                 "  forwards to %s\n  by %.*s through %s, round trip %.1f ms\n  Ctrl-C stops it\n",
                 config_.services.front().to.text().c_str(), static_cast<int>(carrier.size()),
                 carrier.data(), relay.c_str(), static_cast<double>(rtt.count()) / 1e6);
  }
  void on_offline(const std::string& relay, std::string_view why) override {
    event("offline", relay, why);
  }
  void on_refused(const std::string& relay, const link::Refused& refused) override {
    event("refused", relay, refused.code + ": " + refused.text);
    refused_ = true;
    name_taken_ = refused.code == "name_taken" || refused.code == "port_taken";
    if (expose_ && !json_)
      std::fprintf(stderr, "adit: refused by %s: %s\n", relay.c_str(), refused.text.c_str());
    if (expose_ && !refused.again) ended_();
  }
  void on_unreachable(const std::string& relay, std::string_view why, Duration) override {
    event("unreachable", relay, why);
  }

  void set_ended(Delegate<void()> ended) { ended_ = ended; }
  int exit_code() const {
    return name_taken_ ? exit_code::kTaken : refused_ ? exit_code::kRefused : exit_code::kDone;
  }

 private:
  void event(std::string_view name, const std::string& relay, std::string_view why) {
    if (json_)
      print(fmt::format(R"({{"event":"{}","relay":{},"why":{}}})", name, json_text(relay),
                        json_text(why)));
  }
  static void print(const std::string& line) {
    std::puts(line.c_str());
    std::fflush(stdout);
  }

  const AgentConfig& config_;
  const bool expose_, json_, terminal_;
  bool refused_ = false, name_taken_ = false;
  std::vector<std::string> shown_;
  Delegate<void()> ended_;
};

service::ServiceKind service_kind(ServiceKind kind) {
  switch (kind) {
    case ServiceKind::Tls:
    case ServiceKind::Http: return service::ServiceKind::Tls;  // to the relay it is the same
    case ServiceKind::Tcp: return service::ServiceKind::Tcp;
    case ServiceKind::Udp: return service::ServiceKind::Udp;
  }
  return service::ServiceKind::Tls;
}

// The key in `path`, made on first use, and its certificate.
Status load_identity(const std::string& path, const std::string& extension_hex, WallTime now,
                     service::AgentSettings& out) {
  auto key = crypto::load_or_make_key(path);
  if (!key) return std::move(key).error();
  const WallTime from{now.ns - 3'600'000'000'000};
  const std::string id = key->id().text;
  auto bytes = crypto::hex_decode(extension_hex);
  if (!bytes) return std::move(bytes).error();
  // Other kinds of keys than P-256 have no extension, as ever.
  auto certificate = bytes->empty() ? crypto::self_signed(*key, {id}, from, kIdentityValidity)
                                    : crypto::identity_certificate(*key, id, from,
                                                                   kIdentityValidity, *bytes);
  if (!certificate) return std::move(certificate).error();
  out.identity_certificate_pem = *certificate;
  out.identity_key_pem = key->to_pkcs8_pem();
  return {};
}

// The second endpoint: the same relays, its own id, one service with a self-signed certificate.
Result<std::optional<service::AgentSettings>> make_secondary_settings(
    const AgentConfig& config, const service::AgentSettings& first, WallTime now) {
  if (config.secondary_key.empty()) return std::optional<service::AgentSettings>();
  service::AgentSettings out = first;
  Status loaded =
      load_identity(config.secondary_key, config.secondary_extension_hex, now, out);
  if (!loaded) return std::move(loaded).error().with("secondary_key");
  out.acme.reset();
  out.service_key_pem = out.identity_key_pem;
  service::LocalServiceSettings service;
  service.number = ServiceNumber{1};
  service.names = {"{id}"};
  service.to = config.secondary_local.value_or(config.services.front().to);
  out.services = {service};
  return std::optional<service::AgentSettings>(std::move(out));
}

Result<service::AgentSettings> make_agent_settings(const AgentConfig& config, WallTime now) {
  service::AgentSettings out;
  if (Status loaded = load_identity(config.key, config.extension_hex, now, out); !loaded)
    return std::move(loaded).error();
  auto service_key = crypto::load_or_make_key(config.state_dir + "/service.key");
  if (!service_key) return std::move(service_key).error();
  out.service_key_pem = service_key->to_pkcs8_pem();
  out.known_relays_path = config.state_dir + "/known_relays";
  out.roots_pem_file = config.roots;
  switch (config.carrier) {
    case LinkCarriers::Auto: out.carrier = service::CarrierChoice::Auto; break;
    case LinkCarriers::Quic: out.carrier = service::CarrierChoice::Quic; break;
    case LinkCarriers::H2: out.carrier = service::CarrierChoice::H2; break;
    case LinkCarriers::Ws: out.carrier = service::CarrierChoice::Ws; break;
  }
  if (config.force_h2) out.carrier = service::CarrierChoice::H2;
  out.connections = config.pool_size;
  for (const RelayEndpoint& r : config.relays) {
    service::RelayTarget target{r.address, r.name.empty() ? r.address.host : r.name, r.pin, {}};
    if (!config.https_proxy.empty() && !bypasses_proxy(config.no_proxy, r.address.host)) {
      auto proxy = parse_http_proxy(config.https_proxy);
      if (!proxy) return std::move(proxy).error();
      target.proxy = std::move(*proxy);
    }
    out.relays.push_back(std::move(target));
  }
  if (config.acme != AcmeConfig{}) {
    auto acme = make_agent_acme(config);
    if (!acme) return std::move(acme).error();
    out.acme.emplace(std::move(*acme));
  }
  std::uint32_t number = 0;
  for (const ServiceConfig& s : config.services) {
    service::LocalServiceSettings service;
    service.number = ServiceNumber{++number};
    service.kind = service_kind(s.kind);
    service.names = s.names;
    service.ports = s.port;
    service.to_udp = s.to_udp;
    service.to = s.to;
    service.passthrough = s.mode == TlsMode::Passthrough;
    service.transparent = s.transparent;
    service.http = s.kind == ServiceKind::Http;
    service.answer_within = std::chrono::seconds(s.timeout);
    switch (s.proxy) {
      case ProxyWord::None: service.proxy = service::ProxyHeader::None; break;
      case ProxyWord::V1: service.proxy = service::ProxyHeader::V1; break;
      case ProxyWord::V2: service.proxy = service::ProxyHeader::V2; break;
    }
    if (!s.certificate.empty()) {
      auto chain = crypto::read_file(s.certificate, kPemFileBytesMax);
      if (!chain) return std::move(chain).error();
      auto chain_key = crypto::read_file(s.key, kPemFileBytesMax);
      if (!chain_key) return std::move(chain_key).error();
      service.certificate_pem = *chain;
      service.key_pem = *chain_key;
    }
    out.services.push_back(std::move(service));
  }
  return out;
}

// Signals and the agent, on one loop.
class AgentProcess {
 public:
  AgentProcess(io::Loop& loop, io::Resolver& resolver, Log& log, Console& console)
      : loop_(loop), resolver_(resolver), log_(log), console_(console) {
    console_.set_ended(Delegate<void()>::to<&AgentProcess::stop>(this));
  }

  Status start(const service::AgentSettings& settings) {
    static constexpr int kSignals[] = {SIGTERM, SIGINT};
    auto signals = io::Signals::open(loop_, kSignals,
                                     io::Signals::Handler::to<&AgentProcess::on_signal>(this));
    if (!signals) return std::move(signals).error();
    signals_ = std::move(*signals);
    auto agent = service::Agent::make(loop_, resolver_, log_, settings, console_);
    if (!agent) return std::move(agent).error();
    agent_ = std::move(*agent);
    agent_->start();
    auto watch = io::NetworkWatch::open(
        loop_, io::NetworkWatch::Handler::to<&AgentProcess::on_network>(this));
    if (watch) {
      network_ = std::move(*watch);
    } else {
      log_.warn("agent.no_network_watch", {{"what", watch.error().what}});
    }
    return {};
  }
  void set_sandbox(const SandboxFacts& facts) {
    if (admin_) admin_->set_sandbox(facts);
  }
  // Beside the first, with events of its own.
  Status start_secondary(const service::AgentSettings& settings, Console& console) {
    console.set_ended(Delegate<void()>::to<&AgentProcess::stop>(this));
    auto agent = service::Agent::make(loop_, resolver_, log_, settings, console);
    if (!agent) return std::move(agent).error().with("secondary");
    secondary_ = std::move(*agent);
    secondary_->start();
    return {};
  }
  Status listen(const AgentConfig& config, std::string id, std::string backend_reason) {
    admin_.emplace(loop_, log_, *agent_, std::move(id), std::move(backend_reason));
    return admin_->listen(config);
  }

 private:
  void on_signal(int) {
    if (stopping_) return loop_.stop();  // a second one: at once
    log_.info("agent.stopping");
    stop();
  }
  void stop() {
    if (stopping_) return;
    stopping_ = true;
    if (admin_) admin_->set_stopping();
    const auto stopped = Delegate<void()>::to<&AgentProcess::on_stopped>(this);
    running_ = secondary_ == nullptr ? 1 : 2;
    agent_->stop(limits::kDrainDeadline, stopped);
    if (secondary_ != nullptr) secondary_->stop(limits::kDrainDeadline, stopped);
  }
  void on_network() {
    log_.debug("agent.network_changed");
    agent_->network_changed();
    if (secondary_ != nullptr) secondary_->network_changed();
  }
  void on_stopped() {
    if (--running_ == 0) loop_.stop();
  }

  io::Loop& loop_;
  io::Resolver& resolver_;
  Log& log_;
  Console& console_;
  std::unique_ptr<io::Signals> signals_;
  std::unique_ptr<service::Agent> agent_, secondary_;
  std::unique_ptr<io::NetworkWatch> network_;
  std::optional<AgentAdmin> admin_;
  unsigned running_ = 0;  // of those, once they are stopping
  bool stopping_ = false;
};

Status give_up(const SandboxPlan& plan, Log& log, AgentProcess& process) {
  if (auto ok = change_user(plan); !ok) return ok;
  const SandboxFacts facts = enter_sandbox(plan);
  log.info("agent.sandbox", {{"state", sandbox_text(facts)}});
  process.set_sandbox(facts);
  return {};
}

int run_process(const AgentConfig& config, const ConfigSources& sources,
                const Environment& environment, bool expose, bool json) {
  crypto::init();
  auto choice = choose_loop(config.io_backend);
  if (!choice) {
    std::fprintf(stderr, "adit: %s\n", choice.error().what.c_str());
    return exit_code::kConfiguration;
  }
  io::Loop& loop = *choice->loop;
  LogConfig log_config = config.log;
  // A person at a terminal wants the URL, not the log.
  if (expose && log_config == LogConfig{}) log_config.level = LogLevel::Warn;
  LogSink log(STDERR_FILENO, log_config, wants_colour(STDERR_FILENO, environment), wall_clock);
  auto resolver = io::make_cares_resolver(loop, {});
  auto settings = make_agent_settings(config, loop.wall_time());
  if (!settings || !resolver) {
    log.error("agent.start_failed",
              {{"what", settings ? resolver.error().what : settings.error().what}});
    return exit_code::kConfiguration;
  }
  auto secondary = make_secondary_settings(config, *settings, loop.wall_time());
  if (!secondary) {
    log.error("agent.start_failed", {{"what", secondary.error().what}});
    return exit_code::kConfiguration;
  }
  auto key = crypto::PrivateKey::from_pem(settings->identity_key_pem);
  const std::string id = key ? key->id().text : std::string();
  log.info("agent.start", {{"version", version()}, {"id", id}, {"backend", choice->reason}});
  Console console(config, expose, json), second_console(config, expose, json);
  AgentProcess process(loop, **resolver, log, console);
  if (auto ok = process.start(*settings); !ok) {
    log.error("agent.start_failed", {{"what", ok.error().what}});
    return exit_code::kConfiguration;
  }
  if (*secondary) {
    if (auto ok = process.start_secondary(**secondary, second_console); !ok) {
      log.error("agent.start_failed", {{"what", ok.error().what}});
      return exit_code::kConfiguration;
    }
    auto second_key = crypto::PrivateKey::from_pem((*secondary)->identity_key_pem);
    log.info("agent.secondary", {{"id", second_key ? second_key->id().text : std::string()}});
  }
  // Several may run `expose` at a time; who is asked for the state is the agent. One that cannot be
  // asked still serves: a second agent with the same key takes over from the first, socket or not.
  if (!expose) {
    if (auto ok = process.listen(config, id, choice->reason); !ok)
      log.warn("agent.no_status", {{"what", ok.error().what}});
  }
  if (auto ok = give_up(make_sandbox_plan(config, sources), log, process); !ok) {
    log.error("agent.start_failed", {{"what", ok.error().what}});
    return exit_code::kConfiguration;
  }
  loop.run();
  return console.exit_code();
}

}  // namespace

int run_agent(const AgentCommand& command, const Environment& environment) {
  return run_process(command.config, command.sources, environment, false, false);
}

int run_expose(const ExposeCommand& command, const Environment& environment) {
  return run_process(command.config, {}, environment, true, command.json);
}

Answer run(const KeysCommand& command) {
  auto key = crypto::load_or_make_key(command.key);
  if (!key) return {exit_code::kConfiguration, "", "adit: " + key.error().what + "\n"};
  const std::string id = key->id().text;
  if (!command.json) return {exit_code::kDone, id + "\n", ""};
  return {exit_code::kDone,
          fmt::format("{{\"id\":\"{}\",\"key\":{}}}\n", id, json_text(command.key)), ""};
}

}  // namespace adit::app
