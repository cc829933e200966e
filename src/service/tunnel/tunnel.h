// The reverse tunnel on one thread of the relay: admits agents' links, keeps their sessions, and
// opens a stream for each visitor of an agent's name.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "crypto/tls_context.h"
#include "route/access.h"
#include "route/router.h"
#include "service/edge/edge.h"
#include "service/probe/prober.h"
#include "service/tunnel/fabric.h"
#include "service/tunnel/port_listeners.h"
#include "service/tunnel/relay_flows.h"
#include "service/tunnel/relay_link.h"
#include "service/tunnel/relay_session.h"

namespace adit::service {

struct TunnelLimits {
  SessionLimits session{limits::kStreamsPerSessionMax, limits::kStreamRetainBytesMax,
                        limits::kSessionRetainBytesMax};
  FlowLimits flows;
  std::size_t links_per_key = limits::kLinksPerKeyMax;
  Duration resume_window = limits::kSessionResumeWindow;
};

class Tunnel final : public ProbeTargets, private PortVisitors {
 public:
  Tunnel(io::Loop& loop, Log& log, Metrics& metrics, const TunnelLimits& limits,
         route::AgentAccess access, const route::RouterTable& table, std::uint16_t public_port,
         Edge& edge, Fabric& fabric, const crypto::TlsContext& h2_tls);
  ~Tunnel();

  io::Loop& loop() { return loop_; }
  // Where public ports are bound: before the first link.
  void set_port_addresses(std::vector<IpAddress> addresses) {
    port_addresses_ = std::move(addresses);
  }

  // --- links ---
  RelayLink& add_link(std::unique_ptr<flow::Carrier> carrier);
  // Links before their WELCOME.
  std::size_t unauthenticated_links() const { return unauthenticated_; }
  std::size_t links() const { return links_.size(); }
  std::size_t sessions() const { return sessions_.size(); }
  std::vector<Target> probe_targets() const override;
  void on_probes_lost(std::uint64_t session) override;
  // For `explain`: whether a visitor of the owner's name would get to its service, and why.
  bool forecast(const route::NameOwner& owner, std::vector<std::string>& facts);
  // The same of a name that nobody has.
  void forecast_absent(std::string_view name, std::vector<std::string>& facts) const;
  // Ends the sessions of an agent, which may come back; says how many.
  std::size_t kick(std::string_view key_id);
  std::size_t streams() const;  // of all sessions, with those whose visitor is gone already
  const std::map<std::uint64_t, std::unique_ptr<RelaySession>>& session_table() const {
    return sessions_;
  }
  bool has_room() const { return unauthenticated_links() < limits::kUnauthenticatedLinksMax; }

  // --- from links ---
  // The link is past its greeting, or over; said once by each.
  void on_settled(RelayLink& link);
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
  void visit(Visitor visitor, const std::string& pattern);
  void link(Visitor agent, std::optional<std::uint32_t> thread);
  // An agent's link over a stream that is there; `carrier`: its name, for good.
  void link_over(std::unique_ptr<flow::Duplex> stream, std::string_view carrier,
                 const Address& peer, const std::string& sni);
  // The flows of a session of this thread, for a visitor by QUIC; null where it may have none.
  RelayFlows* flows_for(std::uint64_t session, const Address& visitor);
  // A visitor that another thread handed over, or our own, for a session of this thread.
  void serve(Visitor visitor, std::uint64_t session, ServiceNumber service);

  // New keys and limits; links whose key is not admitted any more are closed.
  void set_access(route::AgentAccess access);
  void set_limits(const TunnelLimits& limits) { limits_ = limits; }
  // For links from now on; outlives them.
  void set_h2_tls(const crypto::TlsContext& tls) { h2_tls_ = &tls; }
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
  static std::string way_of(RelaySession& session, ServiceNumber service);
  bool try_resume(RelayLink& link, const link::Hello& hello);
  void start_session(RelayLink& link, const link::Hello& hello);
  void on_refused_claim(RelayLink& link, const ClaimAnswer& answer);
  void on_ports_bound(std::uint64_t session, const Status& bound);
  void go_live(Pending pending);
  void refuse(RelayLink& link, std::string_view code, std::string text, bool again);
  void bound_links_of(const crypto::KeyId& key, const RelayLink& newest);
  void on_window_over(RelaySession& session);
  void visit_port(Visitor visitor, std::uint64_t session, ServiceNumber service) override;
  void on_accept_failed(int error) override;
  bool admits_flow(std::uint64_t session, const Address& visitor) override;
  FlowLimits flow_limits_of(const route::AgentGrant* grant) const;
  void drop_session(std::uint64_t number, link::ResetCode code);
  link::Welcome welcome_for(RelaySession& session) const;

  io::Loop& loop_;
  Log& log_;
  Metrics& metrics_;
  TunnelLimits limits_;
  route::AgentAccess access_;
  const route::RouterTable& table_;
  const std::uint16_t public_port_;
  Edge& edge_;
  Fabric& fabric_;
  const crypto::TlsContext* h2_tls_;  // of new links
  bool draining_ = false;
  std::size_t unauthenticated_ = 0;
  std::unordered_map<IpAddress, std::size_t, AddressHash> unproven_tcp_;  // of those, by address
  std::uint64_t next_session_;  // unique over threads: the thread's index is in the high bits
  LogRateLimit once_;

  OwnedList<RelayLink> links_;
  std::map<std::uint64_t, std::unique_ptr<RelaySession>> sessions_;
  std::unordered_map<std::string, std::uint64_t> by_id_;
  std::map<std::uint64_t, Pending> pending_;
  std::vector<RelayLink*> all_links_;
  std::unordered_map<std::uint64_t, Instant> probe_reached_;  // a session's stream, last
  std::vector<RelayLink*> joining_;  // to be decided in the next turn
  io::Task join_task_;
  std::vector<IpAddress> port_addresses_;
};

}  // namespace adit::service
