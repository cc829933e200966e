// X.509 certificates as values: what we read from a peer's, and the self-signed ones that we make.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "crypto/digest.h"
#include "crypto/key.h"

namespace adit::crypto {

// Reads any peer's bytes. Parsing checks the form only: neither signature nor validity nor trust.
class Certificate {
 public:
  static Result<Certificate> from_der(Bytes der);  // exactly one certificate, nothing behind it
  static Result<Certificate> from_pem(std::string_view pem);  // the first CERTIFICATE block

  const ByteVector& der() const { return der_; }
  std::string to_pem() const;
  Bytes spki_der() const { return Bytes(der_).subspan(spki_at_, spki_size_); }

  // dNSName and iPAddress entries of the subjectAltName extension, in their order. DNS names in
  // lower case; an entry with bytes that no host name has (among them NUL) is left out.
  const std::vector<std::string>& subject_names() const { return names_; }
  const std::vector<IpAddress>& subject_addresses() const { return addresses_; }
  std::int64_t not_before() const { return not_before_; }  // seconds since 1970-01-01 UTC
  std::int64_t not_after() const { return not_after_; }
  // The content bytes of the serial number, as encoded (a leading zero included); and of the
  // authorityKeyIdentifier's keyIdentifier, empty where there is none.
  const ByteVector& serial() const { return serial_; }
  const ByteVector& authority_key_id() const { return authority_key_id_; }
  Sha256Digest fingerprint() const { return sha256(der_); }

  // RFC 9525 §6: the subject's common name is not looked at; "*" stands for one whole leftmost
  // label. `host` is a name (a trailing dot is ignored) or an IP literal without brackets.
  bool is_for(std::string_view host) const;

 private:
  Certificate() = default;
  friend struct CertificateParser;

  ByteVector der_;
  std::size_t spki_at_ = 0, spki_size_ = 0;
  std::vector<std::string> names_;
  std::vector<IpAddress> addresses_;
  std::int64_t not_before_ = 0, not_after_ = 0;
  ByteVector serial_, authority_key_id_;
};

// Every CERTIFICATE block, leaf first by convention; an error where there is none or one is broken.
Result<std::vector<Certificate>> parse_chain_pem(std::string_view pem);

// A certificate (PEM) for an ECDSA key, signed by the key itself: X.509 v3, ECDSA with SHA-256,
// random serial, common name = first name, all names (wildcards and IP literals allowed) as
// subjectAltName, CA false, for servers and clients. `dns_names` must not be empty. Validity is
// rounded to seconds.
Result<std::string> self_signed(const PrivateKey& key, const std::vector<std::string>& dns_names,
                                WallTime not_before, Duration validity);

}  // namespace adit::crypto
