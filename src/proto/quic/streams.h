// The streams of one connection, as bookkeeping without the library: what arrived and was not
// consumed, how far each source has been sent and acknowledged, and whose turn it is to send.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/byte_ring.h"
#include "base/bytes.h"
#include "base/list.h"
#include "proto/quic/connection.h"
#include "proto/stream_source.h"

namespace adit::quic {

// A stream sends this much before the next one has its turn: some three packets, so that an
// interactive stream beside a bulk one waits for 4 KiB and not for a congestion window.
inline constexpr std::uint64_t kStreamTurnBytes = 4096;

struct Stream : ListNode<struct ReadyTag> {
  explicit Stream(QuicStream stream) : id(stream) {}

  const QuicStream id;

  // Receiving.
  ByteRing received;
  bool finished = false;         // the peer's FIN has been received, and all before it
  bool reset_by_peer = false;    // RESET_STREAM
  bool discarding = false;       // we sent STOP_SENDING
  bool readable_told = false;    // a StreamReadable waits to be taken

  // Sending. `sent`: next offset to hand to the library, which points into the source between
  // `acked` and there; `acked_told`: what the source knows of the acknowledgements.
  StreamSource* source = nullptr;
  std::uint64_t sent = 0;
  std::uint64_t acked = 0;
  std::uint64_t acked_told = 0;
  std::uint64_t turn_bytes = 0;
  bool fin_sent = false;
  bool blocked = false;          // by the peer's stream window; ends with MAX_STREAM_DATA
  bool write_shut = false;       // reset by us, or stopped by the peer
  bool stopped_told = false;     // one StreamStopped a stream

  // The end of both directions.
  bool closed = false;           // the library has forgotten it
  bool closed_told = false;      // StreamClosed has been taken

  bool may_send() const { return source != nullptr && !blocked && !write_shut && !fin_sent; }
};

class Streams {
 public:
  Stream& add(QuicStream id);
  Stream* find(QuicStream id);
  const Stream* find(QuicStream id) const;
  std::size_t size() const { return streams_.size(); }

  // --- turns ---
  // Puts the stream behind the others that have something to send, if it may send and is not there.
  void make_ready(Stream& s);
  Stream* first_ready() { return ready_.front(); }
  // Counts what the first one sent; after kStreamTurnBytes it goes to the end.
  void count_turn(Stream& s, std::uint64_t bytes);
  // Nothing moves on this stream before the connection's window grows: aside until unpark().
  void park(Stream& s);
  void unpark() { ready_.take_all(parked_); }

  // --- acknowledgements ---
  void record_acked(Stream& s, std::uint64_t offset);
  // Tells the sources, outside of the library's callbacks.
  void tell_acked();

  // --- ends ---
  void record_closed(Stream& s);
  // StreamClosed of this one has been handed to the owner.
  void closed_taken(Stream& s);
  // Its last received byte has been consumed or dropped.
  void emptied(const Stream& s) { collect_due_ |= s.closed_told; }
  // Forgets streams whose end the owner has seen and whose bytes it has consumed; returns how many
  // of them the peer had opened (RFC 9000 §2.1: `initiator_bit` is the lowest bit of its stream
  // ids).
  std::size_t collect(QuicStream initiator_bit);
  // The connection has closed: no source is touched again. What was received stays readable.
  void forget_sources();

 private:
  std::unordered_map<QuicStream, std::unique_ptr<Stream>> streams_;
  List<Stream, ReadyTag> ready_;
  List<Stream, ReadyTag> parked_;
  std::vector<QuicStream> acked_;       // with news for their source
  std::vector<QuicStream> closing_;     // closed, the source not yet let go
  std::vector<QuicStream> closed_;      // StreamClosed taken, to be collected
  bool collect_due_ = false;
};

}  // namespace adit::quic
