#include "crypto/digest.h"

#include <wolfssl/options.h>

#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/sha.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <cerrno>

#include "base/check.h"
#include "crypto/init.h"

namespace adit::crypto {
namespace {

constexpr std::string_view kBase32 = "abcdefghijklmnopqrstuvwxyz234567";
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kHex = "0123456789abcdef";

// Groups of `bits` from the front of `data`; the last one is filled with zeros.
std::string encode(Bytes data, std::string_view alphabet, unsigned bits) {
  std::string out;
  out.reserve((data.size() * 8 + bits - 1) / bits);
  unsigned held = 0, window = 0;
  for (std::uint8_t b : data) {
    window = (window << 8) | b;
    held += 8;
    for (; held >= bits; held -= bits) {
      out += alphabet[(window >> (held - bits)) & ((1u << bits) - 1)];
    }
    window &= (1u << held) - 1;
  }
  if (held > 0) out += alphabet[(window << (bits - held)) & ((1u << bits) - 1)];
  return out;
}

Result<ByteVector> decode_base64(std::string_view text, std::string_view alphabet) {
  // 6 bits of a byte are never enough for one, whatever they are.
  if (text.size() % 4 == 1) return Error{EINVAL, "base64 of an impossible length"};
  std::array<std::int8_t, 256> value;
  value.fill(-1);
  for (std::size_t i = 0; i < alphabet.size(); ++i) {
    value[static_cast<std::uint8_t>(alphabet[i])] = static_cast<std::int8_t>(i);
  }
  ByteVector out;
  out.reserve(text.size() * 3 / 4);
  unsigned held = 0, window = 0;
  for (char c : text) {
    const int v = value[static_cast<std::uint8_t>(c)];
    if (v < 0) return Error{EINVAL, "a character that is not base64"};
    window = (window << 6) | static_cast<unsigned>(v);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out.push_back(static_cast<std::uint8_t>(window >> held));
      window &= (1u << held) - 1;
    }
  }
  // RFC 4648 §3.5: one value has one text.
  if (window != 0) return Error{EINVAL, "base64 with bits left over"};
  return out;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Sha256Digest sha256(Bytes data) {
  init();
  Sha256Digest out;
  CHECK(wc_Sha256Hash(data.data(), static_cast<word32>(data.size()), out.data()) == 0);
  return out;
}

std::array<std::uint8_t, 20> sha1(Bytes data) {
  init();
  std::array<std::uint8_t, 20> out{};
  CHECK(wc_ShaHash(data.data(), static_cast<word32>(data.size()), out.data()) == 0);
  return out;
}

Sha256Digest hmac_sha256(Bytes key, Bytes data) {
  init();
  static const std::uint8_t kNothing = 0;
  Sha256Digest out;
  Hmac hmac;
  CHECK(wc_HmacInit(&hmac, nullptr, INVALID_DEVID) == 0);
  CHECK(wc_HmacSetKey(&hmac, WC_SHA256, key.empty() ? &kNothing : key.data(),
                      static_cast<word32>(key.size())) == 0);
  CHECK(wc_HmacUpdate(&hmac, data.empty() ? &kNothing : data.data(),
                      static_cast<word32>(data.size())) == 0);
  CHECK(wc_HmacFinal(&hmac, out.data()) == 0);
  wc_HmacFree(&hmac);
  return out;
}

bool equal_constant_time(Bytes a, Bytes b) {
  if (a.size() != b.size()) return false;
  volatile std::uint8_t difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<std::uint8_t>(difference | (a[i] ^ b[i]));
  }
  return difference == 0;
}

std::string base32_lower(Bytes data) { return encode(data, kBase32, 5); }

std::string base64_encode(Bytes data) {
  std::string out = encode(data, kBase64, 6);
  out.append((4 - out.size() % 4) % 4, '=');
  return out;
}

Result<ByteVector> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return Error{EINVAL, "base64 without its padding"};
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return decode_base64(text, kBase64);
}

std::string base64url_encode(Bytes data) { return encode(data, kBase64Url, 6); }

Result<ByteVector> base64url_decode(std::string_view text) {
  return decode_base64(text, kBase64Url);
}

std::string hex_encode(Bytes data) { return encode(data, kHex, 4); }

Result<ByteVector> hex_decode(std::string_view text) {
  if (text.size() % 2 != 0) return Error{EINVAL, "an odd number of hexadecimal digits"};
  ByteVector out;
  out.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_value(text[i]), low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return Error{EINVAL, "a character that is not hexadecimal"};
    out.push_back(static_cast<std::uint8_t>(high * 16 + low));
  }
  return out;
}

}  // namespace adit::crypto
