// TLS alerts for connections that end before any TLS state exists: one plaintext record, sent as it
// is (RFC 8446 §5.1, §6).
#pragma once

#include <array>
#include <cstdint>

namespace adit {

// The descriptions that we send (RFC 8446 §6, RFC 7301 §3.2); the value is the byte on the wire.
enum class TlsAlert : std::uint8_t {
  UnexpectedMessage = 10,
  RecordOverflow = 22,
  IllegalParameter = 47,
  AccessDenied = 49,
  DecodeError = 50,
  ProtocolVersion = 70,
  InternalError = 80,
  UserCanceled = 90,
  UnrecognizedName = 112,
  NoApplicationProtocol = 120,
};

// A whole record: content type 21, version 0x0303, level fatal, `description`. All are fatal here,
// user_canceled too: the connection is closed behind it (RFC 8446 §6: the level may be ignored).
std::array<std::uint8_t, 7> fatal_alert(std::uint8_t description);
inline std::array<std::uint8_t, 7> fatal_alert(TlsAlert description) {
  return fatal_alert(static_cast<std::uint8_t>(description));
}

}  // namespace adit
