// One QUIC connection (RFC 9000, 9001, 9002, 9221) as an engine: datagrams and time in, events and
// datagrams out. No sockets, no clock. Built on ngtcp2 with wolfSSL; ngtcp2's callbacks only
// record.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/delegate.h"
#include "base/prng.h"
#include "base/result.h"
#include "base/time.h"
#include "crypto/tls_context.h"
#include "proto/quic/connection_id.h"
#include "proto/stream_source.h"

namespace adit::quic {

// QUIC stream ids as on the wire (RFC 9000 §2.1).
using QuicStream = std::int64_t;

struct Path {
  Address local, peer;
  bool operator==(const Path&) const = default;
};

struct Settings {
  Duration idle_timeout{};
  Duration keep_alive{};           // 0: none
  Duration handshake_deadline{};
  std::uint64_t streams_bidi_max = 0;   // that the peer may open
  std::uint64_t stream_window_bytes = 0;
  std::uint64_t connection_window_bytes = 0;
  bool datagrams = true;           // RFC 9221
  // for connection ids and ngtcp2's non-secret choices; 0: from the CSPRNG
  std::uint64_t random_seed = 0;
  // Client: first byte of the id by which it addresses the server at first. With it a link that
  // resumes a session reaches the thread that has it (connection_id.h).
  std::optional<std::uint8_t> initial_id_first_byte;
  // Makes stateless reset tokens and proves Retry tokens: the endpoint's. All zero (a client's): a
  // random one.
  std::array<std::uint8_t, 32> reset_secret{};
};

struct HandshakeDone {};           // TLS complete; the peer's key may be asked for
struct StreamOpened { QuicStream id; };                    // by the peer
// bytes or the end arrived: readable()/at_end()
struct StreamReadable { QuicStream id; };
// peer's RESET_STREAM: no more bytes come
struct StreamReset { QuicStream id; std::uint64_t code; };
struct StreamStopped { QuicStream id; std::uint64_t code; };   // peer's STOP_SENDING: send no more
struct StreamClosed { QuicStream id; };                    // both directions done and acknowledged
struct DatagramReceived { ByteVector bytes; };
struct PathChanged { Path path; };                         // the peer's address, after validation
// The last event. `code`: RFC 9000 §20 transport code or the application's own; by the peer, by us,
// or (timeout) by silence.
struct Closed {
  std::uint64_t code = 0;
  bool application = false;
  bool by_peer = false;
  bool timeout = false;
  std::string reason;
};
using Event = std::variant<HandshakeDone, StreamOpened, StreamReadable, StreamReset, StreamStopped,
                           StreamClosed, DatagramReceived, PathChanged, Closed>;

// Datagrams to send: equal packets of segment_bytes, the last may be shorter; one send_datagrams
// call.
struct Outgoing {
  Path path;
  Bytes bytes;                     // points into the buffer given to drain()
  std::size_t segment_bytes = 0;
  std::uint8_t ecn = 0;
};

struct PathStats {
  Duration rtt{};
  std::uint64_t bytes_sent = 0, bytes_received = 0;  // UDP payload
  std::uint64_t packets_lost = 0;                    // of those with stream data
  std::uint64_t bytes_in_flight = 0;
  std::uint64_t congestion_window_bytes = 0;
  // When last asked what to send: window or pacing let less through than there was.
  bool held_up = false;
};

class Connection {
 public:
  // Makes `tls` a context for QUIC alone: a TLS session over TCP cannot be made from it any more.
  // Done by connect() and accept() where it was not; before threads share a context it has to be
  // called once.
  static Status prepare(const crypto::TlsContext& tls);
  // `tls` must outlive the connection. `server_name` is the SNI and, under WebPki, the name to
  // verify.
  static Result<std::unique_ptr<Connection>> connect(const crypto::TlsContext& tls,
                                                     const std::string& server_name,
                                                         const Path& path,
                                                     const Settings& settings, Instant now);
  // `initial` is the client's first datagram, which the endpoint found to be an Initial of version
  // 1; it still has to be fed. `thread` is put into every connection id (see connection_id.h).
  static Result<std::unique_ptr<Connection>> accept(const crypto::TlsContext& tls, Bytes initial,
                                                    const Path& path, const Settings& settings,
                                                    std::uint8_t thread, Instant now);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // --- in ---
  // One datagram. Anything wrong with it ends as a Closed event or in nothing, as the RFC says.
  void feed(const Path& path, std::uint8_t ecn, Bytes datagram, Instant now);
  void on_deadline(Instant now);
  // The local address changed (client): probes the new path and moves to it (RFC 9000 §9).
  Status migrate(const Path& path, Instant now);

  // --- out ---
  Instant next_deadline() const;
  // Fills `buffer` (at least 1500 bytes; 64 KiB lets GSO work) with what may be sent now; bytes
  // empty: nothing (congestion, pacing, no data). Call until empty or until the socket is full. A
  // batch that the socket refused, whole or in part, is counted as sent here: its owner keeps it,
  // sends it when the socket is writable, and drains no more until then.
  Outgoing drain(MutableBytes buffer, Instant now);
  std::vector<Event> take_events();

  // --- streams ---
  // Error EAGAIN when the peer's limit is reached.
  Result<QuicStream> open_stream();
  // Attaches what to send; must stay valid until detach or the end of the connection.
  void attach(QuicStream id, StreamSource* source);
  // Forgets the source: nothing more is sent (used after reset()). Where bytes are still
  // unacknowledged on a living stream, this resets it with code 0, since they could not be sent
  // again.
  void detach(QuicStream id);
  // The source has more to send.
  void wake(QuicStream id);
  // Received bytes not yet consumed, the first contiguous run.
  Bytes readable(QuicStream id) const;
  // Frees `n` of them and gives the peer credit for as many.
  void consume(QuicStream id, std::size_t n);
  // All consumed and FIN seen; never after a reset. May be asked until the first drain() or
  // take_events() behind the handling of StreamClosed (and of the last byte): the stream is
  // forgotten then.
  bool at_end(QuicStream id) const;
  void reset(QuicStream id, std::uint64_t code);         // RESET_STREAM
  void stop_sending(QuicStream id, std::uint64_t code);  // STOP_SENDING; received bytes are dropped
  // Error EAGAIN when the queue of unsent datagrams is full (64), EMSGSIZE when it fits no packet.
  Status send_datagram(Bytes payload);
  std::size_t datagram_bytes_max() const;
  std::size_t datagrams_waiting() const;  // in the queue

  // Sends CONNECTION_CLOSE with an application code; a Closed event follows.
  void close(std::uint64_t code, std::string_view reason, Instant now);

  // --- facts ---
  bool handshake_done() const;
  bool closed() const;
  // Closed, and the time is over in which the peer's late datagrams are answered (RFC 9000 §10.2):
  // may be destroyed. Reached by on_deadline().
  bool finished() const;
  Path path() const;
  // The handshake is done, and the three below have been asked for what they know: the TLS session
  // goes (some 15 KiB; nothing of QUIC needs it any more), and they know nothing from then on.
  void forget_handshake();
  ByteVector peer_spki_der() const;     // after HandshakeDone
  std::string alpn() const;
  // RFC 8446 §7.5; both ends get the same bytes for the same label and context.
  Result<ByteVector> export_keying_material(std::string_view label, Bytes context,
                                            std::size_t n) const;
  PathStats stats() const;
  // When the first packet was sent that asks for an answer and behind which nothing has been
  // received; never(): there is none.
  Instant unanswered_since() const;
  // Connection ids by which the peer may address us, to be kept in the endpoint's map. Changes
  // since the last call.
  struct IdChange { ConnectionId id; bool added; };
  std::vector<IdChange> take_id_changes();

  struct Impl;  // known to the files of this folder only
  explicit Connection(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace adit::quic
