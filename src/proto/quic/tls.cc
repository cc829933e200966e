// The TLS half of a connection: wolfSSL drives the handshake, ngtcp2 carries its bytes (RFC 9001).
#include <ngtcp2/ngtcp2.h>
#include <ngtcp2/ngtcp2_crypto.h>
#include <ngtcp2/ngtcp2_crypto_wolfssl.h>

#include "crypto/random.h"
#include "crypto/tls_native.h"
#include "proto/quic/impl.h"

namespace adit::quic {
namespace {

// RFC 9001 §8.2. wolfSSL's own name for it stands for something its headers do not declare.
constexpr int kTransportParametersExtension = 0x39;

ngtcp2_conn* connection_of(ngtcp2_crypto_conn_ref* ref) {
  return *static_cast<ngtcp2_conn* const*>(ref->user_data);
}

}  // namespace

struct QuicTls::Ref {
  ngtcp2_crypto_conn_ref ref;
};

QuicTls::QuicTls() = default;
QuicTls::~QuicTls() = default;

Status QuicTls::prepare(const crypto::TlsContext& context) {
  // Sessions that only ask what the context can do; a client's wants some host to check.
  constexpr std::string_view kAnyHost = "probe.invalid";
  const std::string_view host = context.is_server() ? std::string_view() : kAnyHost;
  auto probe = context.new_session(host);
  if (!probe) return std::move(probe).error();
  if (wolfSSL_is_quic(probe->ssl.get())) return {};
  if (context.is_server()) {
    ngtcp2_crypto_wolfssl_configure_server_context(context.native());
  } else {
    ngtcp2_crypto_wolfssl_configure_client_context(context.native());
  }
  probe = context.new_session(host);
  if (!probe) return std::move(probe).error();
  // The library's functions have no result to look at.
  if (!wolfSSL_is_quic(probe->ssl.get())) return Error{EINVAL, "the TLS context cannot serve QUIC"};
  return {};
}

Result<std::unique_ptr<QuicTls>> QuicTls::make(const crypto::TlsContext& context,
                                               const std::string& host, ngtcp2_conn* const* conn) {
  auto session = context.new_session(host);
  if (!session) return std::move(session).error();
  if (!wolfSSL_is_quic(session->ssl.get())) {
    if (Status done = prepare(context); !done) return std::move(done).error();
    session = context.new_session(host);
    if (!session) return std::move(session).error();
  }
  std::unique_ptr<QuicTls> tls(new QuicTls);
  tls->ref_ = std::make_unique<Ref>();
  tls->ref_->ref = {connection_of, const_cast<ngtcp2_conn**>(conn)};
  tls->session_ = std::move(*session);
  WOLFSSL* ssl = tls->native();
  wolfSSL_set_app_data(ssl, &tls->ref_->ref);
  wolfSSL_set_quic_transport_version(ssl, kTransportParametersExtension);
  // The exporter (RFC 8446 §7.5) needs what is freed at the end of the handshake otherwise.
  wolfSSL_KeepArrays(ssl);
  if (context.is_server()) {
    // A resumed session would come without the client's certificate, which is its identity here.
    wolfSSL_no_ticket_TLSv13(ssl);
    wolfSSL_set_accept_state(ssl);
  } else {
    wolfSSL_set_connect_state(ssl);
  }
  return tls;
}

std::string QuicTls::failure() const {
  return crypto::tls_error(session_, wolfSSL_get_error(native(), -1)).what;
}

Randomness::Randomness(std::uint64_t seed) {
  if (seed != 0) prng_.emplace(seed);
}

void Randomness::fill(MutableBytes out) {
  if (!prng_) return crypto::random_bytes(out);
  for (std::uint8_t& byte : out) byte = static_cast<std::uint8_t>(prng_->next() >> 32);
}

}  // namespace adit::quic
