// The streams of one agent at one relay, kept over the links that carry them. Relay and agent use
// the same class; only the relay opens streams. What a stream has sent stays here until the far
// side says that it was handed to the socket behind it, so a lost link costs a pause and no byte
// (architecture: Continuity).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "base/id.h"
#include "base/token_bucket.h"
#include "flow/carrier.h"
#include "flow/duplex.h"
#include "io/loop.h"
#include "proto/link/frames.h"
#include "proto/link/messages.h"
#include "proto/link/seen_numbers.h"
#include "service/tunnel/session_stream.h"
#include "service/tunnel/strain.h"

namespace adit::service {

enum class Role : std::uint8_t { Relay, Agent };

class FlowChannel;

struct SessionLimits {
  std::size_t streams_max = 0;  // kStreamsPerSessionMax at most; the agent allows for twice as many
  std::size_t retain_stream_bytes = 0;
  std::size_t retain_session_bytes = 0;
  std::uint64_t rate = 0;  // bytes a second of all streams, each way; 0: no limit
};

// Agent: a visitor's stream has come. The session keeps the stream; `end` is its end for a pump,
// and destroying it before finish() resets the stream, later lets the visitor end its direction by
// itself.
class StreamAcceptor {
 public:
  virtual void on_stream(const link::Preamble& preamble, std::unique_ptr<flow::Duplex> end) = 0;
  // The carrier has held up what is sent for a while; so many bytes a second got through.
  virtual void on_strained(std::uint64_t rate) = 0;

 protected:
  ~StreamAcceptor() = default;
};

class Session {
 public:
  // `acceptor`: agent only, else null.
  Session(io::Loop& loop, Role role, const SessionLimits& limits, StreamAcceptor* acceptor);
  ~Session();  // open streams are reset
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Relay: a new stream; without a link it waits for one. `preamble.stream` is chosen here. Null
  // when streams_max is reached, or the session is over.
  std::unique_ptr<flow::Duplex> open_stream(link::Preamble preamble);

  // What carries the flows of this session; outlives it. Set before the first link.
  void set_flows(FlowChannel& flows) { flows_ = &flows; }

  // --- links ---
  // Relay: `resume` of the HELLO. Agent: what WELCOME said. On an error of the peer nothing is
  // attached.
  Status attach_relay(flow::Carrier& carrier, const link::ResumeRequest* resume);
  Status attach_agent(flow::Carrier& carrier, const link::Welcome& welcome);
  // The link is gone or closed, so its carrier touches no source any more; streams are kept.
  void detach();
  bool attached() const { return carrier_ != nullptr; }
  // From now on; what is under way goes on.
  void set_rate(std::uint64_t bytes_a_second);
  // Relay: streams this side still has, for WELCOME (after attach_relay, which prunes). Agent: for
  // HELLO.
  std::vector<link::StreamOffset> offsets() const;
  std::uint64_t next_stream() const { return next_stream_; }
  const link::SeenNumbers& seen() const { return seen_; }

  // --- from the carrier ---
  void on_stream_opened(flow::CarrierStream id);
  void on_stream_readable(flow::CarrierStream id);
  void on_stream_reset(flow::CarrierStream id, std::uint64_t code);
  void on_stream_closed(flow::CarrierStream id);
  void on_datagram(Bytes datagram);
  // Frames of the control channel; an error is the peer's fault and ends the link.
  Status on_ack(Bytes body);
  Status on_reset(Bytes body);

  // Every stream ends with `code`: the session is over.
  void end(link::ResetCode code);

  // Bytes of all streams that were handed on, ever: by the far side, and here.
  std::uint64_t handed_there() const { return handed_there_; }
  std::uint64_t handed_here() const { return handed_here_; }
  std::size_t stream_count() const { return streams_.size(); }
  std::size_t retained_bytes() const { return retained_; }
  // For status: of all streams so far, from and to the far side.
  std::uint64_t bytes_in() const { return bytes_in_; }
  std::uint64_t bytes_out() const { return bytes_out_; }
  std::uint64_t rate() const { return rate_out_.rate(); }
  std::size_t streams_max() const { return limits_.streams_max; }

 private:
  friend class SessionStream;
  friend class StreamEnd;
  using Streams = std::map<StreamNumber, std::unique_ptr<SessionStream>>;
  using Offsets = std::map<StreamNumber, std::uint64_t>;

  // Keeps the sums of what is retained right over a change of one stream's sending half.
  class Recount {
   public:
    explicit Recount(SessionStream& stream) : stream_(stream), before_(stream.send_.retained()) {}
    ~Recount() { stream_.session_.account(before_, stream_.send_.retained()); }
    Recount(const Recount&) = delete;

   private:
    SessionStream& stream_;
    const std::size_t before_;
  };
  void account(std::size_t before, std::size_t after);
  std::size_t room(const SessionStream& stream) const;

  SessionStream* find(StreamNumber number);
  SessionStream* by_carrier(flow::CarrierStream id);
  // --- links (session_links.cc) ---
  Status resume(const Offsets& listed);
  void attached_to(flow::Carrier& carrier);
  void forgotten(StreamNumber number, std::string_view why);
  void carry(SessionStream& stream, flow::CarrierStream id);
  bool wants_carrier(const SessionStream& stream) const;
  void open_waiting();
  bool open_on_carrier(SessionStream& stream);
  void leave_carrier(SessionStream& stream);
  void read_preamble(flow::CarrierStream id);
  void adopt(flow::CarrierStream id, const link::Preamble& preamble);
  void readopt(SessionStream& stream, flow::CarrierStream id, std::uint64_t resume_offset);
  void refuse(flow::CarrierStream id, link::ResetCode code);
  // --- from the streams ---
  void note_end(SessionStream& stream);
  void discard(SessionStream& stream);
  void ack_due(SessionStream& stream, bool at_once);
  void released();               // room came free, or an end is to be told something
  void wait(SessionStream& stream);
  // What may go now by the rate, and whether to wait where that is nothing worth a call.
  std::size_t allowed(TokenBucket& bucket);
  void wait_for(const TokenBucket& bucket, SessionStream& stream);
  void reset_by_us(SessionStream& stream, link::ResetCode code);
  bool is_over(const SessionStream& stream) const;
  void maybe_retire(SessionStream& stream);
  static StreamEnd* part(SessionStream& stream);
  // The stream ends without order; its end is told and may do as it likes with the session's other
  // ends.
  void fail(SessionStream& stream, link::ResetCode code);
  void erase(SessionStream& stream);
  void send_acks();
  void watch_strain();
  void run_task();
  void tell(SessionStream& stream);

  io::Loop& loop_;
  const Role role_;
  const SessionLimits limits_;
  StreamAcceptor* const acceptor_;
  flow::Carrier* carrier_ = nullptr;
  FlowChannel* flows_ = nullptr;
  bool ended_ = false;

  Streams streams_;
  std::map<flow::CarrierStream, SessionStream*> carried_;
  std::set<flow::CarrierStream> unnamed_;        // agent: preamble not complete yet
  std::uint64_t next_stream_ = 1;                // relay
  link::SeenNumbers seen_;                       // agent
  std::size_t retained_ = 0;
  // Half of what a session may retain is shared out evenly: a stream always has room for share_
  // bytes, however many others are stuck. The other half serves whoever comes.
  const std::size_t share_, common_max_;
  std::size_t common_ = 0;                       // retained above the shares

  std::vector<StreamNumber> acks_;               // streams with something to tell
  std::vector<StreamNumber> waiting_;            // ends to be told of room or bytes
  std::vector<StreamNumber> retired_;            // to be erased at the end of the turn
  bool opening_ = false;                         // streams wait for the carrier's stream limit
  std::uint64_t bytes_in_ = 0, bytes_out_ = 0;
  TokenBucket rate_in_, rate_out_;               // from and to the far side
  io::Timer rate_timer_;
  std::uint64_t handed_there_ = 0, handed_here_ = 0;
  Strain strain_;
  std::size_t turns_ = 0;
  io::Timer ack_timer_;
  io::Timer open_timer_;
  io::Task task_;
};

}  // namespace adit::service
