#include "service/agent/agent_flows.h"

#include <algorithm>
#include <cerrno>

#include "base/limits.h"

namespace adit::service {

namespace {
using Kind = link::FlowRecord::Kind;
}  // namespace

struct AgentFlows::Target {
  HostPort address;
  std::optional<Address> as{};  // transparent
  VisitorWays::Hold hold{};
};

class AgentFlows::Flow final : public ListNode<Flow>, private UdpClientListener {
 public:
  Flow(AgentFlows& owner, link::FlowNumber n, const link::FlowOpen& open,
       const LocalServiceSettings& service, Target to)
      : number(n),
        target(std::move(to.address)),
        proven(!to.as),
        owner_(owner),
        hold_(std::move(to.hold)),
        client_(owner.loop_, owner.resolver_, target, owner.unsent_,
                static_cast<UdpClientListener&>(*this), to.as) {
    if (service.kind == ServiceKind::Udp && service.proxy == ProxyHeader::V2)
      header_ = proxy_header_v2_udp(ProxiedConnection{open.visitor, open.local});
  }

  void deliver(Bytes payload) {
    proven = proven || answered_;
    if (header_.empty()) return client_.send(payload);
    ByteVector with_header = header_;
    with_header.insert(with_header.end(), payload.begin(), payload.end());
    client_.send(with_header);
  }

  const link::FlowNumber number;
  const HostPort target;
  Instant active;
  // Anybody may write a visitor's address on a datagram; who goes on after an answer has got it. It
  // matters where answers to the address are kept from going elsewhere.
  bool proven;

 private:
  void on_server_datagram(Bytes payload) override {
    answered_ = true;
    if (proven) owner_.touch(*this);
    owner_.channel_.send(number, payload);
  }
  // The next datagram is an OPEN again, and a new try.
  void on_server_failed(const Error& why) override {
    owner_.unreachable(target, why.what);
    owner_.channel_.tell(number, Kind::Gone);
    owner_.forget(*this);
  }
  void on_server_unreachable(const Error& why) override {
    owner_.unreachable(target, why.what);
  }

  AgentFlows& owner_;
  ByteVector header_;
  VisitorWays::Hold hold_;
  UdpClient client_;
  bool answered_ = false;
};

AgentFlows::AgentFlows(io::Loop& loop, io::Resolver& resolver, Log& log, Metrics& m,
                       const std::vector<LocalServiceSettings>& services, VisitorWays* ways)
    : loop_(loop),
      resolver_(resolver),
      log_(log),
      services_(services),
      ways_(ways),
      channel_(Role::Agent, m, static_cast<FlowListener&>(*this)),
      timer_(loop, Delegate<void()>::to<&AgentFlows::on_timer>(this)),
      open_(m.gauge("adit_agent_flows")),
      total_(m.counter("adit_agent_flows_total")),
      unsent_(m.counter("adit_flow_datagrams_dropped_total", "reason=\"not_sent\"")),
      unknown_service_(m.counter("adit_agent_unknown_service_total")),
      gave_way_(m.counter("adit_agent_flows_gave_way_total")) {}

AgentFlows::~AgentFlows() { open_.add(-static_cast<std::int64_t>(flows_.size())); }

void AgentFlows::on_flow_record(link::FlowRecord record) {
  auto found = flows_.find(record.flow);
  switch (record.kind) {
    case Kind::Open:
      if (found == flows_.end()) {
        open(record.flow, record.open);
        found = flows_.find(record.flow);
        if (found == flows_.end()) return;
      }
      channel_.tell(record.flow, Kind::Opened);
      break;
    case Kind::Data:
      if (found == flows_.end()) return channel_.tell(record.flow, Kind::Gone);
      break;
    case Kind::Gone:
      if (found != flows_.end()) forget(*found->second);
      return;
    case Kind::Opened: return;  // said by agents only
  }
  touch(*found->second);
  found->second->deliver(record.payload);
}

void AgentFlows::open(link::FlowNumber number, const link::FlowOpen& open) {
  const auto service = std::ranges::find_if(services_, [&](const LocalServiceSettings& s) {
    return s.number == open.service && (s.kind == ServiceKind::Udp || s.to_udp);
  });
  if (service == services_.end()) return unknown_service_.add();
  auto target = target_for(*service, open);
  if (!target) return unreachable(service->to, target.error().what);
  // The relay's bound is this one or less; what is over there already may still be here.
  if (flows_.size() >= 2 * limits::kFlowsPerSessionMax) {
    gave_way_.add();
    Flow& quietest = *by_activity_.front();
    channel_.tell(quietest.number, Kind::Gone);
    forget(quietest);
  }
  channel_.add(number, std::nullopt);
  flows_.emplace(number, std::make_unique<Flow>(*this, number, open, *service,
                                                std::move(*target)));
  total_.add();
  open_.add(1);
}

Result<AgentFlows::Target> AgentFlows::target_for(const LocalServiceSettings& service,
                                                  const link::FlowOpen& open) {
  HostPort to = service.to_udp ? *service.to_udp : target_of(service, open.local.port);
  if (!service.transparent) return Target{std::move(to)};
  auto way = ways_->way(io::Transport::Udp, to, open.visitor);
  if (!way) return std::move(way).error();
  return Target{std::move(way->to), way->as, std::move(way->hold)};
}

void AgentFlows::touch(Flow& flow) {
  flow.active = loop_.now();
  flow.unlink();
  (flow.proven ? by_activity_ : unproven_).push_back(flow);
  const Instant due = due_of(flow);
  if (!timer_.armed() || due < timer_.at()) timer_.set(due);
}

Instant AgentFlows::due_of(const Flow& flow) const {
  return flow.active + (flow.proven ? limits::kAgentFlowIdle : limits::kFlowUnansweredIdle);
}

void AgentFlows::forget(Flow& flow) {
  const link::FlowNumber number = flow.number;
  channel_.remove(number);
  flows_.erase(number);
  open_.add(-1);
}

void AgentFlows::unreachable(const HostPort& to, std::string_view why) {
  const auto held = once_.admit(loop_.now(), std::hash<std::string>{}(to.text()));
  if (held < 0) return;
  log_.warn("agent.service_unreachable",
            {{"to", to.text()}, {"why", why}, {"suppressed", held}});
}

void AgentFlows::on_timer() {
  Instant next = Instant::never();
  for (auto* flows : {&by_activity_, &unproven_}) {
    while (Flow* quietest = flows->front()) {
      if (const Instant due = due_of(*quietest); due > loop_.now()) {
        next = std::min(next, due);
        break;
      }
      channel_.tell(quietest->number, Kind::Gone);
      forget(*quietest);
    }
  }
  timer_.set(next);
}

}  // namespace adit::service
