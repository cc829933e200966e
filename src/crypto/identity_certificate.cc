#include "crypto/identity_certificate.h"

#include <array>
#include <cerrno>

#include "crypto/der_writer.h"
#include "crypto/pem.h"
#include "crypto/random.h"

namespace adit::crypto {
namespace {

constexpr std::uint8_t kSubjectAltName[] = {0x55, 0x1d, 0x11};
constexpr std::uint8_t kOwnBytes[] = {0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xff, 0x7f, 0x01};
constexpr std::uint8_t kTwo[] = {0x02};
constexpr std::uint8_t kContext0 = 0xa0, kContext3 = 0xa3;

}  // namespace

Result<std::string> identity_certificate(const PrivateKey& key, const std::string& name,
                                         WallTime not_before, Duration validity,
                                         Bytes extension) {
  if (extension.size() > kIdentityExtensionBytesMax)
    return Error{E2BIG, "a certificate extension over 4 KiB"};
  auto names = der_general_names({name});
  auto before = der_time(not_before.seconds());
  auto after = der_time(not_before.seconds() + validity / 1s);
  if (!names) return std::move(names).error();
  if (!before) return std::move(before).error();
  if (!after) return std::move(after).error();
  std::array<std::uint8_t, 16> serial;
  random_bytes(serial);
  serial[0] = static_cast<std::uint8_t>((serial[0] & 0x7f) | 0x40);

  ByteVector extensions = der(
      kDerSequence, {der(kDerObjectId, kSubjectAltName), der(kDerOctetString, *names)});
  if (!extension.empty()) {
    der_put(extensions, kDerSequence,
            [&] {
              ByteVector body = der(kDerObjectId, kOwnBytes);
              der_put(body, kDerOctetString, der(kDerOctetString, extension));
              return body;
            }());
  }
  const ByteVector subject = der_common_name(name.substr(0, 64));
  auto whole = der_signed(
      key, der(kDerSequence,
               {der(kContext0, der(kDerInteger, kTwo)), der_integer(serial), der_ecdsa_sha256(),
                subject, der(kDerSequence, {*before, *after}), subject,
                key.public_key_spki_der(),
                der(kContext3, der(kDerSequence, extensions))}));
  if (!whole) return std::move(whole).error();
  return to_pem("CERTIFICATE", *whole);
}

}  // namespace adit::crypto
