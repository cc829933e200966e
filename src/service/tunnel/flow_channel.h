// Moves the flows of one session over whatever link carries it: datagrams where the carrier has
// them, and one stream for the rest (proto/link/flow_record.h). Relay and agent use the same class.
// What waits for the link is bounded: in each flow the oldest datagram gives way to the newest.
//
// Over a link that dies, what was under way is lost, as UDP may lose it; what waits goes over the
// next.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "base/byte_ring.h"
#include "base/list.h"
#include "base/metrics.h"
#include "flow/carrier.h"
#include "proto/link/flow_record.h"
#include "service/tunnel/session.h"

namespace adit::service {

class FlowListener {
 public:
  // From the far side. Called from the carrier's events; may use the channel, not destroy it.
  virtual void on_flow_record(link::FlowRecord record) = 0;

 protected:
  ~FlowListener() = default;
};

class FlowChannel final : private flow::DatagramSource, private StreamSource {
 public:
  FlowChannel(Role role, Metrics& metrics, FlowListener& listener);
  ~FlowChannel();

  // --- flows ---
  // `open`: relay; told to the agent with the first datagram, until opened() is called.
  void add(link::FlowNumber flow, std::optional<link::FlowOpen> open);
  // Relay: the agent knows the flow, or has forgotten it.
  void opened(link::FlowNumber flow, bool known);
  // Forgets what waits.
  void remove(link::FlowNumber flow);
  // Queues one datagram of a flow that was added.
  void send(link::FlowNumber flow, Bytes payload);
  // Tells the far side OPENED or GONE. Where there is no link it need not know: lost.
  void tell(link::FlowNumber flow, link::FlowRecord::Kind kind);
  std::size_t queued_bytes() const { return queued_bytes_; }

  // --- from the session ---
  void attach(flow::Carrier& carrier);
  void detach();
  bool has(flow::CarrierStream id) const { return stream_ == id; }
  // Agent: a stream whose preamble has not been read: whether it is the flow stream.
  bool adopt(flow::CarrierStream id);
  void on_readable();
  void on_closed(bool by_reset);
  void on_datagram(Bytes datagram);

 private:
  struct Outbox final : ListNode<Outbox> {
    link::FlowNumber flow;
    std::optional<link::FlowOpen> open;
    bool opened = false;  // the far side knows the flow: datagrams may be used
    std::deque<ByteVector> waiting;
  };

  ByteVector next_datagram(std::size_t bytes_max) override;
  // --- the flow stream, as the carrier sees it ---
  Bytes peek(std::uint64_t offset) const override { return ring_.peek(offset); }
  bool ends_at(std::uint64_t) const override { return false; }
  void acked(std::uint64_t offset) override;

  void drop_oldest(Outbox& box);
  ByteVector take_front(Outbox& box);
  bool open_stream();
  void leave_stream();
  // Whether the stream took the oldest datagram of the flow.
  bool send_by_stream(Outbox& box);
  void write(const link::FlowRecord& record);
  void fill_stream();
  void deliver(std::vector<link::FlowRecord> records);

  const Role role_;
  FlowListener& listener_;
  flow::Carrier* carrier_ = nullptr;
  std::optional<flow::CarrierStream> stream_;
  ByteRing ring_;
  link::FlowRecordReader reader_;
  std::map<link::FlowNumber, std::unique_ptr<Outbox>> boxes_;
  List<Outbox, Outbox> ready_;  // with something waiting
  std::size_t queued_bytes_ = 0;
  // Relay: flows that are over, the last ones. A lost link may have swallowed that.
  std::vector<link::FlowNumber> gone_;
  Counter &sent_, &received_, &by_stream_, &dropped_queue_, &resets_, &malformed_;
};

}  // namespace adit::service
