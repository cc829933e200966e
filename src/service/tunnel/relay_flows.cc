#include "service/tunnel/relay_flows.h"

#include <algorithm>

namespace adit::service {

RelayFlows::RelayFlows(io::Loop& loop, Metrics& m, const FlowLimits& limits)
    : loop_(loop),
      limits_(limits),
      channel_(Role::Relay, m, static_cast<FlowListener&>(*this)),
      timer_(loop, Delegate<void()>::to<&RelayFlows::on_timer>(this)),
      open_(m.gauge("adit_flows")),
      total_(m.counter("adit_flows_total")),
      refused_(m.counter("adit_flows_refused_total", "reason=\"limit\"")),
      idle_(m.counter("adit_flows_over_total", "reason=\"idle\"")),
      gave_way_(m.counter("adit_flows_over_total", "reason=\"gave_way\"")),
      rate_dropped_(m.counter("adit_flow_datagrams_dropped_total", "reason=\"rate\"")),
      unknown_(m.counter("adit_flow_datagrams_dropped_total", "reason=\"flow_over\"")) {}

RelayFlows::~RelayFlows() {
  while (!flows_.empty()) over(*flows_.begin()->second);
}

void RelayFlows::set_rate(std::uint64_t bytes_a_second) {
  if (bytes_a_second == rate_in_.rate()) return;
  const std::uint64_t burst =
      std::max<std::uint64_t>(bytes_a_second / 20, limits::kDatagramPayloadMax);
  rate_in_ = rate_out_ = TokenBucket(bytes_a_second, burst, loop_.now());
}

bool RelayFlows::pays(TokenBucket& bucket, std::size_t n) {
  if (bucket.available(loop_.now()) < n) {
    rate_dropped_.add();
    return false;
  }
  bucket.take(n);
  return true;
}

std::optional<link::FlowNumber> RelayFlows::open(const link::FlowOpen& open, FlowSink& sink) {
  if (flows_.size() >= limits_.flows_max) {
    Flow* quietest = unanswered_.front();
    if (quietest == nullptr) {
      refused_.add();
      return std::nullopt;
    }
    gave_way_.add();
    over(*quietest);
  }
  auto owned = std::make_unique<Flow>();
  Flow& flow = *owned;
  flow.number = link::FlowNumber{next_++};
  flow.open = open;
  flow.sink = &sink;
  flows_.emplace(flow.number, std::move(owned));
  channel_.add(flow.number, open);
  total_.add();
  open_.add(1);
  touch(flow);
  return flow.number;
}

void RelayFlows::send(link::FlowNumber number, Bytes payload) {
  const auto found = flows_.find(number);
  CHECK(found != flows_.end());
  touch(*found->second);
  if (pays(rate_out_, payload.size())) channel_.send(number, payload);
}

void RelayFlows::close(link::FlowNumber number) {
  if (flows_.erase(number) == 0) return;
  open_.add(-1);
  channel_.remove(number);
  channel_.tell(number, link::FlowRecord::Kind::Gone);
}

void RelayFlows::over(Flow& flow) {
  const link::FlowNumber number = flow.number;
  flow.sink->on_flow_over(number, flow.open);
  close(number);
}

void RelayFlows::on_flow_record(link::FlowRecord record) {
  using Kind = link::FlowRecord::Kind;
  const auto found = flows_.find(record.flow);
  if (found == flows_.end()) {
    // Over here while it was on its way; the agent hears of that by GONE.
    if (record.kind == Kind::Data) unknown_.add();
    return;
  }
  Flow& flow = *found->second;
  switch (record.kind) {
    case Kind::Data:
      channel_.opened(flow.number, true);
      flow.answered = true;
      touch(flow);
      if (pays(rate_in_, record.payload.size()))
        flow.sink->on_answer(flow.number, flow.open, record.payload);
      return;
    case Kind::Opened: return channel_.opened(flow.number, true);
    case Kind::Gone: return channel_.opened(flow.number, false);
    case Kind::Open: return;  // said by relays only
  }
}

// --- quiet flows ---------------------------------------------------------------------------------

Duration RelayFlows::idle_of(const Flow& flow) const {
  return flow.answered ? limits_.idle : std::min(limits_.idle, limits::kFlowUnansweredIdle);
}

void RelayFlows::touch(Flow& flow) {
  flow.active = loop_.now();
  flow.unlink();
  (flow.answered ? answered_ : unanswered_).push_back(flow);
  const Instant due = flow.active + idle_of(flow);
  if (!timer_.armed() || due < timer_.at()) timer_.set(due);
}

void RelayFlows::on_timer() {
  Instant next = Instant::never();
  for (List<Flow, Flow>* list : {&unanswered_, &answered_}) {
    while (Flow* quietest = list->front()) {
      const Instant due = quietest->active + idle_of(*quietest);
      if (due > loop_.now()) {
        next = std::min(next, due);
        break;
      }
      idle_.add();
      over(*quietest);
    }
  }
  timer_.set(next);
}

}  // namespace adit::service
