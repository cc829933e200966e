// Visitors of the agents whose sessions are on this thread: by name, by public port, by QUIC, and
// the relay's own probes. Each gets a stream of its agent's session, or is told why not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "route/access.h"
#include "route/router.h"
#include "service/edge/edge.h"
#include "service/probe/prober.h"
#include "service/tunnel/fabric.h"
#include "service/tunnel/port_listeners.h"
#include "service/tunnel/session_table.h"

namespace adit::service {

class Visits final : public ProbeTargets, public PortVisitors {
 public:
  // All outlives it.
  struct Context {
    io::Loop& loop;
    Log& log;
    Metrics& metrics;
    const SessionTable& sessions;
    const route::AgentAccess& access;
    const route::RouterTable& table;
    Edge& edge;
    Fabric& fabric;
  };
  explicit Visits(const Context& context) : context_(context) {}

  // See AgentDoor.
  void visit(Visitor visitor, const std::string& pattern);
  // A visitor that another thread handed over, or our own, for a session of this thread.
  void serve(Visitor visitor, std::uint64_t session, ServiceNumber service);
  // The flows of a session of this thread, for a visitor by QUIC; null where it may have none.
  RelayFlows* flows_for(std::uint64_t session, const Address& visitor);
  // No new flows from now on.
  void drain() { draining_ = true; }

  std::vector<Target> probe_targets() const override;
  void on_probes_lost(std::uint64_t session) override;
  void forget(std::uint64_t session) { probe_reached_.erase(session); }

  // For `explain`: whether a visitor of the owner's name would get to its service, and why.
  bool forecast(const route::NameOwner& owner, std::vector<std::string>& facts) const;
  // The same of a name that nobody has.
  void forecast_absent(std::string_view name, std::vector<std::string>& facts) const;

  // --- PortVisitors ---
  void visit_port(Visitor visitor, std::uint64_t session, ServiceNumber service) override;
  void on_accept_failed(int error) override;
  bool admits_flow(std::uint64_t session, const Address& visitor) override;

 private:
  const Context context_;
  bool draining_ = false;
  std::unordered_map<std::uint64_t, Instant> probe_reached_;  // a session's stream, last
  LogRateLimit once_;
};

}  // namespace adit::service
