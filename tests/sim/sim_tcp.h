// TCP as its users see it: a reliable stream each way with bounded buffers, the path's delay and
// bandwidth, half-close, reset, and the time-outs. Not its packets: a loss is a delay, there is no
// congestion window.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/address.h"
#include "base/byte_ring.h"
#include "base/result.h"
#include "base/time.h"
#include "sim/sim_host.h"

namespace adit::sim {

class World;

// One end of a connection.
struct TcpEnd {
  enum class State : std::uint8_t { Connecting, Open, Dead };

  Host* host = nullptr;  // null: the other side has not heard of us yet
  int fd = -1;           // -1: waits to be accepted, or `closed`
  Address local, peer;
  State state = State::Connecting;
  int error = 0;        // reported once, as SO_ERROR is
  bool closed = false;  // by its owner; what comes now is answered by RST

  // Sending. tx holds [acknowledged, written); `next` is what is sent next; `window_end` how far
  // the peer lets us go.
  ByteRing tx;
  std::uint64_t next = 0, window_end = 0;
  bool fin_wanted = false, fin_sent = false, fin_acknowledged = false;
  Instant last_arrival;  // segments do not overtake each other
  Instant progress_at;   // something was last acknowledged, or there was nothing to acknowledge
  unsigned backoff = 0;
  unsigned probes = 0;  // keep-alives without an answer
  bool timer_armed = false, pump_armed = false, was_full = false;

  // Receiving. rx holds [read by the owner, received).
  ByteRing rx;
  std::uint64_t window_told = 0;
  bool fin_received = false;
};

struct TcpConnection {
  TcpId id = 0;
  TcpEnd end[2];  // 0 connected, 1 accepted
  Instant started;
  int listener = -1;  // of end[1]'s host, until accepted
  bool queued = false;
};

class TcpNet {
 public:
  static constexpr std::size_t kSendBufferBytes = std::size_t{256} << 10;
  static constexpr std::size_t kReceiveBufferBytes = std::size_t{256} << 10;
  static constexpr Duration kConnectTimeout = 20s;

  // Data that nobody acknowledges ends a connection after this, as the real loops set their sockets
  // up (limits::kTcpRetransmitIntervalMax). A window of zero that is answered never does: there is
  // no TCP_USER_TIMEOUT.
  static constexpr Duration kRetransmitTimeout = 2min;

  explicit TcpNet(World& world) : world_(world) {}

  TcpId connect(Host& host, int fd, const Address& local, const Address& to);
  // A connection within a host that is there at once.
  TcpId pair(Host& host, int fd_0, int fd_1);
  // The end now belongs to descriptor `fd` of its host.
  void accepted(TcpId id, int fd);
  // A listener went away with this connection in its queue.
  void refused_by_close(TcpId id) { close(id, 1, true); }

  // Bytes taken; 0: the buffer is full or the connection is not there yet.
  Result<std::size_t> send(TcpId id, std::size_t side, Bytes bytes);
  void shutdown(TcpId id, std::size_t side);
  void close(TcpId id, std::size_t side, bool abort);
  // What may be read now, one contiguous piece; consume() takes it away.
  Bytes readable(TcpId id, std::size_t side);
  void consume(TcpId id, std::size_t side, std::size_t n);
  bool at_end(TcpId id, std::size_t side);      // all is read and FIN has come, or it is dead
  int take_error(TcpId id, std::size_t side);   // 0: none
  int ready(TcpId id, std::size_t side);        // Ready bits
  TcpEnd& end(TcpId id, std::size_t side);

  // RST to both ends, as a box on the way may send it.
  void reset(TcpId id);
  // For tests: connections that exist in any state.
  std::size_t count() const { return connections_.size(); }
  TcpConnection* find(TcpId id);

 private:
  static constexpr std::size_t kHeaderBytes = 60;
  struct Segment {
    TcpId id;
    std::size_t side;  // the sender
    std::uint64_t from, to;
    bool fin;
  };
  struct Acknowledgement {
    TcpId id;
    std::size_t side;  // whom it is for
    std::uint64_t received, window_end;
    bool fin;
  };

  bool up(const TcpConnection& c, std::size_t from) const;
  Host* target(const TcpConnection& c) const;
  Path& path(const TcpConnection& c, std::size_t from) const;
  void touch(TcpEnd& e);
  // Setting up.
  void send_syn(TcpId id, unsigned attempt);
  void on_syn(TcpId id);
  void on_syn_ack(TcpId id);
  void on_refused(TcpId id);
  void send_first_ack(TcpId id, unsigned attempt);
  void enqueue(TcpConnection& c);
  void keep_alive_later(TcpId id, std::size_t side, Duration wait);
  void keep_alive(TcpId id, std::size_t side);
  // Data.
  std::size_t buffered(const TcpConnection& c, std::size_t side) const;
  void pump(TcpConnection& c, std::size_t side);
  bool send_some(TcpConnection& c, std::size_t side);
  void send_segment(TcpConnection& c, const Segment& s);
  void pump_later(TcpConnection& c, std::size_t side, Instant at);
  void on_segment(const Segment& s);
  bool accepts(TcpConnection& c, const Segment& s);
  void acknowledge(TcpConnection& c, std::size_t sender);
  void on_acknowledgement(const Acknowledgement& a);
  void arm_timer(TcpConnection& c, std::size_t side);
  void on_timer(TcpId id, std::size_t side);
  void probe(TcpConnection& c, std::size_t side);
  Duration answer_time(const TcpConnection& c, std::size_t side) const;
  // Ending.
  void send_reset(TcpConnection& c, std::size_t from);
  void die(TcpConnection& c, std::size_t side, int error);
  void forget_if_finished(TcpConnection& c);

  World& world_;
  TcpId next_id_ = 1;
  std::map<TcpId, std::unique_ptr<TcpConnection>> connections_;
};

}  // namespace adit::sim
