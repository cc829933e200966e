// The flows of one session at the agent: each is a connected UDP socket toward the local service,
// so that its answers find their way and the service sees one peer a visitor.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "io/resolver.h"
#include "service/agent/local_service.h"
#include "service/tunnel/flow_channel.h"
#include "service/tunnel/udp_client.h"

namespace adit::service {

class AgentFlows final : private FlowListener {
 public:
  // `services` and `ways` outlive it; `ways` is null where no service is transparent.
  AgentFlows(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& metrics,
             const std::vector<LocalServiceSettings>& services, VisitorWays* ways);
  ~AgentFlows();

  FlowChannel& channel() { return channel_; }
  std::size_t size() const { return flows_.size(); }

 private:
  class Flow;
  struct Target;

  void on_flow_record(link::FlowRecord record) override;
  void open(link::FlowNumber number, const link::FlowOpen& open);
  // Where the flow goes, and as whom; an error: its visitor cannot be presented.
  Result<Target> target_for(const LocalServiceSettings& service, const link::FlowOpen& open);
  void touch(Flow& flow);
  Instant due_of(const Flow& flow) const;
  void forget(Flow& flow);
  void unreachable(const HostPort& to, std::string_view why);
  void on_timer();

  io::Loop& loop_;
  io::Resolver& resolver_;
  Log& log_;
  const std::vector<LocalServiceSettings>& services_;
  VisitorWays* const ways_;
  FlowChannel channel_;
  std::map<link::FlowNumber, std::unique_ptr<Flow>> flows_;
  List<Flow, Flow> by_activity_;  // the quietest first
  List<Flow, Flow> unproven_;     // as well
  io::Timer timer_;
  LogRateLimit once_;
  Gauge& open_;
  Counter &total_, &unsent_, &unknown_service_, &gave_way_;
};

}  // namespace adit::service
