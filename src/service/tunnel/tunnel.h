// The reverse tunnel on one thread of the relay: admits agents by their links (LinkTable), gives
// them sessions with names and ports, and ends them. Visitors are the business of Visits.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "route/access.h"
#include "route/router.h"
#include "service/edge/edge.h"
#include "service/tunnel/fabric.h"
#include "service/tunnel/link_table.h"
#include "service/tunnel/port_listeners.h"
#include "service/tunnel/relay_flows.h"
#include "service/tunnel/relay_link.h"
#include "service/tunnel/relay_session.h"
#include "service/tunnel/session_table.h"
#include "service/tunnel/visits.h"

namespace adit::service {

struct TunnelLimits {
  SessionLimits session{limits::kStreamsPerSessionMax, limits::kStreamRetainBytesMax,
                        limits::kSessionRetainBytesMax};
  FlowLimits flows;
  std::size_t links_per_key = limits::kLinksPerKeyMax;
  Duration resume_window = limits::kSessionResumeWindow;
};

class Tunnel final {
 public:
  Tunnel(io::Loop& loop, Log& log, Metrics& metrics, const TunnelLimits& limits,
         route::AgentAccess access, const route::RouterTable& table, std::uint16_t public_port,
         Edge& edge, Fabric& fabric, const crypto::TlsContext& h2_tls);
  ~Tunnel();

  io::Loop& loop() { return loop_; }
  LinkTable& links() { return links_; }
  const LinkTable& links() const { return links_; }
  const SessionTable& sessions() const { return sessions_; }
  Visits& visits() { return visits_; }
  // Where public ports are bound: before the first link.
  // `privileged` (null: none) has those that were bound at the start; outlives the tunnel.
  void set_port_addresses(std::vector<IpAddress> addresses, io::BoundPorts* privileged) {
    port_addresses_ = std::move(addresses);
    privileged_ports_ = privileged;
  }

  // --- from links ---
  void on_hello(RelayLink& link, const link::Hello& hello);
  void on_join(RelayLink& link);
  void link_down(RelayLink& link, const flow::CarrierDown& down);
  void path_changed(RelayLink& link, const Address& peer);
  void protocol_error(RelayLink& link, std::string_view what);

  // --- from other threads ---
  void on_claimed(const ClaimAnswer& answer);
  // Another session of the same key has the names now.
  void end_session(std::uint64_t number);
  // See AgentDoor.
  void link(Visitor agent, std::optional<std::uint32_t> thread);

  // --- from the operator ---
  // Ends the sessions of an agent, which may come back; says how many.
  std::size_t kick(std::string_view key_id);
  // New keys and limits; links whose key is not admitted any more are closed.
  void set_access(route::AgentAccess access);
  void set_limits(const TunnelLimits& limits) { limits_ = limits; }
  // Drain: agents are told, no new links.
  void go_away(Duration deadline);
  void close_all();

 private:
  struct Pending {
    std::unique_ptr<RelaySession> session;
    RelayLink* link = nullptr;  // null: it went while names were being claimed
  };

  void decide_joins();
  bool join(RelayLink& link);
  bool try_resume(RelayLink& link, const link::Hello& hello);
  void start_session(RelayLink& link, const link::Hello& hello);
  void on_refused_claim(RelayLink& link, const ClaimAnswer& answer);
  void on_ports_bound(std::uint64_t session, const Status& bound);
  void go_live(Pending pending);
  void refuse(RelayLink& link, std::string_view code, std::string text, bool again);
  void on_window_over(RelaySession& session);
  FlowLimits flow_limits_of(const route::AgentGrant* grant) const;
  void drop_session(std::uint64_t number, link::ResetCode code);
  link::Welcome welcome_for(RelaySession& session) const;

  io::Loop& loop_;
  Log& log_;
  Metrics& metrics_;
  TunnelLimits limits_;
  route::AgentAccess access_;
  const std::uint16_t public_port_;
  Fabric& fabric_;
  bool draining_ = false;
  std::uint64_t next_session_;  // unique over threads: the thread's index is in the high bits
  LogRateLimit once_;

  // Sessions go first: they still have their carriers and listeners then.
  LinkTable links_;
  Visits visits_;
  SessionTable sessions_;
  std::map<std::uint64_t, Pending> pending_;
  std::vector<RelayLink*> joining_;  // to be decided in the next turn
  io::Task join_task_;
  std::vector<IpAddress> port_addresses_;
  io::BoundPorts* privileged_ports_ = nullptr;
};

}  // namespace adit::service
