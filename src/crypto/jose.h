// What ACME needs of JOSE: a public key as JSON, its thumbprint, and signatures over JSON (RFC
// 7515, 7517, 7638). Only ES256 and, for external account binding, HS256.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "crypto/key.h"

namespace adit::crypto {

// RFC 7517 of the public half, members in the order that RFC 7638 §3.2 wants. EINVAL for a key that
// is not P-256.
Result<std::string> jwk(const PrivateKey& key);

// RFC 7638: base64url of SHA-256 over the above.
Result<std::string> jwk_thumbprint(const PrivateKey& key);

// RFC 7515 §7.2.2, the flattened JSON form. `protected_header` is JSON text and has to name the
// algorithm; it and `payload` are encoded here.
Result<std::string> sign_jws(const PrivateKey& key, std::string_view protected_header,
                             std::string_view payload);
std::string hmac_jws(Bytes mac_key, std::string_view protected_header, std::string_view payload);

}  // namespace adit::crypto
