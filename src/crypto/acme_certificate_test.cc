#include "crypto/acme_certificate.h"

#include <gtest/gtest.h>

#include "crypto/certificate.h"
#include "crypto/identity_certificate.h"
#include "crypto/jose.h"
#include "crypto/pem.h"
#include "crypto/test_files.h"
#include "crypto/test_tls.h"

namespace adit::crypto {
namespace {

// RFC 7515 §A.3: the key, as PKCS#8.
PrivateKey rfc7515_key() {
  const auto d = must(base64url_decode("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"));
  ByteVector sec1 = {0x30, 0x31, 0x02, 0x01, 0x01, 0x04, 0x20};
  sec1.insert(sec1.end(), d.begin(), d.end());
  const std::uint8_t curve[] = {0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48,
                                0xce, 0x3d, 0x03, 0x01, 0x07};
  sec1.insert(sec1.end(), std::begin(curve), std::end(curve));
  return must(PrivateKey::from_pem(to_pem("EC PRIVATE KEY", sec1)));
}

TEST(Jose, JwkOfRfc7515) {
  EXPECT_EQ(must(jwk(rfc7515_key())),
            R"({"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
            R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})");
  EXPECT_EQ(must(jwk_thumbprint(rfc7515_key())).size(), 43u);
}

// RFC 7515 §A.1: HS256 over its header and payload, with its key.
TEST(Jose, HmacOfRfc7515) {
  const auto key = must(base64url_decode(
      "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"));
  const std::string jws = hmac_jws(
      key, "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}",
      "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}");
  EXPECT_NE(jws.find(R"("signature":"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"})"), jws.npos)
      << jws;
}

TEST(Jose, SignaturesDifferAndHaveTheirForm) {
  const PrivateKey key = PrivateKey::generate();
  const std::string a = must(sign_jws(key, R"({"alg":"ES256"})", "{}"));
  EXPECT_TRUE(
      a.starts_with(R"({"protected":"eyJhbGciOiJFUzI1NiJ9","payload":"e30","signature":")"));
  EXPECT_EQ(a.size(), std::string_view(R"({"protected":"eyJhbGciOiJFUzI1NiJ9","payload":"e30",)"
                                       R"("signature":""})").size() + 86);
}

TEST(AcmeCertificate, RequestIsWhatOpensslReads) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl";
  const TestFolder folder;
  const PrivateKey key = PrivateKey::generate();
  const auto der = must(certificate_request(key, {"a.example", "*.b.example", "192.0.2.1"}));
  folder.write("request.pem", to_pem("CERTIFICATE REQUEST", der));
  const auto shown = folder.run("openssl req -in request.pem -noout -text -verify");
  EXPECT_EQ(shown.code, 0) << shown.output;
  EXPECT_NE(shown.output.find("verify OK"), shown.output.npos) << shown.output;
  EXPECT_NE(shown.output.find("DNS:a.example, DNS:*.b.example, IP Address:192.0.2.1"),
            shown.output.npos)
      << shown.output;
}

TEST(AcmeCertificate, ChallengeHasTheCriticalIdentifier) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl";
  const TestFolder folder;
  const PrivateKey key = PrivateKey::generate();
  const Sha256Digest digest = sha256(as_bytes("token.thumbprint"));
  const std::string pem =
      must(acme_challenge_certificate(key, "a.example", digest, kTestStart));
  folder.write("challenge.pem", pem);
  const auto parsed = folder.run("openssl asn1parse -in challenge.pem");
  EXPECT_EQ(parsed.code, 0) << parsed.output;
  const auto shown = folder.run("openssl x509 -in challenge.pem -noout -text");
  EXPECT_NE(shown.output.find("DNS:a.example"), shown.output.npos) << shown.output;
  EXPECT_NE(shown.output.find("1.3.6.1.5.5.7.1.31: critical"), shown.output.npos) << shown.output;
  // The value: an OCTET STRING in the extension's own.
  const auto certificate = must(Certificate::from_pem(pem));
  ByteVector value = {0x04, 0x22, 0x04, 0x20};
  value.insert(value.end(), digest.begin(), digest.end());
  EXPECT_NE(std::search(certificate.der().begin(), certificate.der().end(), value.begin(),
                        value.end()),
            certificate.der().end());
  EXPECT_TRUE(certificate.is_for("a.example"));
}

TEST(IdentityCertificate, HoldsBytesOfOnesOwn) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl";
  const TestFolder folder;
  const PrivateKey key = PrivateKey::generate();
  const ByteVector own = {0xde, 0xad, 0xbe, 0xef};
  const std::string pem =
      must(identity_certificate(key, "agent", kTestStart, kTestValidity, own));
  folder.write("identity.pem", pem);
  const auto shown = folder.run("openssl x509 -in identity.pem -noout -text && openssl verify "
                                "-CAfile identity.pem identity.pem");
  EXPECT_NE(shown.output.find("1.3.6.1.4.1.65535.1:"), shown.output.npos) << shown.output;
  EXPECT_EQ(shown.output.find("critical"), shown.output.npos) << shown.output;
  EXPECT_NE(shown.output.find("identity.pem: OK"), shown.output.npos) << shown.output;
  const ByteVector want = {0x30, 0x13, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xff,
                           0x7f, 0x01, 0x04, 0x06, 0x04, 0x04, 0xde, 0xad, 0xbe, 0xef};
  const auto certificate = must(Certificate::from_pem(pem));
  EXPECT_NE(std::search(certificate.der().begin(), certificate.der().end(), want.begin(),
                        want.end()),
            certificate.der().end());
  EXPECT_FALSE(identity_certificate(key, "agent", kTestStart, kTestValidity,
                                    ByteVector(kIdentityExtensionBytesMax + 1)));
  EXPECT_TRUE(identity_certificate(key, "agent", kTestStart, kTestValidity,
                                   ByteVector(kIdentityExtensionBytesMax)));
}

TEST(AcmeCertificate, ServesChallengesByAlpn) {
  const PrivateKey key = PrivateKey::generate();
  ServerTls options;
  options.certificate_chain_pem = must(acme_challenge_certificate(
      key, "a.example", sha256(as_bytes("x")), kTestStart));
  options.private_key_pem = key.to_pkcs8_pem();
  options.alpn = {"acme-tls/1"};
  ClientTls client = pinned();
  client.alpn = {"acme-tls/1"};
  Pair pair(options, client, "a.example");
  pair.exchange();
  // Our own client knows no acmeIdentifier, which is critical: it saw the certificate, and left.
  EXPECT_FALSE(pair.client_status);
  EXPECT_NE(pair.error(pair.client_status).find("ritical extension"), std::string::npos)
      << pair.error(pair.client_status);
}

TEST(AcmeCertificate, RefusesWhatCannotBe) {
  const PrivateKey key = PrivateKey::generate();
  EXPECT_FALSE(certificate_request(key, {}));
  EXPECT_FALSE(certificate_request(key, {"not a name"}));
  EXPECT_FALSE(acme_challenge_certificate(key, "", {}, kTestStart));
}

TEST(AcmeCertificate, SerialAndAuthorityAreRead) {
  // The example of RFC 9773 appendix A.
  const auto certificate = must(Certificate::from_pem(R"(-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
)"));
  EXPECT_EQ(base64url_encode(certificate.authority_key_id()), "aYhba4dGQEHhs3uEe6CuLN4ByNQ");
  EXPECT_EQ(base64url_encode(certificate.serial()), "AIdlQyE");
}

}  // namespace
}  // namespace adit::crypto
