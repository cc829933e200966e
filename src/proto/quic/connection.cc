#include "proto/quic/connection.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "crypto/random.h"
#include "crypto/tls_native.h"
#include "proto/quic/callbacks.h"
#include "proto/quic/impl.h"

// Not in the library's public header: what its own timer calls when the probe time-out is over.
// Sends probes whatever the congestion window says, which a PING of its keep-alive does not.
extern "C" int ngtcp2_conn_on_loss_detection_timer(ngtcp2_conn* conn, ngtcp2_tstamp ts);

namespace adit::quic {
namespace {

// Not the length of our own ids: an Initial whose destination has 18 bytes, the first naming a
// thread, is then one of a connection that exists, or of another implementation.
constexpr std::size_t kFirstDestinationBytes = 16;

Error library_error(int rv, std::string_view call) {
  return Error{0, std::string(call) + ": " + ngtcp2_strerror(rv)};
}

}  // namespace

Connection::Impl::Impl(const Settings& s, bool is_server, std::uint8_t owner_thread)
    : settings(s),
      server(is_server),
      thread(owner_thread),
      randomness(s.random_seed),
      callbacks(&library_callbacks(is_server)),
      crypto_guard(is_server) {
  // Tokens made from a secret that everybody knows would let everybody end the connection.
  if (settings.reset_secret == decltype(settings.reset_secret){})
    crypto::random_bytes(settings.reset_secret);
}

ConnectionId Connection::Impl::new_id() {
  ConnectionId id;
  id.length = kConnectionIdBytes;
  randomness.fill(MutableBytes(id.bytes).first(kConnectionIdBytes));
  id.bytes[0] = thread;
  return id;
}

Status Connection::Impl::adopt_tls(const crypto::TlsContext& context, const std::string& host) {
  CHECK(context.is_server() == server);
  auto made = QuicTls::make(context, host, &raw);
  if (!made) return std::move(made).error();
  tls = std::move(*made);
  return {};
}

Status Connection::Impl::start_client(const crypto::TlsContext& context,
                                      const std::string& server_name, const Path& path,
                                      Instant now) {
  if (Status s = adopt_tls(context, server_name); !s) return s;
  ngtcp2_settings library;
  set_library_settings(library, settings, now);
  library.rand_ctx.native_handle = &randomness;
  ngtcp2_transport_params params;
  set_transport_params(params, settings, false);
  const ConnectionId ours = new_id();
  std::array<std::uint8_t, kConnectionIdBytes> first;
  randomness.fill(first);
  // Ids of our own length are steered by their first byte; a shorter one goes wherever it arrives.
  const bool steered = settings.initial_id_first_byte.has_value();
  if (steered) first[0] = *settings.initial_id_first_byte;
  ngtcp2_cid dcid, scid;
  set_cid(dcid, Bytes(first).first(steered ? kConnectionIdBytes : kFirstDestinationBytes));
  set_cid(scid, ours.view());
  ngtcp2_path_storage on;
  set_path(on, path);
  const int rv =
      ngtcp2_conn_client_new(&raw, &dcid, &scid, &on.path, NGTCP2_PROTO_VER_V1,
                             callbacks, &library, &params, nullptr, this);
  if (rv != 0) return library_error(rv, "ngtcp2_conn_client_new");
  id_changes.push_back({ours, true});
  begin(path);
  return {};
}

Status Connection::Impl::start_server(const crypto::TlsContext& context, Bytes initial,
                                      const Path& path, Instant now) {
  ngtcp2_pkt_hd header;
  if (ngtcp2_accept(&header, initial.data(), initial.size()) != 0 ||
      header.version != NGTCP2_PROTO_VER_V1)
    return Error{EPROTO, "not an Initial of QUIC version 1"};
  if (Status s = adopt_tls(context, {}); !s) return s;
  ngtcp2_settings library;
  set_library_settings(library, settings, now);
  library.rand_ctx.native_handle = &randomness;
  ngtcp2_transport_params params;
  set_transport_params(params, settings, true);
  ngtcp2_path_storage on;
  set_path(on, path);
  params.original_dcid = header.dcid;
  params.original_dcid_present = 1;
  if (header.tokenlen > 0 && header.token[0] == NGTCP2_CRYPTO_TOKEN_MAGIC_RETRY2) {
    // RFC 9000 §8.1.3, §7.3: a token of our Retry validates the address, and says which id came
    // first.
    const int rv = ngtcp2_crypto_verify_retry_token2(
        &params.original_dcid, header.token, header.tokenlen, settings.reset_secret.data(),
        settings.reset_secret.size(), header.version, on.path.remote.addr, on.path.remote.addrlen,
        &header.dcid, static_cast<ngtcp2_duration>(kRetryTokenLifetime.count()), timestamp(now));
    if (rv != 0) return Error{EPROTO, "invalid Retry token"};
    params.retry_scid = header.dcid;
    params.retry_scid_present = 1;
    library.token = header.token;
    library.tokenlen = header.tokenlen;
    library.token_type = NGTCP2_TOKEN_TYPE_RETRY;
  }
  const ConnectionId ours = new_id();
  ngtcp2_cid scid;
  set_cid(scid, ours.view());
  if (ngtcp2_crypto_generate_stateless_reset_token(params.stateless_reset_token,
                                                   settings.reset_secret.data(),
                                                   settings.reset_secret.size(), &scid) != 0)
    return Error{0, "stateless reset token"};
  const int rv =
      ngtcp2_conn_server_new(&raw, &header.scid, &scid, &on.path, header.version,
                             callbacks, &library, &params, nullptr, this);
  if (rv != 0) return library_error(rv, "ngtcp2_conn_server_new");
  // The client goes on using its own choice until it has seen ours.
  id_changes.push_back({connection_id(header.dcid), true});
  id_changes.push_back({ours, true});
  begin(path);
  return {};
}

void Connection::Impl::begin(const Path& path) {
  conn.reset(raw);
  ngtcp2_conn_set_tls_native_handle(raw, tls->native());
  if (settings.keep_alive.count() > 0)
    ngtcp2_conn_set_keep_alive_timeout(raw,
                                       static_cast<ngtcp2_duration>(settings.keep_alive.count()));
  told_path = path;
}

void Connection::Impl::feed(const Path& path, std::uint8_t ecn, Bytes datagram, Instant now) {
  bytes_received += datagram.size();
  if (phase != Phase::Open) return fed_while_closing();
  // RFC 9000 §14.1 and §17: no packet is empty, and the library does not expect one.
  if (datagram.empty()) return;
  ngtcp2_path_storage on;
  set_path(on, path);
  ngtcp2_pkt_info info{};
  info.ecn = ecn & NGTCP2_ECN_MASK;
  black_hole.received();
  int rv = 0;
  {
    ScanScope scope(stopped, !server && !settled);
    rv = ngtcp2_conn_read_pkt(conn.get(), &on.path, &info, datagram.data(), datagram.size(),
                              timestamp(now));
  }
  note_stopped();
  note_answer(now);
  after_input(rv, now);
}

void Connection::Impl::note_answer(Instant now) {
  const bool stream_data = std::exchange(acknowledged, false);
  if (!unanswered.waits()) return;
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info(conn.get(), &info);
  if (stream_data || info.bytes_in_flight == 0) {
    unanswered.acknowledged();
  } else {
    unanswered.heard(Duration(static_cast<std::int64_t>(info.smoothed_rtt)), now);
  }
}

void Connection::Impl::on_deadline(Instant now) {
  if (phase == Phase::Finished) return;
  if (phase != Phase::Open) {
    if (now >= finished_at) phase = Phase::Finished;
    return;
  }
  if (now < next_deadline()) return;
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info(conn.get(), &info);
  black_hole.check(info.bytes_in_flight, now);
  int rv = ngtcp2_conn_handle_expiry(conn.get(), timestamp(now));
  if (rv == 0 && unanswered.probe_due(now))
    rv = unanswered.gives_up()
             ? NGTCP2_ERR_IDLE_CLOSE
             : ngtcp2_conn_on_loss_detection_timer(conn.get(), timestamp(now));
  after_input(rv, now);
}

// What the callbacks recorded and could not do themselves.
void Connection::Impl::after_input(int rv, Instant now) {
  if (credit_due > 0) ngtcp2_conn_extend_max_offset(conn.get(), std::exchange(credit_due, 0));
  streams.tell_acked();
  if (phase != Phase::Open) return;  // a source has closed the connection
  if (rv != 0) return fail(rv, now);
  if (bad_alpn) return refuse_alpn(now);
  note_path();
}

void Connection::Impl::note_stopped() {
  for (const StreamStopped& stop : std::exchange(stopped, {})) {
    Stream* s = streams.find(stop.id);
    // A packet that came twice is decrypted twice; and a stream may have ended meanwhile.
    if (s == nullptr || s->closed || std::exchange(s->stopped_told, true)) continue;
    s->write_shut = true;
    s->unlink();
    tell(stop);
  }
}

void Connection::Impl::note_path() {
  if (!std::exchange(path_validated, false)) return;
  const Path now_used = current_path(conn.get());
  if (now_used == told_path) return;
  told_path = now_used;
  black_hole.path_changed();
  tell(PathChanged{now_used});
}

Instant Connection::Impl::next_deadline() const {
  switch (phase) {
    case Phase::Open:
      return std::min(instant(ngtcp2_conn_get_expiry(conn.get())), unanswered.next_probe());
    case Phase::Closing:
    case Phase::Draining: return finished_at;
    case Phase::Finished: return Instant::never();
  }
  return Instant::never();
}

std::vector<Event> Connection::Impl::take_events() {
  give_stream_credit();
  for (const Event& e : events) {
    if (const auto* readable = std::get_if<StreamReadable>(&e)) {
      if (Stream* s = streams.find(readable->id)) s->readable_told = false;
    } else if (const auto* closed = std::get_if<StreamClosed>(&e)) {
      if (Stream* s = streams.find(closed->id)) streams.closed_taken(*s);
    }
  }
  return std::exchange(events, {});
}

// A stream of the peer's that is wholly done makes room for another one, and not earlier: their
// number, and so the memory they take, is bounded by streams_bidi_max.
void Connection::Impl::give_stream_credit() {
  const std::size_t n = streams.collect(server ? 0 : 1);
  if (n > 0 && phase == Phase::Open) ngtcp2_conn_extend_max_streams_bidi(conn.get(), n);
}

void Connection::Impl::drop_received(Stream& s) {
  credit_due += s.received.size();
  s.received.release(s.received.end());
  streams.emptied(s);
}

// --- the public face ---

Connection::Connection(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Connection::~Connection() = default;

Status Connection::prepare(const crypto::TlsContext& tls) { return QuicTls::prepare(tls); }

Result<std::unique_ptr<Connection>> Connection::connect(const crypto::TlsContext& tls,
                                                        const std::string& server_name,
                                                        const Path& path, const Settings& settings,
                                                        Instant now) {
  auto impl = std::make_unique<Impl>(settings, false, std::uint8_t{0});
  if (Status s = impl->start_client(tls, server_name, path, now); !s) return std::move(s).error();
  return std::make_unique<Connection>(std::move(impl));
}

Result<std::unique_ptr<Connection>> Connection::accept(const crypto::TlsContext& tls, Bytes initial,
                                                       const Path& path, const Settings& settings,
                                                       std::uint8_t thread, Instant now) {
  auto impl = std::make_unique<Impl>(settings, true, thread);
  if (Status s = impl->start_server(tls, initial, path, now); !s) return std::move(s).error();
  return std::make_unique<Connection>(std::move(impl));
}

void Connection::feed(const Path& path, std::uint8_t ecn, Bytes datagram, Instant now) {
  impl_->feed(path, ecn, datagram, now);
}

void Connection::on_deadline(Instant now) { impl_->on_deadline(now); }

Instant Connection::next_deadline() const { return impl_->next_deadline(); }

Outgoing Connection::drain(MutableBytes buffer, Instant now) { return impl_->drain(buffer, now); }

std::vector<Event> Connection::take_events() { return impl_->take_events(); }

Status Connection::migrate(const Path& path, Instant now) {
  CHECK(!impl_->server);
  if (impl_->phase != Phase::Open) return Error{ENOTCONN, "the connection is closed"};
  ngtcp2_path_storage to;
  set_path(to, path);
  const int rv = ngtcp2_conn_initiate_immediate_migration(impl_->conn.get(), &to.path,
                                                          timestamp(now));
  switch (rv) {
    case 0: return {};
    // The peer has not given us a spare connection id yet, or the handshake is not confirmed.
    case NGTCP2_ERR_CONN_ID_BLOCKED:
    case NGTCP2_ERR_INVALID_STATE:
      return Error{EAGAIN, "migrate: " + std::string(ngtcp2_strerror(rv))};
    case NGTCP2_ERR_INVALID_ARGUMENT:
      return Error{EINVAL, "migrate: the local address is the same"};
    default: return library_error(rv, "migrate");
  }
}

void Connection::close(std::uint64_t code, std::string_view reason, Instant now) {
  impl_->close(code, reason, now);
}

bool Connection::handshake_done() const { return impl_->handshake_done; }
bool Connection::closed() const { return impl_->phase != Phase::Open; }
bool Connection::finished() const { return impl_->phase == Phase::Finished; }
Path Connection::path() const { return current_path(impl_->conn.get()); }

// Keys, and the secrets of the next ones (RFC 9001 §6), are ngtcp2's own by now, as are copies of
// handshake messages that may have to be sent again. Of CRYPTO frames nothing reaches TLS behind
// the handshake (crypto_guard.h).
void Connection::forget_handshake() {
  CHECK(impl_->handshake_done);
  ngtcp2_conn_set_tls_native_handle(impl_->raw, nullptr);
  impl_->tls.reset();
}

ByteVector Connection::peer_spki_der() const {
  const bool known = impl_->handshake_done && impl_->tls;
  return known ? crypto::peer_spki_der(impl_->tls->native()) : ByteVector{};
}

std::string Connection::alpn() const {
  return impl_->tls ? crypto::negotiated_alpn(impl_->tls->native()) : std::string();
}

Result<ByteVector> Connection::export_keying_material(std::string_view label, Bytes context,
                                                      std::size_t n) const {
  if (!impl_->handshake_done) return Error{ENOTCONN, "the handshake is not done"};
  if (!impl_->tls) return Error{EPROTO, "the handshake is forgotten"};
  return crypto::export_keying_material(impl_->tls->native(), label, context, n);
}

PathStats Connection::stats() const {
  ngtcp2_conn_info info;
  ngtcp2_conn_get_conn_info(impl_->conn.get(), &info);
  return {.rtt = Duration(static_cast<std::int64_t>(info.smoothed_rtt)),
          .bytes_sent = impl_->bytes_sent,
          .bytes_received = impl_->bytes_received,
          .packets_lost = impl_->packets_lost,
          .bytes_in_flight = info.bytes_in_flight,
          .congestion_window_bytes = info.cwnd,
          .held_up = impl_->held_up};
}

Instant Connection::unanswered_since() const { return impl_->unanswered.since(); }

std::vector<Connection::IdChange> Connection::take_id_changes() {
  return std::exchange(impl_->id_changes, {});
}

}  // namespace adit::quic
