#include "crypto/tls_native.h"

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <array>
#include <cerrno>
#include <memory>

#include "crypto/certificate.h"

namespace adit::crypto {
namespace {

struct X509Free {
  void operator()(WOLFSSL_X509* certificate) const { wolfSSL_X509_free(certificate); }
};

constexpr std::size_t kExportBytesMax = 255 * 32;  // RFC 5869 §2.3

struct AlertText {
  std::uint8_t alert;
  std::string_view name;
};

// RFC 8446 §6, with those of TLS 1.2 (RFC 5246 §7.2) that are still met.
constexpr auto kAlerts = std::to_array<AlertText>({
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {22, "record_overflow"},
    {40, "handshake_failure"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
});

WOLFSSL_ALERT_HISTORY alerts(WOLFSSL* ssl) {
  WOLFSSL_ALERT_HISTORY history{{-1, -1}, {-1, -1}};
  wolfSSL_get_alert_history(ssl, &history);
  return history;
}

std::optional<std::uint8_t> alert_of(const WOLFSSL_ALERT& alert) {
  if (alert.code < 0) return std::nullopt;
  return static_cast<std::uint8_t>(alert.code);
}

std::string library_text(int code) {
  const char* text =
      wolfSSL_ERR_reason_error_string(static_cast<unsigned long>(static_cast<long>(code)));
  return text != nullptr && *text != '\0' ? text : "error " + std::to_string(code);
}

}  // namespace

Error tls_error(const NativeTls& session, int code) {
  if (session.check != nullptr && !session.check->problem.empty()) {
    return Error{EKEYREJECTED, "the peer's certificate was refused: " + session.check->problem};
  }
  const WOLFSSL_ALERT received = alerts(session.ssl.get()).last_rx;
  if (received.level == alert_fatal) {
    const auto alert = static_cast<std::uint8_t>(received.code);
    return Error{EPROTO, "the peer ended the TLS connection: " + alert_name(alert)};
  }
  switch (code) {
    case SIG_VERIFY_E:
    case VERIFY_SIGN_ERROR:
      return Error{EKEYREJECTED, "the peer does not hold the key of its certificate"};
    default:
      return Error{EPROTO, "TLS: " + library_text(code)};
  }
}

std::string negotiated_alpn(WOLFSSL* ssl) {
  char* name = nullptr;
  unsigned short size = 0;
  if (wolfSSL_ALPN_GetProtocol(ssl, &name, &size) != WOLFSSL_SUCCESS || name == nullptr) return {};
  return std::string(name, size);
}

ByteVector peer_certificate_der(WOLFSSL* ssl) {
  const std::unique_ptr<WOLFSSL_X509, X509Free> certificate(wolfSSL_get_peer_certificate(ssl));
  if (certificate == nullptr) return {};
  int size = 0;
  const unsigned char* der = wolfSSL_X509_get_der(certificate.get(), &size);
  if (der == nullptr || size <= 0) return {};
  return ByteVector(der, der + size);
}

ByteVector peer_spki_der(WOLFSSL* ssl) {
  const auto certificate = Certificate::from_der(peer_certificate_der(ssl));
  if (!certificate) return {};
  const Bytes spki = certificate->spki_der();
  return ByteVector(spki.begin(), spki.end());
}

std::optional<std::uint8_t> alert_sent(WOLFSSL* ssl) { return alert_of(alerts(ssl).last_tx); }

std::optional<std::uint8_t> alert_received(WOLFSSL* ssl) { return alert_of(alerts(ssl).last_rx); }

std::string alert_name(std::uint8_t alert) {
  for (const AlertText& known : kAlerts) {
    if (known.alert == alert) return std::string(known.name);
  }
  return "alert " + std::to_string(alert);
}

Result<ByteVector> export_keying_material(WOLFSSL* ssl, std::string_view label, Bytes context,
                                          std::size_t length) {
  if (length == 0 || length > kExportBytesMax || context.size() > 0xffff) {
    return Error{EINVAL, "keying material of a length that cannot be"};
  }
  ByteVector out(length);
  if (wolfSSL_export_keying_material(ssl, out.data(), length, label.data(), label.size(),
                                     context.data(), context.size(), 1) != WOLFSSL_SUCCESS) {
    return Error{EPROTO, "no keying material (before the handshake, or a reserved label)"};
  }
  return out;
}

}  // namespace adit::crypto
