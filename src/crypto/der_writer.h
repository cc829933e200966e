// DER (X.690) for the few structures that we make. Inside this room only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/key.h"

namespace adit::crypto {

// X.690 §8.1.2
inline constexpr std::uint8_t kDerBoolean = 0x01, kDerInteger = 0x02, kDerBitString = 0x03,
                              kDerOctetString = 0x04, kDerObjectId = 0x06, kDerUtf8String = 0x0c,
                              kDerSequence = 0x30, kDerSet = 0x31;

// Appends an element; `body` is below 64 KiB.
void der_put(ByteVector& out, std::uint8_t tag, Bytes body);
ByteVector der(std::uint8_t tag, Bytes body);
ByteVector der(std::uint8_t tag, std::initializer_list<Bytes> parts);

// GeneralNames of RFC 5280 §4.2.1.6: dNSName [2], iPAddress [7] (4 or 16 bytes). An error names
// what cannot stand in a certificate.
Result<ByteVector> der_general_names(const std::vector<std::string>& names);

// RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from then on.
Result<ByteVector> der_time(std::int64_t unix_seconds);

// X.690 §8.3, of an unsigned number, big-endian and not empty.
ByteVector der_integer(Bytes number);
// Name with a common name alone; at most 64 characters.
ByteVector der_common_name(std::string_view name);
// AlgorithmIdentifier of ECDSA with SHA-256 (RFC 5758 §3.2).
ByteVector der_ecdsa_sha256();
// `body`, that algorithm, and the signature over the body: alike in requests and certificates.
// EINVAL for a key that is not P-256.
Result<ByteVector> der_signed(const PrivateKey& key, Bytes body);

}  // namespace adit::crypto
