#include "crypto/certificate.h"

#include <gtest/gtest.h>

#include "crypto/pem.h"
#include "crypto/test_files.h"

namespace adit::crypto {
namespace {

constexpr std::int64_t kStart = 1'700'000'000;  // 2023-11-14 22:13:20 UTC
constexpr WallTime kStartTime{kStart * 1'000'000'000};
constexpr Duration kDay = std::chrono::hours(24);

std::string make(const PrivateKey& key, const std::vector<std::string>& names,
                 Duration validity = 3650 * kDay) {
  auto pem = self_signed(key, names, kStartTime, validity);
  EXPECT_TRUE(pem) << pem.error().what;
  return pem ? *pem : std::string();
}

TEST(SelfSigned, HoldsWhatWasAsked) {
  const PrivateKey key = PrivateKey::generate();
  const std::string pem =
      make(key, {"t.example.com", "*.t.example.com", "192.0.2.1", "2001:db8::1"}, 90 * kDay);
  auto certificate = Certificate::from_pem(pem);
  ASSERT_TRUE(certificate) << certificate.error().what;
  EXPECT_EQ(certificate->subject_names(),
            (std::vector<std::string>{"t.example.com", "*.t.example.com"}));
  ASSERT_EQ(certificate->subject_addresses().size(), 2u);
  EXPECT_EQ(certificate->subject_addresses()[0].text(), "192.0.2.1");
  EXPECT_EQ(certificate->subject_addresses()[1].text(), "2001:db8::1");
  EXPECT_EQ(certificate->not_before(), kStart);
  EXPECT_EQ(certificate->not_after(), kStart + 90 * 86400);
  EXPECT_TRUE(std::ranges::equal(certificate->spki_der(), key.public_key_spki_der()));
  EXPECT_EQ(key_id_of_spki(certificate->spki_der()), key.id());
  EXPECT_EQ(certificate->to_pem(), pem);
  // Serial numbers, and so fingerprints, differ.
  EXPECT_NE(Certificate::from_pem(make(key, {"t.example.com"}))->fingerprint(),
            Certificate::from_pem(make(key, {"t.example.com"}))->fingerprint());
}

TEST(SelfSigned, RefusesWhatCannotBe) {
  const PrivateKey key = PrivateKey::generate();
  EXPECT_FALSE(self_signed(key, {}, kStartTime, kDay));
  for (const char* name : {"", "a b", "a*b.example", "*", ".example", "ex\xc3\xa4mple.com"}) {
    EXPECT_FALSE(self_signed(key, {name}, kStartTime, kDay)) << name;
  }
  EXPECT_FALSE(self_signed(key, {"a.example"}, WallTime{INT64_MIN}, kDay));
  EXPECT_FALSE(self_signed(key, std::vector<std::string>(2000, "a.example.com"), kStartTime, kDay));
}

TEST(SelfSigned, OpensslAcceptsIt) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl program";
  const TestFolder folder;
  const PrivateKey key = PrivateKey::generate();
  const std::string label(63, 'a');
  folder.write("cert.pem", make(key, {"t.example.com", "*.t.example.com", "192.0.2.1"}));
  folder.write("long.pem", make(key, {label + ".example.com"}));
  folder.write("late.pem", make(key, {"t.example.com"}, 50 * 365 * kDay));  // GeneralizedTime
  const std::string text =
      folder.run("openssl x509 -in cert.pem -noout -text -nameopt RFC2253").output;
  for (const char* part :
       {"Version: 3 (0x2)", "ecdsa-with-SHA256", "Issuer: CN=t.example.com",
        "Subject: CN=t.example.com", "NIST CURVE: P-256", "CA:FALSE",
        "Not Before: Nov 14 22:13:20 2023 GMT", "TLS Web Server Authentication",
        "TLS Web Client Authentication",
        "DNS:t.example.com, DNS:*.t.example.com, IP Address:192.0.2.1"}) {
    EXPECT_NE(text.find(part), text.npos) << part << " is not in\n" << text;
  }
  EXPECT_EQ(text.find("Serial Number: -"), text.npos);
  for (const char* name : {"cert.pem", "long.pem", "late.pem"}) {
    const std::string file = name;
    const auto ran = folder.run("openssl verify -x509_strict -check_ss_sig -purpose sslserver " +
                                ("-CAfile " + file + " " + file));
    EXPECT_EQ(ran.code, 0) << ran.output;
  }
  EXPECT_EQ(folder.run("openssl verify -verify_hostname x.t.example.com -CAfile cert.pem cert.pem")
                .code, 0);
}

TEST(Certificate, MatchesHosts) {
  const PrivateKey key = PrivateKey::generate();
  const auto certificate = Certificate::from_pem(
      make(key, {"A.example.com", "*.t.example.com", "*.com", "192.0.2.1"}));
  ASSERT_TRUE(certificate);
  for (const char* host : {"a.example.com", "A.EXAMPLE.COM", "a.example.com.", "x.t.example.com",
                           "192.0.2.1", "::ffff:192.0.2.1"}) {
    EXPECT_TRUE(certificate->is_for(host)) << host;
  }
  for (const char* host : {"", ".", "b.example.com", "t.example.com", "x.y.t.example.com",
                           ".t.example.com", "example.com", "192.0.2.2", "xa.example.com"}) {
    EXPECT_FALSE(certificate->is_for(host)) << host;
  }
}

TEST(Certificate, ReadsThoseOfOpenssl) {
  if (!has_openssl()) GTEST_SKIP() << "no openssl program";
  const TestFolder folder;
  for (const char* make_key : {"rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-384", "ed25519"}) {
    ASSERT_EQ(folder.run(std::string("openssl req -x509 -nodes -subj /CN=x -days 20000 -addext "
                                     "subjectAltName=DNS:x.example,email:a@b.c,IP:::1 -keyout "
                                     "key.pem -out cert.pem -newkey ") + make_key).code, 0);
    auto certificate = Certificate::from_pem(folder.read("cert.pem"));
    ASSERT_TRUE(certificate) << certificate.error().what;
    EXPECT_EQ(certificate->subject_names(), std::vector<std::string>{"x.example"});
    EXPECT_TRUE(certificate->is_for("::1"));
    EXPECT_EQ(certificate->not_after() - certificate->not_before(), 20000ll * 86400);
    folder.run("openssl pkey -in key.pem -pubout -outform DER -out key.der");
    EXPECT_EQ(as_text(certificate->spki_der()), folder.read("key.der"));
  }
}

TEST(Certificate, ChainsKeepTheirOrder) {
  const PrivateKey key = PrivateKey::generate();
  const std::string a = make(key, {"a.example"}), b = make(key, {"b.example"});
  auto chain = parse_chain_pem(key.to_pkcs8_pem() + a + "text\n" + b);
  ASSERT_TRUE(chain);
  ASSERT_EQ(chain->size(), 2u);
  EXPECT_EQ((*chain)[0].subject_names()[0], "a.example");
  EXPECT_EQ((*chain)[1].subject_names()[0], "b.example");
  EXPECT_EQ(parse_chain_pem(key.to_pkcs8_pem()).error().what, "no PEM block with a certificate");
  EXPECT_EQ(parse_chain_pem(a + to_pem("CERTIFICATE", as_bytes("no"))).error().what,
            "certificate 2: not an X.509 certificate");
}

TEST(Certificate, TruncationsAndBitFlipsNeverCrash) {
  const auto whole = Certificate::from_pem(make(PrivateKey::generate(), {"a.example", "10.0.0.1"}));
  ASSERT_TRUE(whole);
  const ByteVector& der = whole->der();
  for (std::size_t i = 0; i < der.size(); ++i) {
    const Bytes part = Bytes(der).first(i);
    EXPECT_FALSE(Certificate::from_der(ByteVector(part.begin(), part.end())));
    for (unsigned bit = 0; bit < 8; ++bit) {
      ByteVector changed = der;
      changed[i] = static_cast<std::uint8_t>(changed[i] ^ (1u << bit));
      (void)Certificate::from_der(changed);
    }
  }
  ByteVector longer = der;
  longer.push_back(0);
  EXPECT_FALSE(Certificate::from_der(longer));
}

}  // namespace
}  // namespace adit::crypto
