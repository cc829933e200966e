// The two structures that issuing a certificate needs from its key: the request for it, and the
// certificate that answers a TLS-ALPN-01 challenge.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "crypto/digest.h"
#include "crypto/key.h"

namespace adit::crypto {

// PKCS#10 (RFC 2986), DER: an empty subject (a common name holds 64 characters only), all names as
// subjectAltName, signed with ECDSA and SHA-256. EINVAL for a key that is not P-256, and for a name
// that cannot stand in a certificate.
Result<ByteVector> certificate_request(const PrivateKey& key,
                                       const std::vector<std::string>& names);

// RFC 8737 §3: self-signed, `name` as the only subjectAltName, and a critical acmeIdentifier with
// SHA-256 of the key authorization. PEM; valid for a week around `now`, since nobody looks.
Result<std::string> acme_challenge_certificate(const PrivateKey& key, const std::string& name,
                                               const Sha256Digest& key_authorization, WallTime now);

}  // namespace adit::crypto
