// The certificate that an agent shows to relays: its key is what counts, and who runs a relay of
// their own may have bytes of their own in it.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "crypto/key.h"

namespace adit::crypto {

inline constexpr std::size_t kIdentityExtensionBytesMax = 4096;

// Self-signed, X.509 v3, `name` as common name and subjectAltName. With an `extension`, a
// non-critical 1.3.6.1.4.1.65535.1 that holds it as an OCTET STRING. PEM. EINVAL for a key that is
// not P-256, E2BIG for an extension over 4 KiB.
Result<std::string> identity_certificate(const PrivateKey& key, const std::string& name,
                                         WallTime not_before, Duration validity,
                                         Bytes extension);

}  // namespace adit::crypto
