// Digests, and the text forms in which digests and keys are shown.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace adit::crypto {

using Sha256Digest = std::array<std::uint8_t, 32>;

Sha256Digest sha256(Bytes data);
// For the opening handshake of WebSocket (RFC 6455 §4.2.2), where nothing rests on its strength.
std::array<std::uint8_t, 20> sha1(Bytes data);
// RFC 2104; any key length, also none.
Sha256Digest hmac_sha256(Bytes key, Bytes data);

// Time depends on the lengths only. Different lengths are unequal.
bool equal_constant_time(Bytes a, Bytes b);

// RFC 4648 §6 in lower case, without padding: for names, where case is lost.
std::string base32_lower(Bytes data);

// RFC 4648 §4, with padding. Decoding is strict: no white space, padding required, unused bits
// zero.
std::string base64_encode(Bytes data);
Result<ByteVector> base64_decode(std::string_view text);
// RFC 4648 §5, without padding in both directions (the form of JOSE).
std::string base64url_encode(Bytes data);
Result<ByteVector> base64url_decode(std::string_view text);

std::string hex_encode(Bytes data);  // lower case
Result<ByteVector> hex_decode(std::string_view text);  // either case

}  // namespace adit::crypto
