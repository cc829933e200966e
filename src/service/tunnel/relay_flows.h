// The flows of one session at the relay: visitors by UDP of its public ports, and by QUIC of its
// names. Numbers are the session's, so a flow survives a change of links.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "base/list.h"
#include "base/metrics.h"
#include "base/limits.h"
#include "base/token_bucket.h"
#include "io/loop.h"
#include "service/tunnel/flow_channel.h"

namespace adit::service {

struct FlowLimits {
  std::size_t flows_max = limits::kFlowsPerSessionMax;
  Duration idle = limits::kFlowIdle;
};

// Where the answers to a flow go, and who is to forget it when it is over.
class FlowSink {
 public:
  virtual void on_answer(link::FlowNumber flow, const link::FlowOpen& open, Bytes payload) = 0;
  virtual void on_flow_over(link::FlowNumber flow, const link::FlowOpen& open) = 0;

 protected:
  ~FlowSink() = default;
};

class RelayFlows final : private FlowListener {
 public:
  RelayFlows(io::Loop& loop, Metrics& metrics, const FlowLimits& limits);
  ~RelayFlows();

  FlowChannel& channel() { return channel_; }
  void set_limits(const FlowLimits& limits) { limits_ = limits; }
  // Bytes a second each way, policed: what is too much is dropped, as a narrow path would. 0: none.
  void set_rate(std::uint64_t bytes_a_second);

  // Nothing where the limit is reached; but a flow that the service has never answered gives way,
  // the one that is quiet the longest: who only sends, from addresses that are not its own, keeps
  // nobody else out. `sink` outlives the flow, or closes it.
  std::optional<link::FlowNumber> open(const link::FlowOpen& open, FlowSink& sink);
  // One datagram of the visitor's.
  void send(link::FlowNumber flow, Bytes payload);
  // The sink is not told.
  void close(link::FlowNumber flow);
  std::size_t size() const { return flows_.size(); }

 private:
  struct Flow final : ListNode<Flow> {
    link::FlowNumber number;
    link::FlowOpen open;
    FlowSink* sink = nullptr;
    bool answered = false;
    Instant active;
  };

  void on_flow_record(link::FlowRecord record) override;
  void touch(Flow& flow);
  void over(Flow& flow);
  void on_timer();
  Duration idle_of(const Flow& flow) const;
  bool pays(TokenBucket& bucket, std::size_t n);

  io::Loop& loop_;
  FlowLimits limits_;
  FlowChannel channel_;
  std::uint64_t next_ = 1;
  std::map<link::FlowNumber, std::unique_ptr<Flow>> flows_;
  List<Flow, Flow> unanswered_, answered_;  // the quietest first
  TokenBucket rate_in_, rate_out_;
  io::Timer timer_;
  Gauge& open_;
  Counter &total_, &refused_, &idle_, &gave_way_, &rate_dropped_, &unknown_;
};

}  // namespace adit::service
