#include "crypto/key.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/memory.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "base/check.h"
#include "crypto/digest.h"
#include "crypto/init.h"
#include "crypto/pem.h"
#include "crypto/rng.h"

namespace adit::crypto {
namespace {

// Values around the library's key structures, which live in place.
struct EccKey {
  EccKey() { CHECK(wc_ecc_init(&key) == 0); }
  ~EccKey() { wc_ecc_free(&key); }
  EccKey(const EccKey&) = delete;
  EccKey& operator=(const EccKey&) = delete;
  ecc_key key;
};
struct RsaKeyValue {
  RsaKeyValue() { CHECK(wc_InitRsaKey(&key, nullptr) == 0); }
  ~RsaKeyValue() { wc_FreeRsaKey(&key); }
  RsaKeyValue(const RsaKeyValue&) = delete;
  RsaKeyValue& operator=(const RsaKeyValue&) = delete;
  RsaKey key;
};
struct EdKey {
  EdKey() { CHECK(wc_ed25519_init(&key) == 0); }
  ~EdKey() { wc_ed25519_free(&key); }
  EdKey(const EdKey&) = delete;
  EdKey& operator=(const EdKey&) = delete;
  ed25519_key key;
};

// An RSA key of 16384 bits is 9 KiB of DER.
constexpr std::size_t kKeyDerBytesMax = 16 * 1024;

word32 size_of(Bytes b) { return static_cast<word32>(b.size()); }

// Runs write(buffer, size) -> length or error into a vector of its own; wipes what it used.
template <class Write>
std::optional<ByteVector> written(Write write) {
  ByteVector buffer(kKeyDerBytesMax);
  const int length = write(buffer.data(), static_cast<word32>(buffer.size()));
  std::optional<ByteVector> out;
  if (length > 0) out.emplace(buffer.begin(), buffer.begin() + length);
  wipe(buffer);
  return out;
}

std::optional<ByteVector> ecc_spki(ecc_key& key) {
  return written(
      [&](byte* out, word32 size) { return wc_EccPublicKeyToDer(&key, out, size, 1); });
}

std::optional<ByteVector> ecc_pkcs8(ecc_key& key) {
  return written([&](byte* out, word32 size) { return wc_EccKeyToPKCS8(&key, out, &size); });
}

std::optional<ByteVector> rsa_pkcs8(RsaKey& key) {
  auto bare =
      written([&](byte* out, word32 size) { return wc_RsaKeyToDer(&key, out, size); });
  if (!bare) return std::nullopt;
  auto whole = written([&](byte* out, word32 size) {
    return wc_CreatePKCS8Key(out, &size, bare->data(), size_of(*bare), RSAk, nullptr, 0);
  });
  wipe(*bare);
  return whole;
}

}  // namespace

struct PrivateKeyMaker {
  static Result<PrivateKey> make(KeyKind kind, std::optional<ByteVector> pkcs8,
                                 std::optional<ByteVector> spki) {
    if (!pkcs8 || !spki) return Error{EINVAL, "a private key that cannot be encoded"};
    return PrivateKey(kind, std::move(*pkcs8), std::move(*spki));
  }

  static Result<PrivateKey> from_ecc(Bytes der) {
    EccKey ecc;
    word32 at = 0;
    if (wc_EccPrivateKeyDecode(der.data(), &at, &ecc.key, size_of(der)) != 0) {
      return Error{EINVAL, "not an elliptic curve key"};
    }
    // The public half in the file may be absent, or wrong: an id must be that of the secret.
    if (wc_ecc_make_pub(&ecc.key, nullptr) != 0 || wc_ecc_check_key(&ecc.key) != 0) {
      return Error{EINVAL, "an elliptic curve key that is not on its curve"};
    }
    const bool p256 = wc_ecc_get_curve_id(ecc.key.idx) == ECC_SECP256R1;
    return make(p256 ? KeyKind::EcdsaP256 : KeyKind::Ecdsa, ecc_pkcs8(ecc.key),
                ecc_spki(ecc.key));
  }

  static Result<PrivateKey> from_rsa(Bytes der) {
    RsaKeyValue rsa;
    word32 at = 0;
    if (wc_RsaPrivateKeyDecode(der.data(), &at, &rsa.key, size_of(der)) != 0) {
      return Error{EINVAL, "not an RSA key"};
    }
    return make(KeyKind::Rsa, rsa_pkcs8(rsa.key), written([&](byte* out, word32 size) {
                  return wc_RsaKeyToPublicDer(&rsa.key, out, size);
                }));
  }

  static Result<PrivateKey> from_ed25519(Bytes der) {
    EdKey ed;
    word32 at = 0;
    if (wc_Ed25519PrivateKeyDecode(der.data(), &at, &ed.key, size_of(der)) != 0) {
      return Error{EINVAL, "not an Ed25519 key"};
    }
    std::array<byte, ED25519_PUB_KEY_SIZE> public_half;
    if (wc_ed25519_make_public(&ed.key, public_half.data(), public_half.size()) != 0 ||
        wc_ed25519_import_public(public_half.data(), public_half.size(), &ed.key) != 0) {
      return Error{EINVAL, "not an Ed25519 key"};
    }
    return make(KeyKind::Ed25519, ByteVector(der.begin(), der.end()),
                written([&](byte* out, word32 size) {
                  return wc_Ed25519PublicKeyToDer(&ed.key, out, size, 1);
                }));
  }

  static Result<PrivateKey> from_der(std::string_view label, Bytes der) {
    if (label == "RSA PRIVATE KEY") return from_rsa(der);
    if (label == "EC PRIVATE KEY") return from_ecc(der);
    using Try = Result<PrivateKey> (*)(Bytes);
    for (Try attempt : {Try{from_ecc}, Try{from_rsa}, Try{from_ed25519}}) {
      if (auto key = attempt(der)) return key;
    }
    return Error{EINVAL,
                 "a private key of an unknown kind (ECDSA P-256, P-384, P-521, RSA and Ed25519 "
                 "are known)"};
  }
};

PrivateKey PrivateKey::generate() {
  init();
  const Rng rng = make_rng();
  EccKey ecc;
  CHECK(wc_ecc_make_key_ex(rng.get(), 32, &ecc.key, ECC_SECP256R1) == 0);
  auto key = PrivateKeyMaker::make(KeyKind::EcdsaP256, ecc_pkcs8(ecc.key), ecc_spki(ecc.key));
  CHECK(key);
  return std::move(*key);
}

Result<PrivateKey> PrivateKey::from_pem(std::string_view pem) {
  init();
  auto blocks = parse_pem(pem);
  if (!blocks) return std::move(blocks).error();
  std::optional<Result<PrivateKey>> key;
  for (PemBlock& block : *blocks) {
    if (!key && block.label == "ENCRYPTED PRIVATE KEY") {
      key = Error{EINVAL, "the private key is encrypted; decrypt it first: openssl pkey"};
    } else if (!key && block.label.ends_with("PRIVATE KEY")) {
      key = PrivateKeyMaker::from_der(block.label, block.der);
    }
    wipe(block.der);
  }
  if (!key) return Error{EINVAL, "no PEM block with a private key"};
  return std::move(*key);
}

PrivateKey& PrivateKey::operator=(PrivateKey&& o) noexcept {
  std::swap(kind_, o.kind_);
  std::swap(pkcs8_, o.pkcs8_);
  std::swap(spki_, o.spki_);
  return *this;
}

PrivateKey::~PrivateKey() { wipe(pkcs8_); }

std::string PrivateKey::to_pkcs8_pem() const { return to_pem("PRIVATE KEY", pkcs8_); }

Result<std::array<std::uint8_t, 64>> PrivateKey::sign_es256(Bytes message) const {
  if (kind_ != KeyKind::EcdsaP256) return Error{EINVAL, "ES256 needs an ECDSA P-256 key"};
  EccKey ecc;
  word32 at = 0;
  CHECK(wc_EccPrivateKeyDecode(pkcs8_.data(), &at, &ecc.key, size_of(pkcs8_)) == 0);
  const Rng rng = make_rng();
  wc_ecc_set_rng(&ecc.key, rng.get());  // blinding
  const Sha256Digest digest = sha256(message);
  std::array<byte, ECC_MAX_SIG_SIZE> der;
  word32 der_size = der.size();
  CHECK(wc_ecc_sign_hash(digest.data(), digest.size(), der.data(), &der_size, rng.get(),
                         &ecc.key) == 0);
  std::array<byte, 32> r, s;
  word32 r_size = r.size(), s_size = s.size();
  CHECK(wc_ecc_sig_to_rs(der.data(), der_size, r.data(), &r_size, s.data(), &s_size) == 0);
  // Without leading zeros there, of fixed width here.
  std::array<std::uint8_t, 64> out{};
  std::copy_n(r.begin(), r_size, out.begin() + 32 - r_size);
  std::copy_n(s.begin(), s_size, out.begin() + 64 - s_size);
  return out;
}

Result<KeyId> KeyId::parse(std::string_view text) {
  const auto in_alphabet = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '2' && c <= '7'); };
  if (text.size() != kLength || !std::all_of(text.begin(), text.end(), in_alphabet)) {
    return Error{EINVAL, "\"" + std::string(text) +
                             "\" is not a key id (26 characters, a to z in lower case and 2 to 7)"};
  }
  return KeyId{std::string(text)};
}

KeyId key_id_of_spki(Bytes spki_der) {
  return KeyId{base32_lower(sha256(spki_der)).substr(0, KeyId::kLength)};
}

std::string spki_pin(Bytes spki_der) { return "sha256/" + base64_encode(sha256(spki_der)); }

void wipe(MutableBytes secret) {
  volatile std::uint8_t* at = secret.data();
  for (std::size_t i = 0; i < secret.size(); ++i) at[i] = 0;
}

}  // namespace adit::crypto
