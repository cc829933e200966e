// Private keys and the names made from public ones. An agent is its key: the id is a digest of the
// public half, so it cannot be chosen and need not be registered.
#pragma once

#include <array>
#include <compare>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/result.h"

namespace adit::crypto {

// The first 26 characters (130 bits) of base32, lower case, of SHA-256 over the DER
// SubjectPublicKeyInfo. Fits a DNS label.
struct KeyId {
  static constexpr std::size_t kLength = 26;

  std::string text;

  auto operator<=>(const KeyId&) const = default;
  // Exactly 26 characters of a-z and 2-7.
  static Result<KeyId> parse(std::string_view text);
};

KeyId key_id_of_spki(Bytes spki_der);

// "sha256/" and base64 of SHA-256 over the SubjectPublicKeyInfo, as curl's --pinnedpubkey and RFC
// 7469 write it (curl has two slashes).
std::string spki_pin(Bytes spki_der);

enum class KeyKind { EcdsaP256, Ecdsa, Rsa, Ed25519 };  // Ecdsa: P-384 or P-521

// Holds the key as DER and wipes it when it goes. Immutable after construction, so it may be read
// from several threads.
class PrivateKey {
 public:
  static PrivateKey generate();  // ECDSA P-256
  // The first private key block of `pem`: PKCS#8 ("PRIVATE KEY"), SEC1 ("EC PRIVATE KEY") or PKCS#1
  // ("RSA PRIVATE KEY"). Other blocks (certificates, EC PARAMETERS) are skipped. Encrypted keys are
  // refused.
  static Result<PrivateKey> from_pem(std::string_view pem);

  PrivateKey(PrivateKey&&) noexcept = default;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  KeyKind kind() const { return kind_; }
  // The caller's copy of the secret: keep it short-lived.
  std::string to_pkcs8_pem() const;
  Bytes pkcs8_der() const { return pkcs8_; }
  const ByteVector& public_key_spki_der() const { return spki_; }
  KeyId id() const { return key_id_of_spki(spki_); }

  // The signature of RFC 7518 §3.4 (ES256): r and s, 32 bytes each. EINVAL for a key that is not
  // P-256.
  Result<std::array<std::uint8_t, 64>> sign_es256(Bytes message) const;

 private:
  PrivateKey(KeyKind kind, ByteVector pkcs8, ByteVector spki)
      : kind_(kind), pkcs8_(std::move(pkcs8)), spki_(std::move(spki)) {}
  friend struct PrivateKeyMaker;

  KeyKind kind_;
  ByteVector pkcs8_;  // PKCS#8 PrivateKeyInfo
  ByteVector spki_;
};

// Overwrites in a way the compiler does not remove.
void wipe(MutableBytes secret);

}  // namespace adit::crypto
