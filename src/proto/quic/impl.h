// The inside of a connection, shared by the files of this folder. The library's types appear only
// as names; its headers are included by .cc files.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/prng.h"
#include "crypto/tls_context.h"
#include "proto/quic/connection.h"
#include "proto/quic/crypto_guard.h"
#include "proto/quic/path_watch.h"
#include "proto/quic/streams.h"

struct ngtcp2_callbacks;
struct ngtcp2_cid;
struct ngtcp2_conn;
struct ngtcp2_path_storage;
struct ngtcp2_pkt_info;
struct ngtcp2_settings;
struct ngtcp2_transport_params;

namespace adit::quic {

inline constexpr std::size_t kDatagramQueueMax = 64;
inline constexpr std::size_t kReasonBytesMax = 512;
// A Retry token is used at once by the client that got it.
inline constexpr Duration kRetryTokenLifetime = 10s;

struct NgtcpFree {
  void operator()(ngtcp2_conn* conn) const;
};

// --- path.cc ---
void set_path(ngtcp2_path_storage& out, const Path& path);
Path path_of(const ngtcp2_path_storage& path);
Path current_path(ngtcp2_conn* conn);
inline std::uint64_t timestamp(Instant t) {
  return t.ns < 0 ? 0 : static_cast<std::uint64_t>(t.ns);
}
Instant instant(std::uint64_t timestamp);
ConnectionId connection_id(const ngtcp2_cid& id);
void set_cid(ngtcp2_cid& out, Bytes id);

// --- tls.cc ---
// A session of the TLS library that talks through ngtcp2, which reaches it by conn_ref.
class QuicTls {
 public:
  // `conn` is read when the library calls back: it may still be null here.
  static Result<std::unique_ptr<QuicTls>> make(const crypto::TlsContext& context,
                                               const std::string& host, ngtcp2_conn* const* conn);
  static Status prepare(const crypto::TlsContext& context);
  ~QuicTls();

  WOLFSSL* native() const { return session_.ssl.get(); }
  std::string failure() const;  // why the handshake failed, for people

 private:
  struct Ref;
  QuicTls();
  std::unique_ptr<Ref> ref_;    // outlives the session, which points to it
  crypto::NativeTls session_;
};

// Random numbers for connection ids and paddings: from the seed, or from the kernel's generator.
class Randomness {
 public:
  explicit Randomness(std::uint64_t seed);
  void fill(MutableBytes out);

 private:
  std::optional<Prng> prng_;
};

enum class Phase : std::uint8_t {
  Open,
  Closing,   // RFC 9000 §10.2.1: our CONNECTION_CLOSE is repeated when the peer goes on sending
  Draining,  // RFC 9000 §10.2.2: the peer's was received; silence
  Finished,
};

struct Connection::Impl {
  Impl(const Settings& s, bool is_server, std::uint8_t owner_thread);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  // --- connection.cc ---
  Status start_client(const crypto::TlsContext& tls, const std::string& server_name,
                      const Path& path, Instant now);
  Status start_server(const crypto::TlsContext& tls, Bytes initial, const Path& path, Instant now);
  Status adopt_tls(const crypto::TlsContext& tls, const std::string& host);
  void begin(const Path& path);
  void note_answer(Instant now);
  ConnectionId new_id();
  void feed(const Path& path, std::uint8_t ecn, Bytes datagram, Instant now);
  void after_input(int rv, Instant now);
  void on_deadline(Instant now);
  Instant next_deadline() const;
  std::vector<Event> take_events();
  void give_stream_credit();
  void drop_received(Stream& s);
  void note_stopped();
  void note_path();

  // In place: g++ 12 believes a temporary variant to be uninitialised (-Wmaybe-uninitialized).
  template <class E>
  void tell(E event) {
    events.emplace_back(std::in_place_type<E>, std::move(event));
  }

  // --- recorded by callbacks.cc ---
  void on_handshake_done();
  void on_stream_open(QuicStream id);
  void on_stream_data(QuicStream id, Bytes bytes, bool fin);
  void on_stream_reset(QuicStream id, std::uint64_t code);
  void on_stream_closed(QuicStream id, std::size_t losses);
  void on_datagram(Bytes bytes);

  // --- drain.cc ---
  Outgoing drain(MutableBytes buffer, Instant now);
  std::ptrdiff_t write_packet(ngtcp2_path_storage& path, ngtcp2_pkt_info& info, MutableBytes out,
                              Instant now);
  struct Piece;
  std::optional<std::ptrdiff_t> write_datagram(Piece& piece);
  std::optional<std::ptrdiff_t> write_stream(Piece& piece, Stream& s);
  std::size_t usual_packet_bytes() const;
  void drop_oversized_datagrams();
  std::size_t datagram_bytes_max() const;

  // --- close.cc ---
  void fail(int rv, Instant now);
  void close(std::uint64_t code, std::string_view reason, Instant now);
  void refuse_alpn(Instant now);
  void send_close(std::uint64_t code, bool application, std::string_view reason, Instant now);
  void enter(Phase next, Instant now, Closed why);
  Outgoing drain_close(MutableBytes buffer);
  void fed_while_closing();

  Settings settings;
  const bool server;
  const std::uint8_t thread;
  Randomness randomness;
  const ngtcp2_callbacks* callbacks;       // a fuzz target puts its own here, to be a hostile peer

  // The library's connection goes first, then the TLS session (unless it is forgotten already).
  std::unique_ptr<QuicTls> tls;
  ngtcp2_conn* raw = nullptr;  // conn.get(), at an address that the TLS session may keep
  std::unique_ptr<ngtcp2_conn, NgtcpFree> conn;

  CryptoGuard crypto_guard;
  Streams streams;
  std::vector<Event> events;
  std::vector<IdChange> id_changes;
  std::vector<StreamStopped> stopped;      // seen in the datagram being fed
  std::uint64_t credit_due = 0;            // connection credit for bytes dropped inside a callback
  // Bounded by kDatagramQueueMax. Not a deque: empty, that has 600 bytes.
  std::vector<ByteVector> datagrams;
  bool datagram_turn = true;
  bool bad_alpn = false;
  bool settled = false;                    // see FrameFindings::retires_ids
  bool handshake_done = false;
  bool stateless_reset = false;
  bool path_validated = false;
  bool acknowledged = false;               // stream data, in the datagram being fed
  Path told_path;

  // A packet that did not fit the batch it was written for.
  struct Held {
    std::array<std::uint8_t, kPacketBytesMax> bytes;
    std::size_t size = 0;
    Path path;
    std::uint8_t ecn = 0;
  };
  std::unique_ptr<Held> held;
  BlackHole black_hole;
  Unanswered unanswered;

  Phase phase = Phase::Open;
  ByteVector close_packet;
  Path close_path;
  bool close_due = false;
  std::uint64_t fed_closing = 0;
  Instant finished_at = Instant::never();

  std::uint64_t bytes_sent = 0, bytes_received = 0, packets_lost = 0;
  bool held_up = false;  // PathStats
};

// --- settings.cc ---
void set_library_settings(ngtcp2_settings& out, const Settings& in, Instant now);
void set_transport_params(ngtcp2_transport_params& out, const Settings& in, bool server);
// --- callbacks.cc ---
const ngtcp2_callbacks& library_callbacks(bool server);

}  // namespace adit::quic
