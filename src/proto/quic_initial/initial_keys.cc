#include "proto/quic_initial/initial_keys.h"

// The library's first, then its parts.
#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/aes.h>

#include <algorithm>
#include <string_view>

#include "base/check.h"
#include "crypto/digest.h"

namespace adit::quic_initial {

namespace {

// RFC 9001 §5.2 and RFC 9369 §3.3.1.
constexpr std::array<std::uint8_t, 20> kSalt1 = {0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34,
                                                 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
                                                 0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a};
constexpr std::array<std::uint8_t, 20> kSalt2 = {0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6,
                                                 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26,
                                                 0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9};
constexpr std::size_t kTagBytes = 16, kSampleBytes = 16, kSampleBehind = 4;

// HKDF-Expand-Label (RFC 8446 §7.1) with an empty context; 32 bytes at most, so one block of
// HKDF-Expand (RFC 5869 §2.3).
template <std::size_t N>
std::array<std::uint8_t, N> expand_label(Bytes secret, std::string_view label) {
  static_assert(N <= 32);
  ByteVector info;
  Writer w(info);
  w.u16(N);
  w.u8(static_cast<std::uint8_t>(6 + label.size()));
  w.text("tls13 ");
  w.text(label);
  w.u8(0);
  w.u8(1);  // the block's number
  const crypto::Sha256Digest block = crypto::hmac_sha256(secret, info);
  std::array<std::uint8_t, N> out;
  std::copy_n(block.begin(), N, out.begin());
  return out;
}

struct AesContext {
  AesContext() { CHECK(wc_AesInit(&aes, nullptr, INVALID_DEVID) == 0); }
  ~AesContext() { wc_AesFree(&aes); }
  AesContext(const AesContext&) = delete;
  AesContext& operator=(const AesContext&) = delete;
  Aes aes;
};

std::array<std::uint8_t, 16> encrypt_block(const std::array<std::uint8_t, 16>& key, Bytes block) {
  AesContext context;
  CHECK(wc_AesSetKeyDirect(&context.aes, key.data(), static_cast<word32>(key.size()), nullptr,
                           AES_ENCRYPTION) == 0);
  std::array<std::uint8_t, 16> out;
  CHECK(wc_AesEncryptDirect(&context.aes, out.data(), block.data()) == 0);
  return out;
}

}  // namespace

InitialKeys client_initial_keys(std::uint32_t version, Bytes first_dcid) {
  CHECK(version == kVersion1 || version == kVersion2);
  const bool v1 = version == kVersion1;
  const crypto::Sha256Digest initial = crypto::hmac_sha256(v1 ? kSalt1 : kSalt2, first_dcid);
  const auto secret = expand_label<32>(initial, "client in");
  InitialKeys out;
  out.key = expand_label<16>(secret, v1 ? "quic key" : "quicv2 key");
  out.iv = expand_label<12>(secret, v1 ? "quic iv" : "quicv2 iv");
  out.header = expand_label<16>(secret, v1 ? "quic hp" : "quicv2 hp");
  return out;
}

std::optional<ByteVector> open_packet(const InitialKeys& keys, Bytes packet,
                                      std::size_t packet_number_at) {
  // RFC 9001 §5.4.2: the sample lies where it would for a packet number of four bytes.
  if (packet.size() < packet_number_at + kSampleBehind + kSampleBytes) return std::nullopt;
  const auto mask =
      encrypt_block(keys.header, packet.subspan(packet_number_at + kSampleBehind, kSampleBytes));
  ByteVector header(packet.begin(),
                    packet.begin() + static_cast<std::ptrdiff_t>(packet_number_at + 4));
  header[0] ^= static_cast<std::uint8_t>(mask[0] & 0x0f);
  const std::size_t number_bytes = (header[0] & 0x03) + std::size_t{1};
  header.resize(packet_number_at + number_bytes);
  // Nothing of a client's first flight is acknowledged yet, so the number is whole (RFC 9000
  // §17.1).
  std::array<std::uint8_t, 12> nonce = keys.iv;
  for (std::size_t i = 0; i < number_bytes; ++i) {
    header[packet_number_at + i] ^= mask[1 + i];
    nonce[nonce.size() - number_bytes + i] ^= header[packet_number_at + i];
  }
  const Bytes sealed = packet.subspan(header.size());
  if (sealed.size() < kTagBytes) return std::nullopt;
  const Bytes text = sealed.first(sealed.size() - kTagBytes);
  ByteVector plain(text.size());
  AesContext context;
  CHECK(wc_AesGcmSetKey(&context.aes, keys.key.data(), static_cast<word32>(keys.key.size())) == 0);
  const int rv = wc_AesGcmDecrypt(&context.aes, plain.data(), text.data(),
                                  static_cast<word32>(text.size()), nonce.data(),
                                  static_cast<word32>(nonce.size()),
                                  sealed.data() + text.size(), kTagBytes, header.data(),
                                  static_cast<word32>(header.size()));
  if (rv != 0) return std::nullopt;
  return plain;
}

}  // namespace adit::quic_initial
