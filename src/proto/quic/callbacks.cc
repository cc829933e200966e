// The library's callbacks. They only record (principles: record inside, act outside); what has to
// call the library again, or the owner, happens after the library has returned.
#include "proto/quic/callbacks.h"

#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <wolfssl/options.h>
#include <wolfssl/openssl/evp.h>

#include <array>
#include <utility>

#include "crypto/tls_native.h"
#include "proto/quic/frame_scan.h"
#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

using Impl = Connection::Impl;

// The decrypt callback has neither connection nor user data, so feed() says whose packets are
// decrypted. Set only while one connection's datagram is read; never seen by another thread.
struct Scan {
  std::vector<StreamStopped>* stopped = nullptr;
  bool refuse_retirement = false;
};
thread_local Scan scan;

constexpr std::size_t kTagBytes = 16;  // of every AEAD of TLS 1.3 that QUIC may use (RFC 9001 §5.3)

// wolfSSL 5.7.2 decrypts ChaCha20-Poly1305 through its EVP interface without comparing the tag: it
// only computes it, in the place where the packet's was. A forged packet would pass. So it is
// compared here, with every cipher: where the library has compared it already, it is the same.
bool tag_is_right(const ngtcp2_crypto_aead_ctx& context, Bytes packet) {
  std::array<std::uint8_t, kTagBytes> computed{};
  auto* evp = static_cast<WOLFSSL_EVP_CIPHER_CTX*>(context.native_handle);
  if (wolfSSL_EVP_CIPHER_CTX_ctrl(evp, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kTagBytes),
                                  computed.data()) != WOLFSSL_SUCCESS)
    return false;
  const Bytes sent = packet.last(kTagBytes);
  unsigned differ = 0;
  for (std::size_t i = 0; i < kTagBytes; ++i) differ |= unsigned(computed[i] ^ sent[i]);
  return differ == 0;
}

int on_decrypt(std::uint8_t* out, const ngtcp2_crypto_aead* aead,
               const ngtcp2_crypto_aead_ctx* context, const std::uint8_t* in, std::size_t size,
               const std::uint8_t* nonce, std::size_t nonce_size, const std::uint8_t* header,
               std::size_t header_size) {
  const int rv = ngtcp2_crypto_decrypt_cb(out, aead, context, in, size, nonce, nonce_size, header,
                                          header_size);
  if (rv == 0 && (size < kTagBytes || !tag_is_right(*context, {in, size})))
    return NGTCP2_ERR_DECRYPT;
  if (rv != 0 || scan.stopped == nullptr || header_size == 0) return rv;
  // RFC 9000 §17.3, §12.4: only 1-RTT packets have a short header, and only they carry these
  // frames.
  if ((header[0] & 0x80) != 0 || size <= aead->max_overhead) return rv;
  FrameFindings found;
  scan_frames({out, size - aead->max_overhead}, found);
  if (found.retires_ids && scan.refuse_retirement) return NGTCP2_ERR_DECRYPT;
  scan.stopped->insert(scan.stopped->end(), found.stopped.begin(), found.stopped.end());
  return rv;
}

constexpr std::uint8_t kUnexpectedMessage = 10;  // RFC 8446 §6

int on_crypto_data(ngtcp2_conn* conn, ngtcp2_encryption_level level, std::uint64_t offset,
                   const std::uint8_t* data, std::size_t size, void* impl) {
  using Level = CryptoGuard::Level;
  const Level guarded = level == NGTCP2_ENCRYPTION_LEVEL_INITIAL     ? Level::Initial
                        : level == NGTCP2_ENCRYPTION_LEVEL_HANDSHAKE ? Level::Handshake
                                                                     : Level::Application;
  if (!static_cast<Impl*>(impl)->crypto_guard.allows(guarded, {data, size})) {
    ngtcp2_conn_set_tls_alert(conn, kUnexpectedMessage);
    return NGTCP2_ERR_CRYPTO;
  }
  // What is left for a client behind the handshake are tickets, which it would not use.
  if (guarded == Level::Application) return 0;
  // Not to be seen: the keys of the other levels are gone by then (RFC 9001 §4.9).
  if (static_cast<Impl*>(impl)->tls == nullptr) return 0;
  return ngtcp2_crypto_recv_crypto_data_cb(conn, level, offset, data, size, impl);
}

int on_handshake_completed(ngtcp2_conn*, void* impl) {
  static_cast<Impl*>(impl)->on_handshake_done();
  return 0;
}

int on_stream_open(ngtcp2_conn*, std::int64_t id, void* impl) {
  static_cast<Impl*>(impl)->on_stream_open(id);
  return 0;
}

int on_stream_data(ngtcp2_conn*, std::uint32_t flags, std::int64_t id, std::uint64_t,
                   const std::uint8_t* data, std::size_t size, void* impl, void*) {
  static_cast<Impl*>(impl)->on_stream_data(id, {data, size},
                                           (flags & NGTCP2_STREAM_DATA_FLAG_FIN) != 0);
  return 0;
}

int on_acked(ngtcp2_conn*, std::int64_t id, std::uint64_t offset, std::uint64_t size, void* impl,
             void*) {
  auto& connection = *static_cast<Impl*>(impl);
  connection.black_hole.progressed();
  connection.acknowledged = true;
  Streams& streams = connection.streams;
  if (Stream* s = streams.find(id)) streams.record_acked(*s, offset + size);
  return 0;
}

int on_stream_reset(ngtcp2_conn*, std::int64_t id, std::uint64_t, std::uint64_t code, void* impl,
                    void*) {
  static_cast<Impl*>(impl)->on_stream_reset(id, code);
  return 0;
}

int on_stream_close(ngtcp2_conn* conn, std::uint32_t, std::int64_t id, std::uint64_t, void* impl,
                    void*) {
  static_cast<Impl*>(impl)->on_stream_closed(id, ngtcp2_conn_get_stream_loss_count(conn, id));
  return 0;
}

int on_max_stream_data(ngtcp2_conn*, std::int64_t id, std::uint64_t, void* impl, void*) {
  Streams& streams = static_cast<Impl*>(impl)->streams;
  Stream* s = streams.find(id);
  if (s == nullptr) return 0;
  s->blocked = false;
  streams.make_ready(*s);
  return 0;
}

int on_datagram(ngtcp2_conn*, std::uint32_t, const std::uint8_t* data, std::size_t size,
                void* impl) {
  static_cast<Impl*>(impl)->on_datagram({data, size});
  return 0;
}

int on_stateless_reset(ngtcp2_conn*, const ngtcp2_pkt_stateless_reset*, void* impl) {
  static_cast<Impl*>(impl)->stateless_reset = true;
  return 0;
}

int on_new_connection_id(ngtcp2_conn*, ngtcp2_cid* id, std::uint8_t* token, std::size_t,
                         void* user) {
  auto* impl = static_cast<Impl*>(user);
  const ConnectionId chosen = impl->new_id();
  set_cid(*id, chosen.view());
  const auto& secret = impl->settings.reset_secret;
  if (ngtcp2_crypto_generate_stateless_reset_token(token, secret.data(), secret.size(), id) != 0)
    return NGTCP2_ERR_CALLBACK_FAILURE;
  impl->id_changes.push_back({chosen, true});
  return 0;
}

int on_remove_connection_id(ngtcp2_conn*, const ngtcp2_cid* id, void* impl) {
  static_cast<Impl*>(impl)->id_changes.push_back({connection_id(*id), false});
  return 0;
}

int on_path_validation(ngtcp2_conn*, std::uint32_t, const ngtcp2_path*, const ngtcp2_path*,
                       ngtcp2_path_validation_result result, void* impl) {
  if (result == NGTCP2_PATH_VALIDATION_RESULT_SUCCESS)
    static_cast<Impl*>(impl)->path_validated = true;
  return 0;
}

int on_destination_id(ngtcp2_conn*, ngtcp2_connection_id_status_type, std::uint64_t,
                      const ngtcp2_cid*, const std::uint8_t*, void* impl) {
  // The first time: the library has left the handshake.
  static_cast<Impl*>(impl)->settled = true;
  return 0;
}

void on_rand(std::uint8_t* out, std::size_t size, const ngtcp2_rand_ctx* context) {
  static_cast<Randomness*>(context->native_handle)->fill({out, size});
}

ngtcp2_callbacks make_callbacks(bool server) {
  ngtcp2_callbacks c{};
  if (server) {
    c.recv_client_initial = ngtcp2_crypto_recv_client_initial_cb;
  } else {
    c.client_initial = ngtcp2_crypto_client_initial_cb;
    c.recv_retry = ngtcp2_crypto_recv_retry_cb;
  }
  c.recv_crypto_data = on_crypto_data;
  c.encrypt = ngtcp2_crypto_encrypt_cb;
  c.decrypt = on_decrypt;
  c.hp_mask = ngtcp2_crypto_hp_mask_cb;
  c.update_key = ngtcp2_crypto_update_key_cb;
  c.delete_crypto_aead_ctx = ngtcp2_crypto_delete_crypto_aead_ctx_cb;
  c.delete_crypto_cipher_ctx = ngtcp2_crypto_delete_crypto_cipher_ctx_cb;
  c.get_path_challenge_data = ngtcp2_crypto_get_path_challenge_data_cb;
  c.version_negotiation = ngtcp2_crypto_version_negotiation_cb;
  c.handshake_completed = on_handshake_completed;
  c.stream_open = on_stream_open;
  c.recv_stream_data = on_stream_data;
  c.acked_stream_data_offset = on_acked;
  c.stream_reset = on_stream_reset;
  c.stream_close = on_stream_close;
  c.extend_max_stream_data = on_max_stream_data;
  c.recv_datagram = on_datagram;
  c.recv_stateless_reset = on_stateless_reset;
  c.get_new_connection_id = on_new_connection_id;
  c.remove_connection_id = on_remove_connection_id;
  c.path_validation = on_path_validation;
  c.dcid_status = on_destination_id;
  c.rand = on_rand;
  return c;
}

}  // namespace

ScanScope::ScanScope(std::vector<StreamStopped>& stopped, bool refuse_retirement) {
  scan = {&stopped, refuse_retirement};
}
ScanScope::~ScanScope() { scan = {}; }

const ngtcp2_callbacks& library_callbacks(bool server) {
  static const ngtcp2_callbacks for_server = make_callbacks(true);
  static const ngtcp2_callbacks for_client = make_callbacks(false);
  return server ? for_server : for_client;
}

void Connection::Impl::on_handshake_done() {
  // RFC 9001 §8.1: without an application protocol in common there is no connection. The TLS
  // library lets a peer pass that offers none.
  bad_alpn = crypto::negotiated_alpn(tls->native()).empty();
  if (bad_alpn) return;
  handshake_done = true;
  tell(HandshakeDone{});
}

void Connection::Impl::on_stream_open(QuicStream id) {
  streams.add(id);
  tell(StreamOpened{id});
}

void Connection::Impl::on_stream_data(QuicStream id, Bytes bytes, bool fin) {
  Stream* s = streams.find(id);
  if (s == nullptr || s->discarding) {
    credit_due += bytes.size();
    return;
  }
  s->received.append(bytes);
  s->finished |= fin;
  if (std::exchange(s->readable_told, true)) return;
  tell(StreamReadable{id});
}

void Connection::Impl::on_stream_reset(QuicStream id, std::uint64_t code) {
  Stream* s = streams.find(id);
  if (s == nullptr || std::exchange(s->reset_by_peer, true)) return;
  drop_received(*s);
  tell(StreamReset{id, code});
}

void Connection::Impl::on_stream_closed(QuicStream id, std::size_t losses) {
  packets_lost += losses;
  Stream* s = streams.find(id);
  if (s == nullptr) return;
  streams.record_closed(*s);
  tell(StreamClosed{id});
}

void Connection::Impl::on_datagram(Bytes bytes) {
  tell(DatagramReceived{ByteVector(bytes.begin(), bytes.end())});
}

}  // namespace adit::quic
