#include "crypto/jose.h"

#include <cerrno>

#include "crypto/digest.h"

namespace adit::crypto {
namespace {

// A P-256 key's SubjectPublicKeyInfo ends with the uncompressed point (RFC 5480 §2.2): 4, X, Y.
constexpr std::size_t kCoordinateBytes = 32;
constexpr std::size_t kPointBytes = 1 + 2 * kCoordinateBytes;

// base64url never needs escaping in JSON.
std::string flattened(std::string_view header, std::string_view payload, Bytes signature) {
  std::string out = R"({"protected":")";
  out += header;
  out += R"(","payload":")";
  out += payload;
  return out + R"(","signature":")" + base64url_encode(signature) + "\"}";
}

}  // namespace

Result<std::string> jwk(const PrivateKey& key) {
  const Bytes spki = key.public_key_spki_der();
  if (key.kind() != KeyKind::EcdsaP256 || spki.size() < kPointBytes)
    return Error{EINVAL, "an ACME account needs an ECDSA P-256 key"};
  const Bytes point = spki.last(kPointBytes);
  return R"({"crv":"P-256","kty":"EC","x":")" +
         base64url_encode(point.subspan(1, kCoordinateBytes)) + R"(","y":")" +
         base64url_encode(point.last(kCoordinateBytes)) + "\"}";
}

Result<std::string> jwk_thumbprint(const PrivateKey& key) {
  auto text = jwk(key);
  if (!text) return text;
  return base64url_encode(sha256(as_bytes(*text)));
}

Result<std::string> sign_jws(const PrivateKey& key, std::string_view protected_header,
                             std::string_view payload) {
  const std::string header = base64url_encode(as_bytes(protected_header));
  const std::string body = base64url_encode(as_bytes(payload));
  auto signature = key.sign_es256(as_bytes(header + "." + body));
  if (!signature) return std::move(signature).error();
  return flattened(header, body, *signature);
}

std::string hmac_jws(Bytes mac_key, std::string_view protected_header, std::string_view payload) {
  const std::string header = base64url_encode(as_bytes(protected_header));
  const std::string body = base64url_encode(as_bytes(payload));
  return flattened(header, body, hmac_sha256(mac_key, as_bytes(header + "." + body)));
}

}  // namespace adit::crypto
