// The end of a connection (RFC 9000 §10): why, what is sent, and how long it lingers.
#include <ngtcp2/ngtcp2.h>

#include <bit>

#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

constexpr std::uint8_t kHandshakeFailure = 40;  // RFC 8446 §6
constexpr std::uint8_t kNoApplicationProtocol = 120;

std::string text_of(const std::uint8_t* reason, std::size_t size) {
  return reason == nullptr ? std::string() : std::string(as_text({reason, size}));
}

// RFC 9001 §4.8. The TLS library does not always name an alert; 0 would be close_notify.
std::uint64_t crypto_error(std::uint8_t alert) {
  return NGTCP2_CRYPTO_ERROR + (alert == 0 ? kHandshakeFailure : alert);
}

}  // namespace

void Connection::Impl::fail(int rv, Instant now) {
  if (phase != Phase::Open) return;
  const std::string text = ngtcp2_strerror(rv);
  switch (rv) {
    case NGTCP2_ERR_DRAINING: {
      const ngtcp2_ccerr* e = ngtcp2_conn_get_ccerr(conn.get());
      if (stateless_reset)
        return enter(Phase::Draining, now, {.by_peer = true, .reason = "stateless reset"});
      return enter(Phase::Draining, now,
                   {.code = e->error_code,
                    .application = e->type == NGTCP2_CCERR_TYPE_APPLICATION,
                    .by_peer = true,
                    .reason = text_of(e->reason, e->reasonlen)});
    }
    case NGTCP2_ERR_IDLE_CLOSE:
    case NGTCP2_ERR_HANDSHAKE_TIMEOUT:
      return enter(Phase::Finished, now, {.timeout = true, .reason = text});
    case NGTCP2_ERR_DROP_CONN:
    case NGTCP2_ERR_RETRY:
      // The first datagram was none: nobody is there to be told.
      return enter(Phase::Finished, now, {.code = NGTCP2_CONNECTION_REFUSED, .reason = text});
    case NGTCP2_ERR_RECV_VERSION_NEGOTIATION:
      return enter(Phase::Finished, now,
                   {.code = NGTCP2_VERSION_NEGOTIATION_ERROR, .by_peer = true, .reason = text});
    case NGTCP2_ERR_CRYPTO:
      return send_close(crypto_error(ngtcp2_conn_get_tls_alert(conn.get())), false,
                        tls ? tls->failure() : text, now);
    default:
      return send_close(ngtcp2_err_infer_quic_transport_error_code(rv), false, text, now);
  }
}

void Connection::Impl::close(std::uint64_t code, std::string_view reason, Instant now) {
  if (phase == Phase::Open) send_close(code, true, reason, now);
}

void Connection::Impl::refuse_alpn(Instant now) {
  send_close(crypto_error(kNoApplicationProtocol), false, "no application protocol in common", now);
}

void Connection::Impl::send_close(std::uint64_t code, bool application, std::string_view reason,
                                  Instant now) {
  if (phase != Phase::Open) return;
  // RFC 9000 §19.19 has no limit; the frame has to fit one packet of 1200 bytes.
  const Bytes shown = as_bytes(reason.substr(0, kReasonBytesMax));
  ngtcp2_ccerr error;
  ngtcp2_ccerr_default(&error);
  if (application) {
    ngtcp2_ccerr_set_application_error(&error, code, shown.data(), shown.size());
  } else {
    ngtcp2_ccerr_set_transport_error(&error, code, shown.data(), shown.size());
  }
  close_packet.resize(kPacketBytesMax);
  ngtcp2_path_storage path;
  ngtcp2_path_storage_zero(&path);
  ngtcp2_pkt_info info{};
  const ngtcp2_ssize n = ngtcp2_conn_write_connection_close(
      conn.get(), &path.path, &info, close_packet.data(), close_packet.size(), &error,
      timestamp(now));
  close_packet.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  close_due = n > 0;
  close_path = current_path(conn.get());
  // Without keys, or without bytes that the anti-amplification limit allows, there is nothing to
  // repeat.
  enter(n > 0 ? Phase::Closing : Phase::Finished, now,
        {.code = code, .application = application, .reason = std::string(reason)});
}

void Connection::Impl::enter(Phase next, Instant now, Closed why) {
  phase = next;
  // RFC 9000 §10.2: at least three times the probe timeout.
  const auto linger = Duration(static_cast<std::int64_t>(3 * ngtcp2_conn_get_pto(conn.get())));
  finished_at = next == Phase::Finished ? now : now + linger;
  streams.forget_sources();
  give_back(datagrams);
  held.reset();
  tell(std::move(why));
}

void Connection::Impl::fed_while_closing() {
  if (phase != Phase::Closing) return;
  // RFC 9000 §10.2.1: limit the rate; here the 1st, 2nd, 4th, 8th, ... datagram is answered.
  if (std::has_single_bit(++fed_closing)) close_due = true;
}

Outgoing Connection::Impl::drain_close(MutableBytes buffer) {
  if (phase != Phase::Closing || !close_due || buffer.size() < close_packet.size()) return {};
  close_due = false;
  std::copy(close_packet.begin(), close_packet.end(), buffer.begin());
  bytes_sent += close_packet.size();
  return {close_path, buffer.first(close_packet.size()), close_packet.size(), 0};
}

}  // namespace adit::quic
