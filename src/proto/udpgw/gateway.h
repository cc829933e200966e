// The gateway's end of a udpgw stream, without I/O: what the client sends becomes flows with a
// place each and datagrams to them; what comes back becomes frames.
//
//   received bytes --> feed() --> take_events(): Open, Send, Close
//   opened(), received(), failed() --> output(), consume_output()
//
// A CONN_ID has one flow at a time. tun2proxy uses the number again for another place, and does not
// look at addresses in what it gets; so the old flow ends then, and frames of it that wait are
// dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/time.h"
#include "proto/udpgw/frames.h"

namespace adit::udpgw {

// Of one gateway; never used twice.
using FlowId = std::uint32_t;

// To be answered by opened() or failed(), then or later.
struct Open {
  FlowId flow = 0;
  Target target;
};
// Only after opened(). Empty datagrams are sent as they are.
struct Send {
  FlowId flow = 0;
  ByteVector datagram;
};
// Nothing more is said of it, nor to be said.
struct Close {
  FlowId flow = 0;
};
using Event = std::variant<Open, Send, Close>;

struct Settings {
  std::size_t flows_max = limits::kUdpgwFlowsMax;  // beyond it the one least recently used ends
  Duration idle = limits::kUdpgwIdle;              // either way
};

class Gateway {
 public:
  explicit Gateway(const Settings& settings = {}) : settings_(settings) {}

  // Takes all of it.
  void feed(Bytes in, Instant now);
  std::vector<Event> take_events() { return std::exchange(events_, {}); }

  // Calls for flows that are closed do nothing.
  void opened(FlowId flow);
  // A datagram came; beyond limits::kUdpgwDatagramMax it is cut.
  void received(FlowId flow, Bytes datagram, Instant now);
  // It could not be opened, or not sent: the client gets ERR, the flow is over, without Close.
  void failed(FlowId flow);

  // Ends flows on which nothing moved.
  void expire(Instant now);
  Instant next_expiry() const;  // when expire() may have something to do; never() without flows

  // The first run of bytes for the client; valid until the next call that is not const.
  Bytes output() const;
  void consume_output(std::size_t n);

  std::size_t flows() const { return flows_.size(); }
  std::uint64_t skipped() const { return reader_.skipped(); }   // frames that were none
  std::uint64_t dropped() const { return dropped_; }            // answers nobody fetched in time

 private:
  struct Flow {
    FlowId number = 0;
    Target target;
    bool open = false;
    Instant used_at;
    std::deque<ByteVector> early;  // until it is open
  };
  struct Waiting {
    FlowId flow = 0;  // 0: of none
    ByteVector frame;
  };

  void take(const Frame& frame, Instant now);
  void send(const Frame& frame, Instant now);
  void answer(std::uint8_t flags, std::uint16_t id);
  void queue(FlowId flow, ByteVector frame);
  void retire(std::uint16_t id);
  std::map<std::uint16_t, Flow>::iterator find(FlowId flow);
  std::map<std::uint16_t, Flow>::iterator least_recent();

  const Settings settings_;
  FrameReader reader_;
  std::vector<Event> events_;
  std::map<std::uint16_t, Flow> flows_;         // by CONN_ID
  std::map<FlowId, std::uint16_t> ids_;         // of the flows
  FlowId last_flow_ = 0;
  std::deque<Waiting> out_;
  std::size_t out_at_ = 0;                      // of the first
  std::uint64_t dropped_ = 0;
};

}  // namespace adit::udpgw
