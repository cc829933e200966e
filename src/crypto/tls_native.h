// What can be asked of the library's session object itself: for TlsSession, and for QUIC, which
// drives the object in its own way.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/tls_context.h"

namespace adit::crypto {

// The error `code` of a call on `session`, in words: the certificate check's, or that of a received
// alert, or the library's own. Code is EKEYREJECTED where the peer's certificate was refused, else
// EPROTO.
Error tls_error(const NativeTls& session, int code);

// The protocol chosen, empty if none was. After the handshake.
std::string negotiated_alpn(WOLFSSL* ssl);

// SubjectPublicKeyInfo of the peer's leaf certificate, empty if it showed none. Meaningful only
// after the handshake: before, its signature is not checked.
ByteVector peer_spki_der(WOLFSSL* ssl);
// The whole leaf certificate, likewise.
ByteVector peer_certificate_der(WOLFSSL* ssl);

// Last alert of each direction (RFC 8446 §6; 0 is close_notify), if any.
std::optional<std::uint8_t> alert_sent(WOLFSSL* ssl);
std::optional<std::uint8_t> alert_received(WOLFSSL* ssl);
// "handshake_failure" for 40; "alert 200" for one unknown to RFC 8446.
std::string alert_name(std::uint8_t alert);

// RFC 5705, RFC 8446 §7.5. After the handshake. No context and an empty one differ under TLS 1.2
// only.
Result<ByteVector> export_keying_material(WOLFSSL* ssl, std::string_view label, Bytes context,
                                          std::size_t length);

}  // namespace adit::crypto
