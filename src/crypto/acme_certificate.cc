#include "crypto/acme_certificate.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "crypto/der_writer.h"
#include "crypto/pem.h"
#include "crypto/random.h"

namespace adit::crypto {
namespace {

constexpr std::uint8_t kExtensionRequest[] = {0x2a, 0x86, 0x48, 0x86, 0xf7,
                                              0x0d, 0x01, 0x09, 0x0e};
constexpr std::uint8_t kSubjectAltName[] = {0x55, 0x1d, 0x11};
constexpr std::uint8_t kAcmeIdentifier[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x1f};
constexpr std::uint8_t kContext0 = 0xa0, kContext3 = 0xa3;
constexpr std::uint8_t kZero[] = {0x00}, kTwo[] = {0x02}, kTrue[] = {0xff};
constexpr std::int64_t kWeekSeconds = 7 * 24 * 3600;

Result<ByteVector> alternative_names(const std::vector<std::string>& names) {
  if (names.empty()) return Error{EINVAL, "a certificate without a name"};
  auto list = der_general_names(names);
  if (!list) return std::move(list).error();
  return der(kDerSequence, {der(kDerObjectId, kSubjectAltName), der(kDerOctetString, *list)});
}

}  // namespace

Result<ByteVector> certificate_request(const PrivateKey& key,
                                       const std::vector<std::string>& names) {
  auto alternative = alternative_names(names);
  if (!alternative) return std::move(alternative).error();
  const ByteVector extensions = der(kDerSequence, *alternative);
  const ByteVector attribute =
      der(kDerSequence, {der(kDerObjectId, kExtensionRequest), der(kDerSet, extensions)});
  return der_signed(key, der(kDerSequence, {der(kDerInteger, kZero), der(kDerSequence, Bytes{}),
                                           key.public_key_spki_der(), der(kContext0, attribute)}));
}

Result<std::string> acme_challenge_certificate(const PrivateKey& key, const std::string& name,
                                               const Sha256Digest& key_authorization,
                                               WallTime now) {
  auto alternative = alternative_names({name});
  if (!alternative) return std::move(alternative).error();
  auto before = der_time(now.seconds() - kWeekSeconds);
  auto after = der_time(now.seconds() + kWeekSeconds);
  if (!before) return std::move(before).error();
  if (!after) return std::move(after).error();
  std::array<std::uint8_t, 16> serial;
  random_bytes(serial);
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7f) | 0x40);

  const ByteVector subject = der_common_name("adit challenge");
  const ByteVector identifier =
      der(kDerSequence, {der(kDerObjectId, kAcmeIdentifier), der(kDerBoolean, kTrue),
                         der(kDerOctetString, der(kDerOctetString, key_authorization))});
  const ByteVector extensions = der(kDerSequence, {*alternative, identifier});
  const ByteVector body =
      der(kDerSequence,
          {der(kContext0, der(kDerInteger, kTwo)), der_integer(serial), der_ecdsa_sha256(),
           subject, der(kDerSequence, {*before, *after}), subject, key.public_key_spki_der(),
           der(kContext3, extensions)});
  auto whole = der_signed(key, body);
  if (!whole) return std::move(whole).error();
  return to_pem("CERTIFICATE", *whole);
}

}  // namespace adit::crypto
