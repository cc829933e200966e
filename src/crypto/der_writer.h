// DER (X.690) for the few structures that we make. Inside this room only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

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

}  // namespace adit::crypto
