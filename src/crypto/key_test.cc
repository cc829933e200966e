#include "crypto/key.h"

#include <gtest/gtest.h>

#include "crypto/digest.h"
#include "crypto/pem.h"
#include "crypto/test_files.h"

namespace adit::crypto {
namespace {

// Made by openssl ecparam; the expected values by Python's hashlib and base64 from `openssl pkey
// -pubout -outform DER`.
constexpr std::string_view kSec1 = R"(-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIM31Dj2/ASQ9O9qCQsDJfZYbANxB02rqjqQQHvJt+ZYWoAoGCCqGSM49
AwEHoUQDQgAEQQxFVOH7GWawUP+mQUtw4+zR1QOhkXSg06MniJ1S5suDxka+V2xG
mX/ECvMfk5TSpxMb6U5ThOa6l6Hobe7bEw==
-----END EC PRIVATE KEY-----
)";
constexpr std::string_view kPkcs8 = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgzfUOPb8BJD072oJC
wMl9lhsA3EHTauqOpBAe8m35lhahRANCAARBDEVU4fsZZrBQ/6ZBS3Dj7NHVA6GR
dKDToyeInVLmy4PGRr5XbEaZf8QK8x+TlNKnExvpTlOE5rqXoeht7tsT
-----END PRIVATE KEY-----
)";
constexpr std::string_view kParameters =
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
constexpr std::string_view kEd25519 =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEINyJk9VFkd/MnMqQkDLf2zSd2oGoT6SkiALInFTKqdR/\n"
    "-----END PRIVATE KEY-----\n";

TEST(Key, IdAndPinOfAKnownKey) {
  for (std::string_view pem : {kSec1, kPkcs8}) {
    auto key = PrivateKey::from_pem(std::string(kParameters) + std::string(pem));
    ASSERT_TRUE(key) << key.error().what;
    EXPECT_EQ(key->kind(), KeyKind::EcdsaP256);
    EXPECT_EQ(hex_encode(key->public_key_spki_der()),
              "3059301306072a8648ce3d020106082a8648ce3d03010703420004410c4554e1fb1966b050ffa6414b70"
              "e3ecd1d503a19174a0d3a327889d52e6cb83c646be576c46997fc40af31f9394d2a7131be94e5384e6ba"
              "97a1e86deedb13");
    EXPECT_EQ(key->id().text, "b4gsr63dqcvfqint5ojpmyyv3x");
    EXPECT_EQ(spki_pin(key->public_key_spki_der()),
              "sha256/Dw0o+2OAqlghs+uS9mMV3eQoDUhH+ToAVXRZZM396n0=");
    EXPECT_EQ(key->to_pkcs8_pem(), kPkcs8);
  }
}

TEST(Key, RoundTrips) {
  const PrivateKey key = PrivateKey::generate();
  auto back = PrivateKey::from_pem(key.to_pkcs8_pem());
  ASSERT_TRUE(back) << back.error().what;
  EXPECT_EQ(back->public_key_spki_der(), key.public_key_spki_der());
  EXPECT_EQ(back->id(), key.id());
  EXPECT_NE(PrivateKey::generate().id(), key.id());
}

TEST(Key, IdIsThatOfTheSecretWhateverTheFileSaysOfThePublicHalf) {
  auto blocks = parse_pem(kPkcs8);
  ASSERT_TRUE(blocks);
  ByteVector der = (*blocks)[0].der;
  der.back() ^= 1;  // in the public point
  auto key = PrivateKey::from_pem(to_pem("PRIVATE KEY", der));
  if (key) {
    EXPECT_EQ(key->id().text, "b4gsr63dqcvfqint5ojpmyyv3x");
  }
}

TEST(Key, SaysWhatIsWrong) {
  const auto refused = [](std::string_view pem) {
    auto key = PrivateKey::from_pem(pem);
    return key ? std::string("accepted") : key.error().what;
  };
  EXPECT_EQ(refused(""), "no PEM block with a private key");
  EXPECT_EQ(refused(kParameters), "no PEM block with a private key");
  EXPECT_EQ(refused("-----BEGIN PRIVATE KEY-----\nMIGH\n"), "no END line for PRIVATE KEY");
  EXPECT_EQ(refused("-----BEGIN PRIVATE KEY-----\nMIG*\n-----END PRIVATE KEY-----"),
            "PEM block PRIVATE KEY: a character that is not base64");
  EXPECT_EQ(refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
            "a private key of an unknown kind (ECDSA P-256, P-384, P-521, RSA and Ed25519 are "
            "known)");
  EXPECT_EQ(refused("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE "
                    "KEY-----"),
            "the private key is encrypted; decrypt it first: openssl pkey");
}

TEST(Key, TruncationsAndBitFlipsNeverCrash) {
  auto blocks = parse_pem(kPkcs8);
  const ByteVector der = (*blocks)[0].der;
  for (std::size_t i = 0; i < der.size(); ++i) {
    (void)PrivateKey::from_pem(to_pem("PRIVATE KEY", Bytes(der).first(i)));
    ByteVector changed = der;
    changed[i] ^= 0x40;
    (void)PrivateKey::from_pem(to_pem("PRIVATE KEY", changed));
  }
}

TEST(Key, Ed25519CanBeLoaded) {
  auto key = PrivateKey::from_pem(kEd25519);
  ASSERT_TRUE(key) << key.error().what;
  EXPECT_EQ(key->kind(), KeyKind::Ed25519);
  EXPECT_EQ(key->public_key_spki_der().size(), 44u);  // RFC 8410 §4
}

TEST(Key, OpensslAgrees) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl program";
  const TestFolder folder;
  folder.write("ours.pem", PrivateKey::generate().to_pkcs8_pem());
  EXPECT_EQ(folder.run("openssl pkey -in ours.pem -check -noout").output, "Key is valid\n");
  const struct {
    const char* make;
    KeyKind kind;
  } table[] = {
      {"openssl genrsa -out key.pem 2048", KeyKind::Rsa},
      {"openssl genrsa -traditional -out key.pem 2048", KeyKind::Rsa},
      {"openssl ecparam -name secp384r1 -genkey -out key.pem", KeyKind::Ecdsa},
      {"openssl ecparam -name prime256v1 -genkey -out key.pem", KeyKind::EcdsaP256},
      {"openssl genpkey -algorithm ed25519 -out key.pem", KeyKind::Ed25519},
  };
  for (const auto& [make, kind] : table) {
    ASSERT_EQ(folder.run(make).code, 0) << make;
    auto key = PrivateKey::from_pem(folder.read("key.pem"));
    ASSERT_TRUE(key) << make << ": " << key.error().what;
    EXPECT_EQ(key->kind(), kind) << make;
    folder.run("openssl pkey -in key.pem -pubout -outform DER -out theirs.der");
    EXPECT_EQ(as_text(key->public_key_spki_der()), folder.read("theirs.der")) << make;
    folder.write("again.pem", key->to_pkcs8_pem());
    EXPECT_EQ(folder.run("openssl pkey -in again.pem -check -noout").code, 0) << make;
  }
}

TEST(Key, Es256SignatureIsVerifiedByOpenssl) {
  const PrivateKey key = PrivateKey::generate();
  auto signature = key.sign_es256(as_bytes("header.payload"));
  ASSERT_TRUE(signature);
  EXPECT_FALSE(PrivateKey::from_pem(kEd25519)->sign_es256({}));
  if (!has_openssl()) GTEST_SKIP() << "no openssl program";
  // DER of Ecdsa-Sig-Value: two integers, with a zero in front where the sign bit would be set.
  ByteVector der, body;
  for (int half = 0; half < 2; ++half) {
    Bytes number = Bytes(*signature).subspan(static_cast<std::size_t>(half) * 32, 32);
    while (number.size() > 1 && number[0] == 0) number = number.subspan(1);
    Writer w(body);
    w.u8(2);
    w.u8(static_cast<std::uint8_t>(number.size() + (number[0] >= 0x80)));
    if (number[0] >= 0x80) w.u8(0);
    w.bytes(number);
  }
  Writer w(der);
  w.u8(0x30);
  w.u8(static_cast<std::uint8_t>(body.size()));
  w.bytes(body);
  const TestFolder folder;
  folder.write("key.pem", key.to_pkcs8_pem());
  folder.write("message", "header.payload");
  folder.write("signature", std::string(as_text(der)));
  folder.run("openssl pkey -in key.pem -pubout -out public.pem");
  EXPECT_EQ(
      folder.run("openssl dgst -sha256 -verify public.pem -signature signature message").output,
      "Verified OK\n");
}

TEST(KeyId, Parses) {
  EXPECT_EQ(KeyId::parse("b4gsr63dqcvfqint5ojpmyyv3x")->text, "b4gsr63dqcvfqint5ojpmyyv3x");
  for (const char* text : {"", "b4gsr63dqcvfqint5ojpmyyv3", "b4gsr63dqcvfqint5ojpmyyv3xa",
                           "B4gsr63dqcvfqint5ojpmyyv3x", "b4gsr63dqcvfqint5ojpmyyv31",
                           "b4gsr63dqcvfqint5ojpmyyv3-"}) {
    EXPECT_FALSE(KeyId::parse(text)) << text;
  }
  EXPECT_EQ(KeyId::parse("x").error().what,
            "\"x\" is not a key id (26 characters, a to z in lower case and 2 to 7)");
}

TEST(Pem, ReadsSeveralAmongOtherText) {
  const std::string text = "# comment\n" + to_pem("A", as_bytes("one")) + "subject=CN\r\n" +
                           to_pem("B C", ByteVector(100, 7));
  auto blocks = parse_pem(text);
  ASSERT_TRUE(blocks);
  ASSERT_EQ(blocks->size(), 2u);
  EXPECT_EQ((*blocks)[0].label, "A");
  EXPECT_EQ(as_text((*blocks)[0].der), "one");
  EXPECT_EQ((*blocks)[1].label, "B C");
  EXPECT_EQ((*blocks)[1].der, ByteVector(100, 7));
  EXPECT_TRUE(parse_pem("nothing")->empty());
  EXPECT_FALSE(parse_pem("-----BEGIN A\n-----END A-----"));
}

}  // namespace
}  // namespace adit::crypto
