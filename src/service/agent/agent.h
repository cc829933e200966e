// An agent: its local services, and an uplink to each of its relays. One relay's trouble does not
// touch the others.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "service/agent/agent_certificates.h"
#include "service/agent/uplink.h"

namespace adit::service {

struct AgentSettings {
  std::vector<RelayTarget> relays;
  std::vector<LocalServiceSettings> services;
  std::string identity_certificate_pem, identity_key_pem;  // shown to relays
  std::string service_key_pem;     // of self-signed certificates for visitors
  std::string known_relays_path;
  std::string roots_pem_file;      // empty: the system's
  SessionLimits session{limits::kStreamsPerSessionMax, limits::kStreamRetainBytesMax,
                        limits::kSessionRetainBytesMax};
  CarrierChoice carrier = CarrierChoice::Auto;
  std::size_t connections = limits::kLinkConnections;  // of a link over TCP
  std::optional<AgentAcme> acme;   // certificates for the services without one
  std::uint64_t random_seed = 0;   // simulator only
};

class Agent {
 public:
  // Errors: a certificate or key that cannot be used.
  static Result<std::unique_ptr<Agent>> make(io::Loop& loop, io::Resolver& resolver, Log& log,
                                             const AgentSettings& settings, AgentEvents& events);
  ~Agent();

  void start();
  // Waits for the visitors to end, at most `deadline`, then says goodbye to the relays; `stopped`
  // is called when all links are down.
  void stop(Duration deadline, Delegate<void()> stopped);

  // An address or a route of this machine has come or gone.
  void network_changed();
  Metrics& metrics() { return metrics_; }
  const LocalServices& services() const { return services_; }
  // One for each certificate that is managed.
  std::vector<RenewalStatus> certificates() const;
  const std::vector<std::unique_ptr<Uplink>>& uplinks() const { return uplinks_; }

 private:
  Agent(io::Loop& loop, io::Resolver& resolver, Log& log, const AgentSettings& settings);
  void on_tick();

  io::Loop& loop_;
  Metrics metrics_;
  KnownRelaysFile known_relays_;
  AgentTls tls_;
  LocalServices services_;
  std::unique_ptr<AgentCertificates> certificates_;
  std::optional<AgentShared> shared_;
  std::vector<std::unique_ptr<Uplink>> uplinks_;
  io::Timer tick_;
  Instant stop_at_ = Instant::never();
  bool said_goodbye_ = false;
  Delegate<void()> stopped_;
};

}  // namespace adit::service
