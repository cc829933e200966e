// The certificates that we make: self_signed of certificate.h.
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <memory>

#include "base/check.h"
#include "crypto/certificate.h"
#include "crypto/der_writer.h"
#include "crypto/init.h"
#include "crypto/pem.h"
#include "crypto/random.h"
#include "crypto/rng.h"

namespace adit::crypto {
namespace {

constexpr std::size_t kSerialBytes = 16;  // RFC 5280 §4.1.2.2: at most 20; 127 random bits here
constexpr std::size_t kCertificateDerMax = CTC_MAX_ALT_SIZE + 4096;

struct CertFree {
  void operator()(Cert* cert) const { wc_CertFree(cert); }
};

struct EccKey {
  EccKey() { CHECK(wc_ecc_init(&key) == 0); }
  ~EccKey() { wc_ecc_free(&key); }
  EccKey(const EccKey&) = delete;
  EccKey& operator=(const EccKey&) = delete;
  ecc_key key;
};

Status set_validity(Cert& cert, WallTime not_before, Duration validity) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(validity).count();
  auto before = der_time(not_before.seconds());
  if (!before) return std::move(before).error();
  auto after = der_time(not_before.seconds() + seconds);
  if (!after) return std::move(after).error();
  CHECK(before->size() <= sizeof cert.beforeDate && after->size() <= sizeof cert.afterDate);
  std::ranges::copy(*before, cert.beforeDate);
  cert.beforeDateSz = static_cast<int>(before->size());
  std::ranges::copy(*after, cert.afterDate);
  cert.afterDateSz = static_cast<int>(after->size());
  return {};
}

Status fill(Cert& cert, EccKey& key, const std::vector<std::string>& names, WallTime not_before,
            Duration validity) {
  auto alternative = der_general_names(names);
  if (!alternative) return std::move(alternative).error();
  if (Status set = set_validity(cert, not_before, validity); !set) return set;

  cert.version = 2;  // v3
  cert.sigType = CTC_SHA256wECDSA;
  cert.selfSigned = 1;
  cert.isCA = 0;
  cert.basicConstSet = 1;
  random_bytes({cert.serial, kSerialBytes});
  // Positive, and of full length whatever the dice say.
  cert.serial[0] = static_cast<byte>((cert.serial[0] & 0x7f) | 0x40);
  cert.serialSz = kSerialBytes;
  // RFC 5280, appendix A: a common name holds at most 64 characters (here 63). Nobody compares it
  // where subjectAltName is present, but an issuer must not be empty.
  const std::string common = names[0].size() < CTC_NAME_SIZE ? names[0] : "adit";
  std::ranges::copy(common, cert.subject.commonName);
  std::ranges::copy(*alternative, cert.altNames);
  cert.altNamesSz = static_cast<int>(alternative->size());
  // No keyUsage: OpenSSL takes a self-signed certificate as its own issuer only without it, or with
  // keyCertSign, which this key shall not have.
  char usage[] = "serverAuth,clientAuth";
  CHECK(wc_SetExtKeyUsage(&cert, usage) == 0);
  CHECK(wc_SetSubjectKeyIdFromPublicKey_ex(&cert, ECC_TYPE, &key.key) == 0);
  return {};
}

}  // namespace

Result<std::string> self_signed(const PrivateKey& key, const std::vector<std::string>& dns_names,
                                WallTime not_before, Duration validity) {
  init();
  if (dns_names.empty()) return Error{EINVAL, "a certificate without a name"};
  if (key.kind() != KeyKind::EcdsaP256 && key.kind() != KeyKind::Ecdsa) {
    return Error{EINVAL, "a self-signed certificate needs an ECDSA key"};
  }
  EccKey ecc;
  word32 at = 0;
  const Bytes der = key.pkcs8_der();
  CHECK(wc_EccPrivateKeyDecode(der.data(), &at, &ecc.key, static_cast<word32>(der.size())) == 0);

  const std::unique_ptr<Cert, CertFree> cert(wc_CertNew(nullptr));
  CHECK(cert != nullptr && wc_InitCert(cert.get()) == 0);
  if (Status filled = fill(*cert, ecc, dns_names, not_before, validity); !filled) {
    return std::move(filled).error();
  }
  const Rng rng = make_rng();
  ByteVector out(kCertificateDerMax);
  const auto room = static_cast<word32>(out.size());
  const int body = wc_MakeCert(cert.get(), out.data(), room, nullptr, &ecc.key, rng.get());
  if (body < 0) return Error{EINVAL, "cannot encode the certificate"};
  const int size = wc_SignCert(cert->bodySz, cert->sigType, out.data(), room, nullptr, &ecc.key,
                               rng.get());
  if (size < 0) return Error{EINVAL, "cannot sign the certificate"};
  return to_pem("CERTIFICATE", Bytes(out).first(static_cast<std::size_t>(size)));
}

}  // namespace adit::crypto
