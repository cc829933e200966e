#include "crypto/der_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <string_view>

#include "base/address.h"

namespace adit::crypto {
namespace {

constexpr std::uint8_t kEcdsaWithSha256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02};
constexpr std::uint8_t kCommonName[] = {0x55, 0x04, 0x03};
constexpr std::uint8_t kZero[] = {0x00};
constexpr std::size_t kHostNameMax = 253;
constexpr std::size_t kGeneralNamesBytesMax = 16 * 1024 - 16;

bool is_name(std::string_view name) {
  if (name.starts_with("*.")) name.remove_prefix(2);
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_' || c == '.';
  };
  return !name.empty() && name.size() <= kHostNameMax && name.front() != '.' &&
         std::ranges::all_of(name, allowed);
}

}  // namespace

void der_put(ByteVector& out, std::uint8_t tag, Bytes body) {
  Writer w(out);
  w.u8(tag);
  if (body.size() < 0x80) {
    w.u8(static_cast<std::uint8_t>(body.size()));
  } else if (body.size() < 0x100) {
    w.u8(0x81);
    w.u8(static_cast<std::uint8_t>(body.size()));
  } else {
    w.u8(0x82);
    w.u16(static_cast<std::uint16_t>(body.size()));
  }
  w.bytes(body);
}

ByteVector der(std::uint8_t tag, Bytes body) {
  ByteVector out;
  der_put(out, tag, body);
  return out;
}

ByteVector der(std::uint8_t tag, std::initializer_list<Bytes> parts) {
  ByteVector body;
  for (const Bytes part : parts) body.insert(body.end(), part.begin(), part.end());
  return der(tag, body);
}

Result<ByteVector> der_general_names(const std::vector<std::string>& names) {
  ByteVector list, out;
  for (const std::string& name : names) {
    if (const auto address = IpAddress::parse(name)) {
      Bytes raw = address->bytes;
      if (address->is_v4()) raw = raw.last(4);
      der_put(list, 0x87, raw);
    } else if (is_name(name)) {
      der_put(list, 0x82, as_bytes(name));
    } else {
      return Error{EINVAL, "\"" + name + "\" cannot stand in a certificate"};
    }
    if (list.size() > kGeneralNamesBytesMax) return Error{E2BIG, "too many names in a certificate"};
  }
  der_put(out, 0x30, list);
  return out;
}

Result<ByteVector> der_time(std::int64_t seconds) {
  using namespace std::chrono;
  const sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss time(at - day);
  const int year = static_cast<int>(date.year());
  if (year < 1950 || year > 9999) return Error{EINVAL, "a date that certificates cannot hold"};
  std::array<char, 24> text;
  const int length = std::snprintf(
      text.data(), text.size(), "%04d%02u%02u%02d%02d%02dZ", year,
      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
      static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
      static_cast<int>(time.seconds().count()));
  std::string_view written(text.data(), static_cast<std::size_t>(length));
  const bool utc_time = year < 2050;
  if (utc_time) written.remove_prefix(2);
  ByteVector out;
  der_put(out, utc_time ? 0x17 : 0x18, as_bytes(written));
  return out;
}

ByteVector der_integer(Bytes number) {
  while (number.size() > 1 && number[0] == 0) number = number.subspan(1);
  if (number[0] < 0x80) return der(kDerInteger, number);
  return der(kDerInteger, {kZero, number});
}

ByteVector der_common_name(std::string_view name) {
  const ByteVector entry = der(kDerSequence, {der(kDerObjectId, kCommonName),
                                              der(kDerUtf8String, as_bytes(name))});
  return der(kDerSequence, {der(kDerSet, entry)});
}

ByteVector der_ecdsa_sha256() {
  return der(kDerSequence, {der(kDerObjectId, kEcdsaWithSha256)});
}

Result<ByteVector> der_signed(const PrivateKey& key, Bytes body) {
  auto raw = key.sign_es256(body);
  if (!raw) return Error{EINVAL, "this kind of certificate needs an ECDSA P-256 key"};
  const Bytes rs = *raw;
  const ByteVector signature =
      der(kDerSequence, {der_integer(rs.first(32)), der_integer(rs.last(32))});
  return der(kDerSequence,
             {body, der_ecdsa_sha256(), der(kDerBitString, {kZero, signature})});
}

}  // namespace adit::crypto
